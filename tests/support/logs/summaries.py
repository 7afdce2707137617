"""Summaries for tests: read back, and as the log itself says that they should be."""

import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from engine.log import event_log as eventlog
from engine.log.format import sealed
from engine.log.read import segments
from engine.log.summary import reading, rows, sidecars
from engine.log.summary.settings import SummarySettings
from machines import events
from tests.support.logs import logs
from tests.support.process import machinetime

KEPT: Final[dict[str, Any]] = {"summaries": SummarySettings()}
"""The setting of a log that has summaries."""


class Ended(NamedTuple):
    """An ended request, as far as log and summary both tell of it."""

    stream: str
    segment: int
    offset: int
    t: int
    request_id: str
    kind: str
    code: str | None
    status: int
    model: str
    key: str
    tokens: tuple[int, int] | None
    stands_for: int


def lines_of(directory: Path, **span: Any) -> list[bytes]:
    """The lines of the sidecars of a directory."""
    found: list[bytes] = []
    with reading.SummaryReader(directory, reading.Span(**{"through": 1 << 40, **span})) as reader:
        while (block := reader.block()) is not None:
            found += block
    return found


def rows_of(directory: Path, **span: Any) -> list[rows.Summary]:
    """The rows that can be read."""
    found = (rows.read(line) for line in lines_of(directory, **span))
    return [row for row in found if row is not None]


def told(directory: Path) -> list[Ended]:
    """What the summaries tell."""
    return [
        Ended(
            row.summary,
            *row.at,
            row.t,
            row.request_id,
            row.kind,
            row.code,
            row.status,
            row.model,
            row.key,
            _tokens(row.usage),
            row.count,
        )
        for row in rows_of(directory)
    ]


def wanted(directory: Path) -> list[Ended]:
    """What they should tell, by a pass over the log itself, which knows nothing of them."""
    found = []
    begun: dict[str, events.Opened] = {}
    for record in segments.read(directory):
        event = record.load()
        segment = int(record.path.stem.partition("-")[2])
        place = record.stream, segment, record.offset, record.t
        match event:
            case events.Opened():
                begun[record.stream] = event
            case events.Terminal(kind=kind, code=code, status=status, usage=usage):
                first = begun.pop(record.stream, None)
                names = ("", "", "") if first is None else _names(first)
                tokens = _tokens(usage)
                request_id, model, key = names
                found.append(Ended(*place, request_id, kind, code, status, model, key, tokens, 1))
            case events.RequestRejected():
                ids = event.request_id, "rejected", event.code, event.status
                found.append(Ended(*place, *ids, "", event.key, None, event.count))
    return found


def _tokens(usage: events.Usage | None) -> tuple[int, int] | None:
    return None if usage is None else (usage.prompt_tokens, usage.completion_tokens)


def _names(first: events.Opened) -> tuple[str, str, str]:
    return first.request_id, first.model, first.key


def settle(event_log: eventlog.EventLog) -> None:
    """Wait until a log has summarized all that it has on file."""
    assert event_log.summaries is not None
    event_log.summaries.settled().result(machinetime.HANG_S)


def stall(event_log: eventlog.EventLog) -> threading.Event:
    """Hold up the thread that writes summaries, as a disk would, until this is set."""
    assert event_log.summaries is not None
    free, holds = threading.Event(), threading.Event()

    def hold() -> None:
        holds.set()
        free.wait(machinetime.HANG_S)

    event_log.summaries._thread.submit(hold)
    assert holds.wait(machinetime.HANG_S)
    return free


def write(event_log: eventlog.EventLog, stream_id: str, **fields: Any) -> None:
    """A whole stream of some deltas with counts, flushed."""
    stream = event_log.stream(stream_id)
    stream.open(logs.opened(**fields))
    for _ in range(3):
        stream.append(*logs.content("hello"))
    usage = events.Usage(prompt_tokens=7, completion_tokens=len(stream_id))
    ended = events.Terminal(
        kind="completed", emission_trigger="turn_finished", status=200, usage=usage
    )
    stream.close(ended, "done")
    event_log.flush()


def reject(event_log: eventlog.EventLog, request_id: str, count: int = 1) -> None:
    """A request that was refused, flushed."""
    rejected = events.RequestRejected(
        request_id=request_id, code="not_found", status=404, method="GET", count=count
    )
    event_log.stream(f"rj_{request_id}").close(rejected, "rejected")
    event_log.flush()


def forge(directory: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Write the sidecars of a directory as somebody would who knows how checksums are made.

    Args:
        change: returns a row's members as they shall be; None: the row is left out.
    """
    for each in sidecars.list_sidecars(directory)[0]:
        head, *lines = each.path.read_bytes().splitlines(keepends=True)
        was = [msgspec.json.decode(line) for line in lines if line.startswith(rows.ROW)]
        now = [members for row in was if (members := change(dict(row))) is not None]
        for members in now:
            members.pop("crc")
        data = head + b"".join(sealed.seal(msgspec.json.encode(row)[:-1]) for row in now)
        last = sidecars.last_line(each.path)
        if last is not None:
            crc32 = f"{zlib.crc32(data):08x}"
            sealing = msgspec.structs.replace(last, rows=len(now), crc32=crc32)
            data += sealed.seal(msgspec.json.encode(sealing)[:-1])
        each.path.write_bytes(data)


def sealed_of(directory: Path) -> list[int]:
    """Numbers of the sidecars that nothing more comes to."""
    return [each.number for each in sidecars.list_sidecars(directory)[0] if each.is_sealed]
