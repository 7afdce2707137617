"""Settings of what is started and kept: address, key, workers, files, diagnostics."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from engine import workerkinds
from server.config.declared import (
    GIB,
    MIB,
    Budget,
    Count,
    Deadline,
    Factor,
    HttpHeaders,
    LoginUrl,
    Milliseconds,
    Names,
    Networks,
    Port,
    Positive,
    Processes,
    Seconds,
    Segment,
    Setting,
    Token,
    Url,
)

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
"""The corpus that comes with the program; the same place in a checkout and in the wheel."""


class HostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The part of `settings.Config` that requests do not read."""

    port: Annotated[Port, Setting("PORT", "TCP port; 0: any free one", flag="--port")] = 11435
    host: Annotated[
        str, Setting("PROXY_HOST", "address; any but loopback needs a key", flag="--host")
    ] = "127.0.0.1"
    api_key: Annotated[
        Token | None, Setting("PROXY_API_KEY", "what clients send as `Authorization: Bearer`")
    ] = None
    api_keys_file: Annotated[
        Path | None,
        Setting(
            "PROXY_API_KEYS_FILE",
            "JSON: named keys, hashed, each with its models and limits",
            flag="--keys-file",
        ),
    ] = None
    admin_key: Annotated[
        Token | None,
        Setting("PROXY_ADMIN_KEY", "what operators send so, for `/admin`; none: 404"),
    ] = None
    trusted_proxies: Annotated[
        Networks,
        Setting(
            "PROXY_TRUSTED_PROXIES",
            "whose `Forwarded` and `X-Forwarded-For` give a client's address",
        ),
    ] = ()
    env: Annotated[
        Literal["dev", "staging", "prod"] | None,
        Setting("PROXY_ENV", "stage: in health and logs; picks the aliases advertised"),
    ] = None
    worker: Annotated[
        workerkinds.Name,
        Setting(
            "PROXY_WORKER",
            "what answers: Codex, an OpenAI-compatible server, recorded transcripts",
            flag="--worker",
        ),
    ] = "codex"
    models_file: Annotated[
        Path | None,
        Setting(
            "PROXY_MODELS_FILE",
            "TOML: what stands behind a model's name, and who stands in",
            flag="--models-file",
        ),
    ] = None
    use_app_server: Annotated[
        bool,
        Setting("PROXY_USE_APP_SERVER", "false: Codex is off, 503 `app_server_disabled`"),
    ] = True
    data_dir: Annotated[
        Path,
        Setting(
            "PROXY_DATA_DIR",
            "what the server keeps",
            derived="$XDG_STATE_HOME/turntape, else ~/.local/state/turntape",
        ),
    ]

    codex_bin: Annotated[
        str | None,
        Setting(
            "CODEX_BIN",
            "the Codex program: a path, or a name on PATH",
            derived="the installed wheel's, else codex on PATH",
        ),
    ] = None
    codex_home: Annotated[
        Path | None,
        Setting(
            "CODEX_HOME",
            "a Codex home of your own, used as it is",
            flag="--codex-home",
            derived="generated in PROXY_DATA_DIR/codex-home",
        ),
    ] = None
    codex_model: Annotated[
        str,
        Setting(
            "CODEX_MODEL",
            "model behind the `codex-5*` and `codev-5*` aliases",
            alias="PROXY_DEFAULT_MODEL",
        ),
    ] = "gpt-5.5"
    codex_models: Annotated[
        Names, Setting("PROXY_CODEX_MODELS", "models to accept and list beside Codex's own")
    ] = ()
    codex_base_url: Annotated[
        Url | None,
        Setting("PROXY_CODEX_BASE_URL", "Codex's model provider", derived="OpenAI's"),
    ] = None
    codex_api_key: Annotated[
        Token | None, Setting("PROXY_CODEX_API_KEY", "the provider's key; Codex logs in with it")
    ] = None
    auth_login_url: Annotated[
        LoginUrl,
        Setting(
            "PROXY_AUTH_LOGIN_URL",
            "where clients are told to log the server in; `true`: a link of Codex's",
        ),
    ] = "false"
    auth_login_url_mode: Annotated[
        Literal["code", "message", "code+message"],
        Setting("PROXY_AUTH_LOGIN_URL_MODE", "the members of a 401 that have the link"),
    ] = "message"
    codex_workdir: Annotated[
        Path | None,
        Setting("PROXY_CODEX_WORKDIR", "Codex's directory", derived="an empty one"),
    ] = None
    sandbox_mode: Annotated[
        Literal["read-only", "workspace-write", "danger-full-access"],
        Setting("PROXY_SANDBOX_MODE", "Codex's sandbox"),
    ] = "read-only"
    approval_policy: Annotated[
        Literal["never", "on-request", "untrusted"],
        Setting("PROXY_APPROVAL_POLICY", "when Codex asks for approval"),
    ] = "never"

    upstream_url: Annotated[
        Url | None, Setting("PROXY_UPSTREAM_URL", "the upstream's API, such as http://host/v1")
    ] = None
    upstream_api_key: Annotated[
        Token | None, Setting("PROXY_UPSTREAM_API_KEY", "its key; a client's own never reaches it")
    ] = None
    upstream_headers: Annotated[
        HttpHeaders,
        Setting("PROXY_UPSTREAM_HEADERS", "sent with every request to it"),
    ] = ()
    empty_upstream: Annotated[
        Literal["empty", "error"],
        Setting("PROXY_EMPTY_UPSTREAM", "a stream without any event: empty too, or a 502"),
    ] = "empty"

    worker_count: Annotated[Processes, Setting("WORKER_COUNT", "app-server processes")] = 1
    worker_max_concurrency: Annotated[
        Positive, Setting("WORKER_MAX_CONCURRENCY", "turns at once a process")
    ] = 64
    worker_startup_timeout_ms: Annotated[
        Deadline, Setting("WORKER_STARTUP_TIMEOUT_MS", "a process must be up by then")
    ] = 15_000
    worker_handshake_timeout_ms: Annotated[
        Deadline, Setting("WORKER_HANDSHAKE_TIMEOUT_MS", "limit of the handshake that follows")
    ] = 15_000
    worker_request_timeout_ms: Annotated[
        Deadline, Setting("WORKER_REQUEST_TIMEOUT_MS", "limit of one JSON-RPC reply")
    ] = 10_000
    reuse_max: Annotated[
        Count,
        Setting(
            "PROXY_REUSE_MAX",
            "threads of Codex that stay loaded for a conversation's next request, a MiB or more "
            "each; 0: none does",
        ),
    ] = 64
    reuse_ttl_ms: Annotated[
        Deadline, Setting("PROXY_REUSE_TTL_MS", "how long such a thread waits for it")
    ] = 900_000
    fork_threads: Annotated[
        bool,
        Setting(
            "PROXY_FORK_THREADS",
            "whether the new threads of a conversation have one cache key; none has where "
            "PROXY_REUSE_MAX is 0",
        ),
    ] = True
    worker_hang_timeout_ms: Annotated[
        Deadline,
        Setting(
            "WORKER_HANG_TIMEOUT_MS",
            "a process that answers no ping is replaced after so long without any output",
        ),
    ] = 15_000
    worker_shutdown_grace_ms: Annotated[
        Milliseconds, Setting("WORKER_SHUTDOWN_GRACE_MS", "a stopping process is killed after it")
    ] = 5_000
    worker_backoff_initial_ms: Annotated[
        Deadline, Setting("WORKER_BACKOFF_INITIAL_MS", "pause before a restart; doubles each time")
    ] = 500
    worker_backoff_max_ms: Annotated[
        Deadline, Setting("WORKER_BACKOFF_MAX_MS", "longest such pause; 30 s of health reset it")
    ] = 5_000
    worker_exit: Annotated[
        Literal["error", "length"],
        Setting("PROXY_WORKER_EXIT", "how an answer ends whose worker died after some text"),
    ] = "length"

    event_log: Annotated[
        Literal["off", "masked", "full"],
        Setting("PROXY_EVENT_LOG", "what the event log keeps of contents"),
    ] = "masked"
    log_dir: Annotated[
        Path,
        Setting(
            "PROXY_LOG_DIR",
            "where the event log is",
            flag="--log-dir",
            derived="PROXY_DATA_DIR/log",
        ),
    ]
    log_fsync: Annotated[
        Literal["none", "interval", "always"],
        Setting(
            "PROXY_LOG_FSYNC", "when the event log is synced; `always`: before bytes are sent"
        ),
    ] = "interval"
    log_segment_bytes: Annotated[
        Segment, Setting("PROXY_LOG_SEGMENT_BYTES", "size of a segment of the event log")
    ] = 64 * MIB
    log_max_bytes: Annotated[
        Budget, Setting("PROXY_LOG_MAX_BYTES", "size of them all; above it the oldest go; 0: none")
    ] = GIB
    log_max_streams: Annotated[
        Count,
        Setting("PROXY_LOG_MAX_STREAMS", "streams in them all; above it the oldest go; 0: none"),
    ] = 0
    log_compress_age_s: Annotated[
        Seconds,
        Setting("PROXY_LOG_COMPRESS_AGE_S", "age at which a segment is compressed; 0: none is"),
    ] = 600
    log_max_age_s: Annotated[
        Seconds, Setting("PROXY_LOG_MAX_AGE_S", "age at which a segment goes; 0: none")
    ] = 7 * 86_400
    log_on_error: Annotated[
        Literal["continue", "refuse"],
        Setting(
            "PROXY_LOG_ON_ERROR", "what becomes of requests while the event log cannot be written"
        ),
    ] = "continue"
    log_summary_age_s: Annotated[
        Seconds,
        Setting(
            "PROXY_LOG_SUMMARY_AGE_S",
            "age at which summaries of requests, the usage, go; the log goes earlier; 0: none",
        ),
    ] = 90 * 86_400
    log_summary_max_bytes: Annotated[
        Budget,
        Setting("PROXY_LOG_SUMMARY_MAX_BYTES", "size of them all; then the oldest go; 0: none"),
    ] = 256 * MIB

    store: Annotated[
        Literal["sqlite", "off"], Setting("PROXY_STORE", "what keeps responses; `off`: nothing")
    ] = "sqlite"
    store_ttl_s: Annotated[
        Seconds, Setting("PROXY_STORE_TTL_S", "age at which a kept conversation goes; 0: none")
    ] = 30 * 86_400
    store_max_bytes: Annotated[
        Budget, Setting("PROXY_STORE_MAX_BYTES", "size of its file; then the oldest go; 0: none")
    ] = GIB

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Setting("PROXY_LOG_LEVEL", "least severity of diagnostics, which go to stderr"),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"],
        Setting(
            "PROXY_LOG_FORMAT", "form of diagnostics; `auto`: console on a terminal, else JSON"
        ),
    ] = "auto"
    log_access_sample: Annotated[
        Positive,
        Setting(
            "PROXY_LOG_ACCESS_SAMPLE",
            "of so many requests that went well one has an access line; 1: each",
        ),
    ] = 1

    enable_metrics: Annotated[
        bool, Setting("PROXY_ENABLE_METRICS", "false: there is no `/metrics`")
    ] = True
    metrics_token: Annotated[
        Token | None,
        Setting("PROXY_METRICS_TOKEN", "what opens `/metrics`, as `Authorization: Bearer`"),
    ] = None
    metrics_allow_loopback: Annotated[
        bool,
        Setting(
            "PROXY_METRICS_ALLOW_LOOPBACK",
            "whether `/metrics` is open to this machine, unless a proxy asks",
        ),
    ] = True
    metrics_allow_unauth: Annotated[
        bool, Setting("PROXY_METRICS_ALLOW_UNAUTH", "whether `/metrics` is open to everyone")
    ] = False

    enable_tracing: Annotated[
        bool,
        Setting(
            "PROXY_ENABLE_TRACING",
            "whether spans are exported by OTLP; `OTEL_` variables say where, see tracing",
        ),
    ] = False
    tracing_conventions: Annotated[
        Literal["gen-ai-0.1.0", "1.28.0"],
        Setting(
            "PROXY_TRACING_CONVENTIONS", "whose names GenAI attributes have; `1.28.0`: older ones"
        ),
    ] = "gen-ai-0.1.0"

    transcripts_dir: Annotated[
        Path,
        Setting("PROXY_TRANSCRIPTS_DIR", "what the scripted worker plays", derived="bundled"),
    ] = TRANSCRIPTS
    scripted_transcript: Annotated[
        str | None,
        Setting("PROXY_SCRIPTED_TRANSCRIPT", "the transcript that answers every model"),
    ] = None
    scripted_speed: Annotated[
        Factor, Setting("PROXY_SCRIPTED_SPEED", "times the recorded speed; 0: without pauses")
    ] = 1.0
