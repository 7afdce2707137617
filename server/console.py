"""Lines of the diagnostics as a person at a terminal reads them: short, and folded between fields.

A JSON line is for programs and says everything; on a terminal the same line would run over three
rows, broken in the middle of a word, with half of its head the same on each line.
"""

import re
from collections.abc import Iterator
from typing import Final

import structlog
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter, LogLevelColumnFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

COLUMNS: Final = 100
"""Columns that a line fits; a single field without a space may be longer, to be copied whole."""

INDENT: Final = " " * 4
"""Leads the rows of a line after its first."""

UNKNOWN: Final = "-"
"""Stands for one of several that is not known, such as the finish reason of one choice of two."""

_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_CLOCK: Final = slice(len("2026-11-30T"), len("2026-11-30T08:26:19.990"))
_RESET: Final = "\x1b[0m"
_BOLD: Final = "\x1b[1m"
_DIM: Final = "\x1b[2m"
_CYAN: Final = "\x1b[36m"


def renderer(*, coloured: bool) -> Processor:
    """Make the processor that ends in a console line: text, without the last line feed."""
    render = _layout(coloured)

    def render_folded(logger: WrappedLogger, method: str, event: EventDict) -> str:
        return _fold(str(render(logger, method, _shorten(event))))

    return render_folded


def _layout(coloured: bool) -> ConsoleRenderer:
    reset, bold, dim, cyan = (_RESET, _BOLD, _DIM, _CYAN) if coloured else ("",) * 4
    levels = ConsoleRenderer.get_default_level_styles(coloured)
    columns = [
        Column("", KeyValueColumnFormatter(cyan, "", reset, _readable)),
        Column("timestamp", KeyValueColumnFormatter(None, dim, reset, str)),
        Column("level", LogLevelColumnFormatter(levels, reset)),
        Column("event", KeyValueColumnFormatter(None, bold, reset, str)),
        Column("logger", KeyValueColumnFormatter(None, dim, reset, str, prefix="[", postfix="]")),
    ]
    return ConsoleRenderer(
        columns=columns, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
    )


def _shorten(event: EventDict) -> EventDict:
    """Take what tells a reader nothing, the day and fields without a value; put the id last."""
    event["level"] = event.pop("severity")
    event["logger"] = event.pop("component")
    event["timestamp"] = f"{event['timestamp'][_CLOCK]}Z"
    event["req_id"] = event.pop("req_id", None)
    return {name: value for name, value in event.items() if value is not None}


def _readable(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(UNKNOWN if one is None else _readable(one) for one in value)
    if isinstance(value, str):
        is_word = value.isprintable() and " " not in value
        return value if value and is_word else repr(value)
    return str(value)


def _fold(line: str) -> str:
    """Break a line between its words where it would pass the edge, but no traceback behind it."""
    first, feed, rest = line.partition("\n")
    return "\n".join(_rows(first)) + feed + rest


def _rows(line: str) -> Iterator[str]:
    row, width = "", 0
    for word in line.split(" "):
        seen = len(_STYLE.sub("", word))
        if row and width + 1 + seen > COLUMNS:
            yield row.rstrip()
            row, width = INDENT + word, len(INDENT) + seen
        elif row:
            row, width = f"{row} {word}", width + 1 + seen
        else:
            row, width = word, seen
    yield row.rstrip()
