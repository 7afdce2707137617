"""Every setting of the server, declared once: its names, type, default, unit and meaning.

`server.config.load` reads them from flags, the environment and an env file; `turntape config` and
`docs/configuration.md` print them from here. Those of requests and answers are below, those of
what is started and kept in `server.config.host_settings`.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from engine import redaction, workerkinds
from engine.routing import fleet as routing
from machines import tooloptions
from server.config import keys_file
from server.config.declared import (
    MIB,
    Choices,
    Count,
    Deadline,
    Declared,
    Items,
    Milliseconds,
    Origins,
    Positive,
    Setting,
    Size,
    Verbatim,
    declare,
)
from server.config.host_settings import HostSettings

"""What is shown of a secret, whatever its length."""

Source = Literal["default", "file", "env", "flag"]
"""Where a value came from, the weakest first."""


class Config(HostSettings, frozen=True, kw_only=True):
    """The settings of one run. A field is named as its variable, without `PROXY_`.

    `models` is what the models file says, `keys` what the keys file does; `sources` tells where
    each field came from, absent: its default.
    """

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
    drain_delay_ms: Annotated[
        Milliseconds,
        Setting("PROXY_DRAIN_DELAY_MS", "after SIGTERM, time not ready and still serving"),
    ] = 0
    drain_timeout_ms: Annotated[
        Milliseconds,
        Setting("PROXY_DRAIN_TIMEOUT_MS", "time for open streams after SIGTERM"),
    ] = 20_000

    maintenance_mode: Annotated[
        bool,
        Setting("PROXY_MAINTENANCE_MODE", "whether it starts in maintenance: 503 for new work"),
    ] = False

    max_body_bytes: Annotated[
        Size, Setting("PROXY_MAX_BODY_BYTES", "largest request body, above it 413")
    ] = 16 * MIB
    max_prompt_tokens: Annotated[
        Count, Setting("PROXY_MAX_PROMPT_TOKENS", "longest prompt, estimated; 0: no limit")
    ] = 0
    max_chat_choices: Annotated[Choices, Setting("PROXY_MAX_CHAT_CHOICES", "largest `n`")] = 5
    max_input_items: Annotated[
        Items,
        Setting(
            "PROXY_MAX_INPUT_ITEMS",
            "messages, items, parts, calls or tools of a request, each by itself; above it 400",
        ),
    ] = 16_384
    max_tool_calls: Annotated[
        Positive,
        Setting("PROXY_MAX_TOOL_CALLS", "calls of a choice, above it the answer is an error"),
    ] = tooloptions.CALL_LIMIT
    sse_max_concurrency: Annotated[
        Count, Setting("PROXY_SSE_MAX_CONCURRENCY", "streams at once, above it 429; 0: no limit")
    ] = 0

    rate_limit_enabled: Annotated[
        bool,
        Setting(
            "PROXY_RATE_LIMIT_ENABLED",
            "whether keys without a limit of requests of their own have the next two",
        ),
    ] = False
    rate_limit_window_ms: Annotated[
        Deadline,
        Setting("PROXY_RATE_LIMIT_WINDOW_MS", "length of a window in which a key's use counts"),
    ] = 60_000
    rate_limit_max: Annotated[
        Positive, Setting("PROXY_RATE_LIMIT_MAX", "requests for answers a window, above it 429")
    ] = 60

    test_endpoints: Annotated[
        bool,
        Setting("PROXY_TEST_ENDPOINTS", "`/__test/conc`, and `x-conc-*` on streams: for tests"),
    ] = False

    enable_request_metrics: Annotated[
        bool,
        Setting(
            "PROXY_ENABLE_REQUEST_METRICS",
            "whether answers of chat tell their times, as `metrics`",
        ),
    ] = False
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
    enable_websockets: Annotated[
        bool,
        Setting("PROXY_ENABLE_WEBSOCKETS", "false: a WebSocket on `/v1/responses` is 426"),
    ] = True
    websocket_idle_ms: Annotated[
        Milliseconds,
        Setting("PROXY_WEBSOCKET_IDLE_MS", "limit of a WebSocket without a request; 0: none"),
    ] = 600_000
    websocket_max_age_ms: Annotated[
        Milliseconds,
        Setting("PROXY_WEBSOCKET_MAX_AGE_MS", "age at which a WebSocket is closed; 0: none"),
    ] = 3_600_000
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
        Literal["auto", "true", "false"],
        Setting(
            "PROXY_SUPPRESS_TAIL_AFTER_TOOLS",
            "whether text after a tool call is dropped; `auto`: in obsidian-xml it is",
        ),
    ] = "auto"
    park_ttl_ms: Annotated[
        Deadline, Setting("PROXY_PARK_TTL_MS", "how long a turn waits for its tool results")
    ] = 300_000
    park_max: Annotated[
        Count, Setting("PROXY_PARK_MAX", "turns that wait at once; 0: none does")
    ] = 64

    usage_allow_unauth: Annotated[
        bool, Setting("PROXY_USAGE_ALLOW_UNAUTH", "whether `/v1/usage` is open without a key")
    ] = False

    models: dict[str, routing.Rule] = msgspec.field(default_factory=dict)
    keys: dict[str, keys_file.Key] = msgspec.field(default_factory=dict)
    sources: dict[str, Source] = msgspec.field(default_factory=dict)

    @property
    def needs_key(self) -> bool:
        """Whether clients need a key; also where a file of keys has none left."""
        return self.api_key is not None or self.api_keys_file is not None

    def workers(self) -> tuple[workerkinds.Name, ...]:
        """The workers that run: the default, then those that models name."""
        named = (rule.worker for rule in self.models.values() if rule.worker is not None)
        return tuple(dict.fromkeys((self.worker, *named)))

    def worker_kinds(self) -> tuple[workerkinds.Kind, ...]:
        """The kinds of the workers that run, in the same order."""
        return tuple(workerkinds.KINDS[name] for name in self.workers())

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown."""
        values: list[str] = []
        for item in SETTINGS:
            value = getattr(self, item.field) if item.kind.secret else None
            if isinstance(value, tuple):
                values += _credentials(value)
            elif value is not None:
                values.append(value)
        return tuple(filter(None, values))

    def redaction(self) -> redaction.Redaction:
        """Return the redaction that takes those values out of foreign texts."""
        return redaction.Redaction(self.secrets())

    def __repr__(self) -> str:
        """Names and values without the secrets, for a traceback may show it."""
        shown = (
            (item.field, redaction.HIDDEN if item.kind.secret else repr(getattr(self, item.field)))
            for item in SETTINGS
        )
        return f"Config({', '.join(map('='.join, shown))})"


def _credentials(headers: tuple[str, ...]) -> Iterator[str]:
    """What headers say, whole and after a scheme; what is shorter than any key is no secret."""
    for header in headers:
        value = header.partition(":")[2].strip()
        yield from (part for part in {value, *value.split()} if len(part) >= SHORTEST_CREDENTIAL)


SHORTEST_CREDENTIAL = 6
"""Least characters of a header's value to hide: `1`, `true` and `false` stand in many lines."""

DERIVED = ("keys", "models", "sources")
"""Fields of `Config` that nobody sets."""

SETTINGS: tuple[Declared, ...] = tuple(
    declare(field) for field in msgspec.structs.fields(Config) if field.name not in DERIVED
)
"""Every setting, in the order it is shown."""
