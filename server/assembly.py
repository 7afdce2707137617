"""Makes each part of the server as the configuration has it; `server.serve` runs them."""

import secrets
import time
from collections.abc import Mapping

import msgspec

from engine import regular, scripted, worker, workerkinds
from engine.codex import disabled, worker as codexworker
from engine.codex.child import home as codexhome
from engine.log import event_log as eventlog, journal, settings as logsettings
from engine.log.content import digest
from engine.store import sqlite as sqlitestore, store as responsestore
from engine.stream import wakeups
from machines import supervisor
from server.config.settings import Config
from server.http import exchange as http
from server.version import VERSION

STORE_FILE = "responses.sqlite"
"""The response store, in `PROXY_DATA_DIR`."""


class ExtraMissing(Exception):
    """Raised where a worker needs packages that are not installed."""


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
    lives = journal.WorkerJournal(event_log)
    return codexworker.CodexWorker(
        codex_options(config), environ, lives.changed, wakeups.read, lives.late
    )


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
    headers = (header.partition(":") for header in config.upstream_headers)
    options = upstreamclient.Options(
        url=config.upstream_url,
        api_key=config.upstream_api_key,
        headers=tuple((name.strip(), value.strip()) for name, _, value in headers),
        finish_grace=config.finish_grace_ms / 1000,
    )
    return upstream.UpstreamWorker(options)


def codex_options(config: Config) -> codexworker.Options:
    """The Codex worker's part of the configuration."""
    return codexworker.Options(
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
            backoff_initial_ms=config.worker_backoff_initial_ms,
            backoff_max_ms=config.worker_backoff_max_ms,
        ),
        sandbox=config.sandbox_mode,
        approval_policy=config.approval_policy,
        client_version=VERSION,
        park_most=config.park_max,
        park_ttl=config.park_ttl_ms / 1000,
        known=config.redaction(),
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
        on_error=config.log_on_error,
        known=config.redaction(),
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
