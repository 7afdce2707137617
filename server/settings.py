"""Every setting of the server, declared once: its names, type, default, unit and meaning.

`server.config` reads them from flags, the environment and an env file; `turntape config` and
`docs/configuration.md` print them from here.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from engine import routing
from server.declared import (
    GIB,
    MIB,
    Budget,
    Choices,
    Count,
    Deadline,
    Declared,
    Factor,
    HttpHeaders,
    Milliseconds,
    Names,
    Origins,
    Port,
    Positive,
    Processes,
    Seconds,
    Segment,
    Setting,
    Size,
    Token,
    Url,
    Verbatim,
    declare,
)

HIDDEN = "********"
"""What is shown of a secret, whatever its length."""

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
"""The corpus that comes with the program; the same place in a checkout and in the wheel."""

Source = Literal["default", "file", "env", "flag"]
"""Where a value came from, the weakest first."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one run. A field is named as its variable, without `PROXY_`.

    `models` is what the models file says; `sources` tells where each field came from, absent: its
    default.
    """

    port: Annotated[Port, Setting("PORT", "TCP port; 0: any free one", flag="--port")] = 11435
    host: Annotated[
        str, Setting("PROXY_HOST", "address; any but loopback needs a key", flag="--host")
    ] = "127.0.0.1"
    api_key: Annotated[
        Token | None, Setting("PROXY_API_KEY", "what clients send as `Authorization: Bearer`")
    ] = None
    env: Annotated[
        Literal["dev", "staging", "prod"] | None,
        Setting("PROXY_ENV", "stage: in health and logs; picks the aliases advertised"),
    ] = None
    worker: Annotated[
        routing.WorkerName,
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
    ] = "error"

    head_hold_ms: Annotated[
        Milliseconds, Setting("PROXY_HEAD_HOLD_MS", "how long a stream's head waits for output")
    ] = 30_000
    first_chunk_timeout_ms: Annotated[
        Milliseconds, Setting("PROXY_FIRST_CHUNK_TIMEOUT_MS", "limit of first output; 0: none")
    ] = 300_000
    stream_idle_timeout_ms: Annotated[
        Milliseconds,
        Setting("PROXY_STREAM_IDLE_TIMEOUT_MS", "limit of a worker's silence; 0: none"),
    ] = 300_000
    timeout_ms: Annotated[
        Milliseconds, Setting("PROXY_TIMEOUT_MS", "limit of a whole request; 0: none")
    ] = 0
    finish_grace_ms: Annotated[
        Milliseconds, Setting("PROXY_FINISH_GRACE_MS", "wait for usage after the finish")
    ] = 1_000
    sse_keepalive_ms: Annotated[
        Milliseconds, Setting("PROXY_SSE_KEEPALIVE_MS", "silence before a heartbeat; 0: none")
    ] = 15_000
    nonstream_truncate_after_ms: Annotated[
        Milliseconds,
        Setting(
            "PROXY_NONSTREAM_TRUNCATE_AFTER_MS",
            "an answer not streamed is cut and sent as `length` after it; 0: never",
        ),
    ] = 0
    latency_budget_ms: Annotated[
        Milliseconds,
        Setting("PROXY_LATENCY_BUDGET_MS", "warn of slower first output; 0: never"),
    ] = 0
    drain_timeout_ms: Annotated[
        Milliseconds,
        Setting("PROXY_DRAIN_TIMEOUT_MS", "time for open streams after SIGTERM"),
    ] = 20_000

    max_body_bytes: Annotated[
        Size, Setting("PROXY_MAX_BODY_BYTES", "largest request body, above it 413")
    ] = 16 * MIB
    max_prompt_tokens: Annotated[
        Count, Setting("PROXY_MAX_PROMPT_TOKENS", "longest prompt, estimated; 0: no limit")
    ] = 0
    max_chat_choices: Annotated[Choices, Setting("PROXY_MAX_CHAT_CHOICES", "largest `n`")] = 5
    sse_max_concurrency: Annotated[
        Count, Setting("PROXY_SSE_MAX_CONCURRENCY", "streams at once, above it 429; 0: no limit")
    ] = 0

    protect_models: Annotated[
        bool, Setting("PROXY_PROTECT_MODELS", "whether `/v1/models` needs the key")
    ] = False
    enable_cors: Annotated[bool, Setting("PROXY_ENABLE_CORS", "whether CORS is answered")] = True
    cors_allowed_origins: Annotated[
        Origins, Setting("PROXY_CORS_ALLOWED_ORIGINS", "web origins that may call")
    ] = ("app://obsidian.md",)

    output_mode: Annotated[
        Literal["auto", "openai-json", "obsidian-xml"],
        Setting(
            "PROXY_OUTPUT_MODE",
            "form of tool calls; `auto`: obsidian-xml for Obsidian Copilot, else openai-json",
        ),
    ] = "auto"
    responses_output_mode: Annotated[
        Literal["auto", "openai-json", "obsidian-xml"],
        Setting("PROXY_RESPONSES_OUTPUT_MODE", "the same, of `/v1/responses`"),
    ] = "openai-json"
    enable_responses: Annotated[
        bool, Setting("PROXY_ENABLE_RESPONSES", "false: `/v1/responses` does not exist")
    ] = True
    enable_parallel_tool_calls: Annotated[
        bool,
        Setting(
            "PROXY_ENABLE_PARALLEL_TOOL_CALLS",
            "false: of a step's calls only the first, unless the request says otherwise",
        ),
    ] = True
    stop_after_tools: Annotated[
        bool, Setting("PROXY_STOP_AFTER_TOOLS", "whether an answer ends with its tool calls")
    ] = False
    stop_after_tools_mode: Annotated[
        Literal["first", "burst"],
        Setting(
            "PROXY_STOP_AFTER_TOOLS_MODE",
            "then it ends at its first call, or when no more follow",
        ),
    ] = "burst"
    stop_after_tools_grace_ms: Annotated[
        Milliseconds,
        Setting("PROXY_STOP_AFTER_TOOLS_GRACE_MS", "`burst`: wait for one more call"),
    ] = 300
    tool_block_max: Annotated[
        Count, Setting("PROXY_TOOL_BLOCK_MAX", "calls of an answer, more are dropped; 0: no limit")
    ] = 0
    tool_block_dedup: Annotated[
        bool, Setting("PROXY_TOOL_BLOCK_DEDUP", "whether a call just like an earlier is dropped")
    ] = False
    tool_block_delimiter: Annotated[
        Verbatim | None,
        Setting("PROXY_TOOL_BLOCK_DELIMITER", "text between two `<use_tool>` blocks"),
    ] = None
    suppress_tail_after_tools: Annotated[
        bool,
        Setting("PROXY_SUPPRESS_TAIL_AFTER_TOOLS", "whether text after a tool call is dropped"),
    ] = False
    park_ttl_ms: Annotated[
        Deadline, Setting("PROXY_PARK_TTL_MS", "how long a turn waits for its tool results")
    ] = 300_000
    park_max: Annotated[
        Count, Setting("PROXY_PARK_MAX", "turns that wait at once; 0: none does")
    ] = 64

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
    log_max_age_s: Annotated[
        Seconds, Setting("PROXY_LOG_MAX_AGE_S", "age at which a segment goes; 0: none")
    ] = 7 * 86_400
    log_on_error: Annotated[
        Literal["continue", "refuse"],
        Setting(
            "PROXY_LOG_ON_ERROR", "what becomes of requests while the event log cannot be written"
        ),
    ] = "continue"

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

    models: dict[str, routing.Rule] = {}
    sources: dict[str, Source] = {}

    def workers(self) -> tuple[routing.WorkerName, ...]:
        """The workers that run: the default, then those that models name."""
        named = (rule.worker for rule in self.models.values() if rule.worker is not None)
        return tuple(dict.fromkeys((self.worker, *named)))

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown."""
        values: list[str] = []
        for item in SETTINGS:
            value = getattr(self, item.field) if item.kind.secret else None
            if isinstance(value, tuple):  # of headers only what they say
                values += [header.partition(":")[2].strip() for header in value]
            elif value is not None:
                values.append(value)
        return tuple(filter(None, values))

    def __repr__(self) -> str:
        """Names and values without the secrets, for a traceback may show it."""
        shown = (
            f"{item.field}={HIDDEN if item.kind.secret else repr(getattr(self, item.field))}"
            for item in SETTINGS
        )
        return f"Config({', '.join(shown)})"


DERIVED = ("models", "sources")
"""Fields of `Config` that nobody sets."""

SETTINGS: tuple[Declared, ...] = tuple(
    declare(field) for field in msgspec.structs.fields(Config) if field.name not in DERIVED
)
"""Every setting, in the order it is shown."""
