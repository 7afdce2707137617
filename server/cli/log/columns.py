"""A stream as a line of a list: the most telling columns, in the width that there is."""

import datetime
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from engine.log.find import query
from engine.log.summary import rows
from server.cli import printing
from server.cli.log.terminal import Line, Piece

HEADS: Final = ("ended", "kind", "code", "model", "ttft", "took", "id")
"""The columns, in their order."""

LEAST: Final = {"ended": 8, "kind": 14, "code": 8, "model": 12, "ttft": 6, "took": 7}
"""Columns of each before any gets more; a model has fewer where all are shorter."""

LEFT_OUT: Final = ("ttft", "took", "model", "code")
"""The columns that a narrow terminal does without, in this order."""

WIDENED: Final = ("code", "model")
"""The columns that get what room there is, in this order."""

TO_THE_RIGHT: Final = frozenset(("ttft", "took"))

STYLES: Final = {"completed": "green", "open": "cyan", "process": "cyan", "truncated": "yellow"}
"""How kinds are shown; any other is red."""


class Columns:
    """Lines of a list.

    Args:
        short: the shortest beginning of each id that is no other's.
        zone: of times; None: this machine's.
        width: columns that a line may have; None: as many as it needs.
    """

    def __init__(
        self, short: dict[str, str], zone: datetime.tzinfo | None, width: int | None
    ) -> None:
        self._short = short
        self._zone = zone
        self._width = width
        self._day = ""

    def lines(self, shown: list[rows.Summary]) -> Iterator[Line]:
        """Yield a head, and a line for each row; the day stands by itself when it changes."""
        widths = self._widths(shown)
        heads = dict(zip(HEADS, HEADS, strict=True))
        yield [Piece(text, "bold") for _, text in self._laid(heads, widths)]
        for row in shown:
            yield from self.line(row, widths)

    def line(self, row: rows.Summary, widths: dict[str, int] | None = None) -> Iterator[Line]:
        """Yield the line of a row, behind its day where that is another."""
        widths = widths or self._widths([row])
        day = self._moment(row.t).strftime("%Y-%m-%d %Z")
        if day != self._day:
            self._day = day
            yield [Piece(f"-- {day}", "dim")]
        styles = {"kind": STYLES.get(row.kind, "bold red"), "id": "bold"}
        laid = self._laid(self._cells(row), widths)
        yield [Piece(text, styles.get(name, "")) for name, text in laid]

    def _moment(self, microseconds: int) -> datetime.datetime:
        moment = datetime.datetime.fromtimestamp(microseconds / 1e6, datetime.UTC)
        return moment.astimezone(self._zone)

    def _cells(self, row: rows.Summary) -> dict[str, str]:
        cells = {
            "ended": f"{self._moment(row.t):%H:%M:%S}",
            "kind": row.kind,
            "code": detail_of(row),
            "model": row.model or row.route or row.worker,
            "ttft": duration(row.ttft_us),
            "took": duration(_took(row)),
            "id": self._short.get(row.summary, row.summary),
        }
        return {name: printing.printable(text) for name, text in cells.items()}

    def _widths(self, shown: Iterable[rows.Summary]) -> dict[str, int]:
        """How wide each column is, without those for which there is no room."""
        longest = dict.fromkeys(HEADS, 0)
        for row in shown:
            for name, text in self._cells(row).items():
                longest[name] = max(longest[name], printing.columns(text))
        longest["model"] = max(longest["model"], len("model"))
        wanted = {name: max(LEAST.get(name, 0), longest[name]) for name in HEADS}
        wanted["model"] = longest["model"]
        if self._width is None:
            return wanted
        widths = {name: min(wanted[name], LEAST.get(name, wanted[name])) for name in HEADS}
        for name in LEFT_OUT:
            if self._left(widths) < 0:
                del widths[name]
        for name in WIDENED:
            if name in widths:
                widths[name] += max(0, min(self._left(widths), wanted[name] - widths[name]))
        return widths

    def _left(self, widths: dict[str, int]) -> int:
        """How many columns of a line are left."""
        assert self._width is not None, "a line of any length"
        return self._width - sum(widths.values()) - (len(widths) - 1)

    def _laid(self, cells: dict[str, str], widths: dict[str, int]) -> Iterator[tuple[str, str]]:
        """The cells in their widths, with a blank behind each but the last."""
        for name, width in widths.items():
            if name == HEADS[-1]:
                yield name, cells[name]
            elif name in TO_THE_RIGHT:
                yield name, f"{cells[name]:>{width}} "
            else:
                yield name, f"{printing.padded(cells[name], width)} "


def detail_of(row: rows.Summary) -> str:
    """Return what is to be known beside the kind: that it was erased, the code, why a client left,
    how it finished."""
    if row.purged:
        left = detail_of(msgspec.structs.replace(row, purged=0))
        return f"purged {left}".rstrip()
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


def is_failed_first(row: rows.Summary) -> tuple[bool, int]:
    """The order of failures first, and of the newest first among them and among the others."""
    return not query.is_failed(row), -row.t
