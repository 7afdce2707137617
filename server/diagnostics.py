"""Diagnostics for operators: structlog set up to write one JSON line an event to stderr.

A line begins with `timestamp` (UTC, µs), `severity` (debug, info, warning, error, critical),
`component` (the module that speaks) and `event`. `env`, `req_id` and `worker_state` follow where
they are known, then the event's own fields. On a terminal the same is written for reading.

Modules of any layer say `log = structlog.get_logger(component="codex")`. An object on a busy path
binds it once (`self._log = log.bind()`): a call below the level then costs 0.1 µs, against 2 µs
through the unbound logger. There is no line per token at any level.

No key or token is written: they are looked for by the name of their field, by their form, and, for
the ones of the configuration, by their value. Contents of requests belong to the event log.
"""

import contextlib
import datetime
import logging
import re
import sys
from collections.abc import Mapping
from typing import BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from server import settings

LEADING = ("timestamp", "severity", "component", "event", "env", "req_id", "worker_state")
"""The fields that mean the same in every line, in the order they are written."""

MAX_TEXT = 16_384
"""Characters of a value that are kept: a worker's stderr has lines of any length."""

MAX_SECRET = 4096
"""Characters past that limit which are looked at, so that no key is cut and then missed."""

MAX_DEPTH = 6
"""Levels of nesting that are kept."""

SECRET_FIELDS = frozenset(
    {
        "access_token",
        "api_key",
        "authorization",
        "cookie",
        "id_token",
        "password",
        "proxy_authorization",
        "refresh_token",
        "secret",
        "set_cookie",
        "token",
        "x_api_key",
    }
)
"""Fields whose value is never written, in lower case with `_` for `-`."""

_SECRET_FORMS = (
    # `name: value` and `name=value`, quoted or not, with or without a scheme before the value
    (
        r"(?P<name>(?:authorization|api[_-]?key|(?:access|refresh|id)_token|password)"
        r"[\"'\\]*\s*[:=]\s*[\"'\\]*)(?:(?:Bearer|Basic)\s+)?[^\s\"'\\,;&}]+"
    ),
    r"(?P<scheme>\bBearer\s+)[\w.~+/=-]+",
    r"(?P<key>\bsk-)[\w-]{6,}",
    r"(?P<jwt>\beyJ)[\w-]{8,}(?:\.[\w-]+)*",
    r"(?P<login>://)[^\s/@]+(?=@)",
)
"""Regular expressions; the named group of each is kept."""

_UNSAFE = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
"""Control characters, which could steer an operator's terminal."""


def configure(config: settings.Config, stream: BinaryIO | None = None) -> None:
    """Send what structlog and the standard library log to `stream`, stderr unless given."""
    stream = stream or sys.stderr.buffer
    on_terminal = config.log_format == "auto" and stream.isatty()
    render: list[Processor] = [_render_json]
    if on_terminal or config.log_format == "console":
        console = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        render = [_name_for_console, console]
    least = logging.getLevelNamesMapping()[config.log_level.upper()]
    output = _Output(stream)
    structlog.configure(
        processors=[
            structlog.processors.format_exc_info,
            _Scrubber(config.secrets()),
            _Lead(config.env),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: output,
        # A cached logger would keep the configuration it first met, in tests as in `demo`.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, _StdlibHandler)]
    root.addHandler(_StdlibHandler(logging.WARNING))


class _Scrubber:
    """A processor that leaves plain values of bounded size, without keys and tokens.

    Args:
        secrets: texts to be replaced wherever they stand.
    """

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        forms = [*map(re.escape, sorted(secrets, key=len, reverse=True)), *_SECRET_FORMS]
        self._secret = re.compile("|".join(forms), re.IGNORECASE)

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {key: self._field(key, value, 0) for key, value in event.items()}

    def _field(self, key: object, value: object, depth: int) -> object:
        if str(key).lower().replace("-", "_") in SECRET_FIELDS:
            return settings.HIDDEN
        return self._plain(value, depth)

    def _plain(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping) and depth < MAX_DEPTH:
            return {
                self._text(str(key)): self._field(key, one, depth + 1)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset) and depth < MAX_DEPTH:
            return [self._plain(one, depth + 1) for one in value]
        # An exception's repr has its class, which is often all it says.
        return self._text(repr(value) if isinstance(value, BaseException) else str(value))

    def _text(self, text: str) -> str:
        length = len(text)
        text = text[: MAX_TEXT + MAX_SECRET]
        if not text.isprintable():
            text = text.encode("utf-8", "replace").decode().translate(_UNSAFE)
        text = self._secret.sub(_keep_group, text)
        return text if length <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({length} characters)"


def _keep_group(match: re.Match[str]) -> str:
    kept = match[match.lastgroup] if match.lastgroup else ""
    return f"{kept}{settings.HIDDEN}"


class _Lead:
    """A processor that adds what every line has, and puts it first."""

    def __init__(self, env: str | None) -> None:
        self._env = {"env": env} if env else {}

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        known = {
            "component": "server",
            **self._env,
            **event,
            "timestamp": now.replace("+00:00", "Z"),
            "severity": method,
        }
        leading = {name: known.pop(name) for name in LEADING if name in known}
        return {**leading, **known}


def _render_json(_: WrappedLogger, __: str, event: EventDict) -> bytes:
    return msgspec.json.encode(event)


def _name_for_console(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["level"] = event.pop("severity")
    event["logger"] = event.pop("component")
    return event


class _Output:
    """Where lines end. One that cannot be written is lost: no stream may fail for its sake."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, line: bytes | str) -> None:
        data = line if isinstance(line, bytes) else line.encode("utf-8", "replace")
        with contextlib.suppress(OSError, ValueError):  # a full disk, a closed pipe
            self._stream.write(data + b"\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


class _StdlibHandler(logging.Handler):
    """Brings warnings and errors of the standard library's loggers, asyncio's first of all."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record under the name of its logger."""
        log = structlog.get_logger(component=record.name)
        say = log.error if record.levelno >= logging.ERROR else log.warning
        try:
            say(record.getMessage(), exc_info=record.exc_info)
        except Exception:  # logging's contract: a handler reports, it does not raise
            self.handleError(record)
