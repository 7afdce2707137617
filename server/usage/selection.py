"""The summaries that a request asks for: read off the event loop, chosen on it in slices."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import structlog

from engine import slices
from engine.log.find import witnesses
from engine.log.read import segments
from engine.log.summary import reading, rows, settings as summarysettings, summarylog
from server.http.errors import ApiError
from server.usage import query, routes

SETTLE_S: Final = 1.0
"""How long is waited for what has ended just now to be summarized; a disk may stall for longer."""

_log = structlog.get_logger(component="usage")


class Selection:
    """The summaries of a query.

    Args:
        key: name of the one key whose requests may be seen; None: all.

    Attributes:
        damaged: lines that were not as they were written.
        short: files that lack lines, or that are missing themselves.
    """

    def __init__(
        self, summaries: summarylog.SummaryLog, asked: query.Query, key: str | None
    ) -> None:
        self.damaged = self.short = 0
        self._summaries = summaries
        self._asked = asked
        self._key = key
        self._failures = 0
        self._is_settled = False
        self._seen = reading.BEGINNING

    @property
    def is_complete(self) -> bool:
        """Whether every request is there that had ended when this was asked, and that the log or
        a summary has; what is read of it tells more."""
        is_well = self._summaries.state is summarysettings.SummaryState.WORKING
        is_well = is_well and not self.lacks_lines
        return self._is_settled and is_well and self._failures == self._summaries.counts.failures

    @property
    def reads_log(self) -> bool:
        """Whether the log is read for the rows that are held."""
        return self._key is not None

    @property
    def lacks_lines(self) -> bool:
        """Whether lines were found to be damaged, or missing, in what was read by now."""
        return bool(self.damaged or self.short)

    async def settle(self) -> None:
        """Wait until what has ended by now is summarized, for a while."""
        self._failures = self._summaries.counts.failures
        settled = asyncio.wrap_future(self._summaries.settled())
        done, _ = await asyncio.wait({settled}, timeout=SETTLE_S)
        self._is_settled = bool(done) and settled.exception() is None

    async def blocks(self) -> AsyncIterator[list[rows.Summary]]:
        """Read the summaries, in the order of the log and some hundreds at a time.

        Raises:
            ApiError: `usage_unavailable`.
        """
        asked = self._asked
        span = reading.Span(self._summaries.through, asked.after, asked.start, asked.end)
        try:
            reader = await asyncio.to_thread(
                reading.SummaryReader, self._summaries.directory, span
            )
            with contextlib.closing(reader):
                while (lines := await asyncio.to_thread(reader.block)) is not None:
                    self.short = reader.short
                    yield await self._choose(reader.segment, lines)
            self.short = reader.short
        except OSError as error:
            _log.error("usage_not_read", error=str(error))
            raise ApiError("usage_unavailable", "The usage cannot be read.") from None

    async def held(self, chosen: list[rows.Summary] | None) -> list[rows.Summary] | None:
        """Return rows without those that the records of the log contradict, as damaged ones: a
        summary that lies about its key must not show a request to another's. Whoever sees all
        gets all.

        Raises:
            ApiError: `usage_unavailable`.
        """
        if self._key is None or not chosen:
            return chosen
        try:
            wrong = await asyncio.to_thread(_contradicted, self._summaries.directory, chosen)
        except OSError as error:
            _log.error("usage_not_read", error=str(error))
            raise ApiError("usage_unavailable", "The usage cannot be read.") from None
        self.damaged += len(wrong)
        return [row for row in chosen if row.at not in wrong]

    async def _choose(self, segment: int, lines: list[bytes]) -> list[rows.Summary]:
        own = slices.Slice()
        chosen = []
        for line in lines:
            row = rows.read(line)
            if row is None:
                # Who goes on behind it was told before: to be cut off again makes a line too.
                is_new = self._seen >= self._asked.after
                self.damaged += is_new and not line.startswith((b'{"sidecar":', b'{"sealed":'))
            elif row.at[0] == segment and row.at > self._seen:  # else it stands there twice
                self._seen = row.at
                if row.at > self._asked.after and self._is_asked_for(row):
                    chosen.append(row)
            if own.spent:
                await own.pause()
        return chosen

    def _is_asked_for(self, row: rows.Summary) -> bool:
        asked = self._asked
        if row.t < asked.start or (asked.end is not None and row.t >= asked.end):
            return False
        if self._key is not None and row.key != self._key:
            return False
        return all(_value(row, name) in values for name, values in asked.only.items())


def _contradicted(directory: Path, chosen: list[rows.Summary]) -> set[reading.Place]:
    """Return the places of the rows that are not what their records say."""
    present = {each.number: each for each in segments.list_segments(directory)}
    return {row.at for row in witnesses.wrong(chosen, present)}


def _value(row: rows.Summary, name: str) -> str:
    """Return what a filter looks at."""
    match name:
        case "route":
            return routes.route_of(row)
        case "code":
            return row.code or ""
        case _:
            value: str = getattr(row, name)
            return value
