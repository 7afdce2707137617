"""Makes each part of the server as the configuration has it; `server.serve` runs them."""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import structlog

from engine import regular, scripted, worker, workerkinds
from engine.codex import disabled
from engine.log import event_log as eventlog, journal, settings as logsettings
from engine.log.content import digest
from engine.log.summary import settings as summarysettings
from engine.store import sqlite as sqlitestore, store as responsestore
from engine.stream import wakeups
from machines import supervisor
from server.config.load import ConfigError
from server.config.settings import Config
from server.http import exchange as http
from server.version import VERSION

if TYPE_CHECKING:
    from engine.codex import loginlink, options as codexoptions
    from server.metrics import requests as requestmetrics
    from server.tracing import tracing

STORE_FILE = "responses.sqlite"
"""The response store, in `PROXY_DATA_DIR`."""

_log = structlog.get_logger(component="server")


class ExtraMissing(Exception):
    """Raised where a part needs packages that are not installed."""


def make_worker(
    name: workerkinds.Name,
    config: Config,
    environ: Mapping[str, str],
    event_log: eventlog.EventLog,
    wakeups: wakeups.Wakeups,
) -> worker.Worker:
    """A worker as the configuration has it.

    Raises:
        BinaryNotFound, ExtraMissing, TranscriptError: it cannot work at all.
    """
    kind = workerkinds.KINDS[name]
    if kind is workerkinds.SCRIPTED:
        return scripted.ScriptedWorker(
            config.transcripts_dir, config.scripted_speed, config.scripted_transcript
        )
    if kind is workerkinds.UPSTREAM:
        return upstream_worker(config)
    if not config.use_app_server:
        return disabled.DisabledWorker(config.codex_model)
    from engine.codex import worker as codexworker  # a tenth of a start that needs none of it

    lives = journal.WorkerJournal(event_log)
    return codexworker.CodexWorker(
        codex_options(config), environ, lives.changed, wakeups.read, lives.late, lives.id_of
    )


def make_workers(
    config: Config,
    environ: Mapping[str, str],
    event_log: eventlog.EventLog,
    wakeups: wakeups.Wakeups,
) -> dict[str, worker.Worker]:
    """The workers of a run, the default first.

    Raises:
        BinaryNotFound, ExtraMissing, TranscriptError: one cannot work at all.
    """
    return {
        name: make_worker(name, config, environ, event_log, wakeups) for name in config.workers()
    }


def upstream_worker(config: Config) -> worker.Worker:
    """The worker that passes requests on.

    Raises:
        ExtraMissing: it is not installed.
    """
    try:
        # Its HTTP client takes as long to load as everything else together.
        from engine.upstream import client as upstreamclient, worker as upstream
    except ModuleNotFoundError:
        raise ExtraMissing(
            "the upstream worker needs the extra of that name: pip install 'turntape[upstream]'"
        ) from None
    assert config.upstream_url is not None
    options = upstreamclient.Options(
        url=config.upstream_url,
        api_key=config.upstream_api_key,
        headers=upstream_headers(config),
        finish_grace=config.finish_grace_ms / 1000,
    )
    return upstream.UpstreamWorker(options)


def upstream_headers(config: Config) -> tuple[tuple[str, str], ...]:
    """The names and values of `PROXY_UPSTREAM_HEADERS`."""
    pairs = (header.partition(":") for header in config.upstream_headers)
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def codex_options(config: Config) -> "codexoptions.Options":
    """The Codex worker's part of the configuration."""
    from engine.codex import options as codexoptions
    from engine.codex.child import home as codexhome

    return codexoptions.Options(
        setup=codexhome.Setup(
            data_dir=config.data_dir,
            operator_home=config.codex_home,
            base_url=config.codex_base_url,
            has_key=config.codex_api_key is not None,
            model=config.codex_model,
            extra_models=config.codex_models,
            workdir=config.codex_workdir,
        ),
        binary=config.codex_bin,
        api_key=config.codex_api_key,
        processes=config.worker_count,
        turns_per_process=config.worker_max_concurrency,
        request_timeout=config.worker_request_timeout_ms / 1000,
        handshake_timeout=config.worker_handshake_timeout_ms / 1000,
        limits=supervisor.Limits(
            handshake_ms=config.worker_startup_timeout_ms,
            stop_grace_ms=config.worker_shutdown_grace_ms,
            hang_ms=config.worker_hang_timeout_ms,
            backoff_initial_ms=config.worker_backoff_initial_ms,
            backoff_max_ms=config.worker_backoff_max_ms,
        ),
        sandbox=config.sandbox_mode,
        approval_policy=config.approval_policy,
        client_version=VERSION,
        park_most=config.park_max,
        park_ttl=config.park_ttl_ms / 1000,
        reuse_most=config.reuse_max,
        reuse_ttl=config.reuse_ttl_ms / 1000,
        forks=config.fork_threads,
        login_link=_login_link(config),
        known=config.redaction(),
    )


def _login_link(config: Config) -> "loginlink.Offer":
    from engine.codex import loginlink

    text, mode = config.auth_login_url, config.auth_login_url_mode
    return loginlink.Offer(
        url=text if text.startswith(("http://", "https://")) else None,
        from_codex=text.lower() in ("true", "yes", "1"),
        in_code="code" in mode,
        in_message="message" in mode,
    )


def log_settings(config: Config) -> logsettings.LogSettings:
    """The event log's part of the configuration."""
    return logsettings.LogSettings(
        directory=config.log_dir,
        content=config.event_log,
        fsync=config.log_fsync,
        segment_bytes=config.log_segment_bytes,
        max_bytes=config.log_max_bytes,
        max_age_s=config.log_max_age_s,
        max_streams=config.log_max_streams,
        compress_age_s=config.log_compress_age_s,
        on_error=config.log_on_error,
        known=config.redaction(),
        summaries=summarysettings.SummarySettings(
            max_age_s=config.log_summary_age_s, max_bytes=config.log_summary_max_bytes
        ),
    )


def http_limits(config: Config) -> http.Limits:
    """Return the limits of a connection.

    Nothing piles up behind a client that stalls where every worker waits for its clients: then one
    whose buffer is over its limit may stall for as long as one whose buffer is not.
    """
    limits = http.Limits(body_bytes=config.max_body_bytes)
    if all(kind.waits_for_clients for kind in config.worker_kinds()):
        return msgspec.structs.replace(limits, over_limit_stall=limits.write_stall)
    return limits


def hash_key(config: Config) -> bytes:
    """The key of the log's body hashes; of no use beyond this run where there is no log.

    A log that cannot be written is a matter of its `on_error` policy, not of its key.

    Raises:
        NotRegular: something else is in the place of its file.
    """
    if config.event_log != "off":
        try:
            return digest.load_key(config.log_dir)
        except regular.NotRegular:
            raise
        except OSError:
            pass
    return secrets.token_bytes(digest.HASH_BYTES)


def response_store(config: Config) -> responsestore.ResponseStore | None:
    """The store of responses; None where none is kept."""
    if config.store == "off" or not config.enable_responses:
        return None
    limits = responsestore.Limits(
        ttl_s=config.store_ttl_s,
        max_bytes=config.store_max_bytes,
        conversation_bytes=config.max_body_bytes,
    )
    return sqlitestore.SqliteStore(config.data_dir / STORE_FILE, limits, time.time)


def request_metrics(
    config: Config, routes: Iterable[str], listed: Callable[[], Iterable[str]]
) -> "requestmetrics.RequestMetrics | None":
    """The counts of ended requests; None where there are no metrics.

    Args:
        routes: patterns of the route table.
        listed: returns the models that are listed now.
    """
    if not config.enable_metrics:
        return None
    from server.metrics import requests as requestmetrics

    return requestmetrics.RequestMetrics(routes, listed)


def make_tracing(config: Config, environ: Mapping[str, str]) -> "tracing.Tracing | None":
    """The maker of spans; None where none are exported.

    Raises:
        ExtraMissing: OpenTelemetry is not installed.
        ConfigError: a variable of its own cannot be used.
    """
    if not config.enable_tracing:
        return None
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        _log.warning("tracing_disabled", by="OTEL_SDK_DISABLED")
        return None
    protocol = _trace_protocol(environ)
    if protocol not in ("", "http/protobuf"):
        _log.warning("tracing_protocol_unknown", asked=protocol, spoken="http/protobuf")
    try:
        from server.tracing import export, tracing
    except ModuleNotFoundError:
        raise ExtraMissing(
            "PROXY_ENABLE_TRACING needs the extra of OpenTelemetry: pip install 'turntape[otel]'"
        ) from None
    except ValueError:  # it reads some of its variables when it is loaded
        problem = "OpenTelemetry cannot use one of them"
        raise ConfigError("OTEL_ variables", problem) from None
    url = urlsplit(config.upstream_url or "")
    port = url.port or {"https": 443}.get(url.scheme, 80)
    server = None if url.hostname is None else (url.hostname, port)
    return tracing.Tracing(config.tracing_conventions, server, lambda: export.Exporter(environ))


def _trace_protocol(environ: Mapping[str, str]) -> str:
    """The protocol by which the environment has spans sent; empty where it says none."""
    general = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    return (environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or general).strip().lower()
