"""A stream as a line of a list: the most telling columns, in the width that there is."""

import datetime
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from engine.log.find import query
from engine.log.summary import rows
from server.cli import printing
from server.cli.log.terminal import Line, Piece

FIXED: Final = 8 + 1 + 14 + 1 + 1 + 1 + 6 + 1 + 7 + 1
"""Columns of time, kind, TTFT and duration, and the blanks between all."""

MODEL_LEAST: Final = 12
"""Columns that a model's name has before a code gets more than `CODE_LEAST`."""

CODE_LEAST: Final = 8

STYLES: Final = {"completed": "green", "open": "cyan", "process": "cyan", "truncated": "yellow"}
"""How kinds are shown; any other is red."""


class Widths(NamedTuple):
    """Columns of what is as wide as it has to be."""

    code: int
    model: int
    id: int


class Columns:
    """Lines of a list.

    Args:
        short: the shortest beginning of each id that is no other's.
        zone: of times; None: this machine's.
        width: columns that a line may have.
    """

    def __init__(self, short: dict[str, str], zone: datetime.tzinfo | None, width: int) -> None:
        self._short = short
        self._zone = zone
        self._width = width
        self._day = ""

    def lines(self, shown: list[rows.Summary]) -> Iterator[Line]:
        """Yield a head, and a line for each row; the day stands by itself when it changes."""
        widths = self._widths(shown)
        yield [
            Piece(f"{'ended':<8} {'kind':<14} {fit('code', widths.code)} ", "bold"),
            Piece(f"{fit('model', widths.model)} {'ttft':>6} {'took':>7} id", "bold"),
        ]
        for row in shown:
            yield from self.line(row, widths)

    def line(self, row: rows.Summary, widths: Widths | None = None) -> Iterator[Line]:
        """Yield the line of a row, behind its day where that is another."""
        widths = widths or self._widths([row])
        moment = self._moment(row.t)
        day = moment.strftime("%Y-%m-%d %Z")
        if day != self._day:
            self._day = day
            yield [Piece(f"-- {day}", "dim")]
        yield [
            Piece(f"{moment:%H:%M:%S} "),
            Piece(f"{row.kind:<14} ", STYLES.get(row.kind, "bold red")),
            Piece(f"{fit(detail_of(row), widths.code)} "),
            Piece(f"{fit(row.model or row.route or row.worker, widths.model)} "),
            Piece(f"{duration(row.ttft_us):>6} {duration(_took(row)):>7} "),
            Piece(self._short.get(row.summary, row.summary), "bold"),
        ]

    def _moment(self, microseconds: int) -> datetime.datetime:
        moment = datetime.datetime.fromtimestamp(microseconds / 1e6, datetime.UTC)
        return moment.astimezone(self._zone)

    def _widths(self, shown: Iterable[rows.Summary]) -> Widths:
        shown = list(shown)
        longest = max((len(self._short.get(r.summary, r.summary)) for r in shown), default=2)
        left = max(self._width - FIXED - longest, CODE_LEAST + MODEL_LEAST)
        code = max([_width(detail_of(row)) for row in shown] + [CODE_LEAST])
        model = max([_width(row.model or row.route or row.worker) for row in shown] + [5])
        code = min(code, left - min(model, MODEL_LEAST))
        return Widths(code, min(model, left - code), longest)


def detail_of(row: rows.Summary) -> str:
    """Return what is to be known beside the kind: the code, why a client left, how it finished."""
    if row.code:
        return row.code if row.count == 1 else f"{row.code} x{row.count}"
    if row.cause:
        return row.cause
    finishes = [reason for reason in row.finish_reasons if reason not in (None, "stop")]
    return ",".join(map(str, finishes))


def _took(row: rows.Summary) -> int | None:
    return None if row.is_refusal or row.is_life else row.duration_us


def duration(microseconds: int | None) -> str:
    """Return a duration in at most six characters; `-` for None."""
    if microseconds is None:
        return "-"
    seconds = microseconds / 1e6
    if seconds < 0.9995:
        return f"{microseconds / 1000:.0f}ms"
    if seconds < 100:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes}m{rest:02}s"
    hours, rest = divmod(minutes, 60)
    return f"{hours}h{rest:02}m" if hours < 100 else f"{hours // 24}d"


def _width(text: str) -> int:
    return printing.columns(printing.printable(text))


def fit(text: str, columns: int) -> str:
    """The text in so many columns, cut where it is longer."""
    shown = printing.fit(text, columns)
    return shown + " " * (columns - printing.columns(shown))


def is_failed_first(row: rows.Summary) -> tuple[bool, int]:
    """The order of failures first, and of the newest first among them and among the others."""
    return not query.is_failed(row), -row.t
