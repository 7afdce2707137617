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

import datetime
import functools
import logging
import os
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from engine import containment, redaction
from server import console, lineoutput
from server.config import settings

STDERR: Final = 2
"""The descriptor, which `server.program` keeps open: `sys.stderr` is None where it was closed."""

FLUSH_S: Final = 1.0
"""How long an end waits for its last lines to be written."""

LEADING = ("timestamp", "severity", "component", "event", "env", "req_id", "worker_state")
"""The fields that mean the same in every line, in the order they are written."""

MAX_TEXT = 16_384
"""Characters of a value that are kept: a worker's stderr has lines of any length."""

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

_SECRET = re.compile("|".join(_SECRET_FORMS), re.IGNORECASE)

_SECRET_HINTS: Final = (
    "authorization",
    "key",
    "token",
    "password",
    "bearer",
    "sk-",
    "eyj",
    "://",
    *("\u0131", "\u0307"),  # i without a dot, and I with one: `re.IGNORECASE` takes both for an i
)
"""Parts in lower case. A text without any of them has none of the `_SECRET_FORMS`."""

_PLAIN_TYPES: Final = frozenset({type(None), bool, int, float})
"""Types of values that are written as they are."""

_UNSAFE = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
"""Control characters, which could steer an operator's terminal."""


def begin() -> None:
    """Send lines to stderr before the configuration is known, as it is by default."""
    _configure("info", "auto", None, (), STDERR)


def configure(config: settings.Config, descriptor: int = STDERR) -> None:
    """Send what structlog and the standard library log to a descriptor, as lines."""
    _configure(config.log_level, config.log_format, config.env, config.secrets(), descriptor)


def _configure(
    level: str, form: str, env: str | None, secrets: tuple[str, ...], descriptor: int
) -> None:
    is_terminal = os.isatty(descriptor)
    render: list[Processor] = [_render_json]
    if form == "console" or (form == "auto" and is_terminal):
        render = [console.renderer(coloured=is_terminal)]
    least = logging.getLevelNamesMapping()[level.upper()]
    output = _redirect(descriptor)
    structlog.configure(
        processors=[
            structlog.processors.format_exc_info,
            _Scrubber(secrets),
            _Lead(env),
            *render,
        ],
        wrapper_class=_contained(structlog.make_filtering_bound_logger(least)),
        logger_factory=lambda *_: output,
        # A cached logger would keep the configuration it first met, in tests as in `demo`.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, _StdlibHandler)]
    root.addHandler(_StdlibHandler(logging.WARNING))


def say(text: str) -> None:
    """Write a line for people, such as why nothing was started, in order with the others."""
    _output.write(text)


def flush(seconds: float = FLUSH_S) -> None:
    """Wait until the lines so far are written, but no longer: nobody may be reading."""
    _output.flush(seconds)


def lines_dropped() -> int:
    """Lines that nobody will read, since the process began: the queue was full, or the disk."""
    return _output.dropped


def learn(secrets: tuple[str, ...]) -> None:
    """Hide these from now on as well, in the lines of every logger there is."""
    for each in structlog.get_config()["processors"]:
        if isinstance(each, _Scrubber):
            each.learn(secrets)


class _Contained(structlog.BoundLoggerBase):
    """A logger whose calls never raise: a value that cannot be shown must not end a stream."""

    def _proxy_to_logger(self, method_name: str, event: str | None = None, **fields: Any) -> Any:
        try:
            return super()._proxy_to_logger(method_name, event, **fields)
        except Exception:
            containment.counts["unsaid"] += 1


def _contained(logger: type[FilteringBoundLogger]) -> type[FilteringBoundLogger]:
    return type("ContainedLogger", (_Contained, logger), {})


class _Scrubber:
    """A processor that leaves plain values of bounded size, without keys and tokens.

    Args:
        secrets: texts to be replaced wherever they stand as a whole: a key that is a word, or a
            letter, is not cut out of other words.
    """

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self._redaction = redaction.Redaction(secrets, shortest=1)

    def learn(self, secrets: tuple[str, ...]) -> None:
        """Replace these as well."""
        self._redaction.learn(secrets)

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if self._is_clean(event):
            return event
        return {key: self._field(key, value, 0) for key, value in event.items()}

    def _is_clean(self, event: EventDict) -> bool:
        """Whether nothing of it would be replaced: so it is with most lines, and to look at their
        texts together takes a fifth of the time."""
        texts = []
        for key, value in event.items():
            if type(value) is str:
                texts.append(value)
            elif type(value) is tuple and all(type(one) is str for one in value):
                texts += value
            elif type(value) not in _PLAIN_TYPES:
                return False
            if _names_secret(key):
                return False
        # No form has a blank before what it begins with, so that none is hidden by what is beside.
        text = " ".join(texts)
        folded = text.casefold()
        return (
            len(text) <= MAX_TEXT
            and text.isprintable()
            and not any(hint in folded for hint in _SECRET_HINTS)
            and self._redaction.hide(text) == text
        )

    def _field(self, key: object, value: object, depth: int) -> object:
        if _names_secret(key):
            return redaction.HIDDEN
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
        text = text[: MAX_TEXT + redaction.MAX_SECRET]
        if not text.isprintable():
            text = text.encode("utf-8", "replace").decode().translate(_UNSAFE)
        # Keys come first: a form ends at the first character that tokens do not have.
        text = self._redaction.hide(text)
        text = _SECRET.sub(_keep_group, text)
        return text if length <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({length} characters)"


@functools.lru_cache(maxsize=512)  # keys that a foreigner chose are among them
def _names_secret(key: object) -> bool:
    return str(key).lower().replace("-", "_") in SECRET_FIELDS


def _keep_group(match: re.Match[str]) -> str:
    kept = match[match.lastgroup] if match.lastgroup else ""
    return f"{kept}{redaction.HIDDEN}"


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


def _report_gap(lines: int) -> None:
    # An error, for at that level too there are lines to be dropped.
    structlog.get_logger(component="diagnostics").error("diagnostics_dropped", lines=lines)


def _redirect(descriptor: int) -> lineoutput.LineOutput:
    global _output
    if _output.descriptor != descriptor:
        _output.flush(FLUSH_S)
        _output = lineoutput.LineOutput(descriptor, _report_gap)
    return _output


_library_log = structlog.get_logger(component="library")

_output = lineoutput.LineOutput(STDERR, _report_gap)
"""The one way of this process to its standard error: what two write is not in order."""

os.register_at_fork(after_in_child=lambda: _output.begin_in_child())


class _StdlibHandler(logging.Handler):
    """Brings warnings and errors of the standard library's loggers, asyncio's first of all."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record, with the name of its logger."""
        level = logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING
        try:
            _library_log.log(
                level,
                "library_message",
                library=record.name,
                text=record.getMessage(),
                exc_info=record.exc_info,
            )
        except Exception:  # logging's contract: a handler reports, it does not raise
            self.handleError(record)
