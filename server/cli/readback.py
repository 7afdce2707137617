"""`turntape replay` and `turntape inspect`: a log, read back for people."""

import argparse
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from engine import regular
from engine.log import replay
from engine.log.read import segments
from machines import events
from server.cli import printing
from server.cli.log import divergences, listing
from server.process import exits
from server.renderers import reply

FIRST: Final = frozenset({"opened", "request_rejected"})
"""The first record of what a client asked for."""

LISTED: Final = FIRST | {"terminal"}
"""The records that a list of what clients asked for is made of."""

SAME, DIVERGED, CORRUPT = exits.CLEAN, exits.FAILED, exits.USAGE
"""Exit statuses. A log that is damaged is never said to have diverged, and one that a later
version wrote neither."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `replay`."""
    command.add_argument(
        "path", type=Path, metavar="PATH", help="a log's directory, or one file of it"
    )
    command.add_argument("--request", metavar="ID", help="one request or stream")


def run(options: argparse.Namespace) -> int:
    """`turntape replay`."""
    return replay_command(options)


def replay_command(options: argparse.Namespace) -> int:
    """`turntape replay PATH [--request ID]`."""
    reading = _read(options.path)
    if reading is None:
        return CORRUPT
    run = replay.Replay(reply, options.request)
    run.run(reading)
    corrupt = reading.counts["corrupt"]
    printing.say_each(map(str, reading.problems))
    if run.divergence is not None and not corrupt:
        printing.say_each(divergences.lines(run.divergence))
        return DIVERGED
    is_missing = options.request is not None and not run.tally.compared
    if not is_missing or corrupt or run.tally.unfinished or run.tally.later:
        printing.say_each(_summary(run.tally))
    if corrupt:
        printing.say(f"corrupt: {corrupt} problem{'s' if corrupt > 1 else ''}")
        return CORRUPT
    if is_missing:
        printing.complain(f"no finished stream is called {options.request}")
        # One that a later version wrote is there, and is not said to be the same.
        return exits.FAILED if run.tally.later else exits.NOT_FOUND
    return SAME


def inspect_command(options: argparse.Namespace) -> int:
    """`turntape inspect PATH [--request ID]`: the whole log is read, for what is wrong with it."""
    reading = _read(options.path)
    if reading is None:
        return CORRUPT
    status = SAME
    if options.request is None:
        status = listing.list_all(options.path)
        for record in reading:
            if record.event in LISTED:
                reading.load(record)
    else:
        steps = _steps(reading, options.request)
        first = next(steps, None)
        if first is None:
            status = exits.NOT_FOUND
            printing.complain(f"no stream is called {options.request}")
        else:
            printing.say_each(itertools.chain((first,), steps))
    printing.say_each(map(str, reading.problems))
    if reading.later:
        streams = printing.counted(len(reading.later), "stream")
        printing.say(f"{streams} of a later version")
    return CORRUPT if reading.counts["corrupt"] else status


def _read(path: Path) -> segments.Reading | None:
    """A reading of a log; None, and a line, where something else is in the place of its files."""
    try:
        return segments.read(path)
    except regular.NotRegular as error:
        printing.say(f"{error.filename}: corrupt: {error.strerror}")
        return None


def _summary(tally: replay.Tally) -> Iterator[str]:
    masked = tally.streams - tally.full
    streams = printing.counted(tally.streams, "stream")
    records = printing.counted(tally.records, "record")
    yield f"{streams}, {records}: same steps; {tally.full} with the same bytes, {masked} masked"
    if tally.defects:
        yield f"{tally.defects} that a bug of the server ended: same steps up to there"
    if tally.unfinished or tally.skipped:
        yield f"{tally.unfinished} without an end, {tally.skipped} without a beginning"
    if tally.purged:
        yield f"{tally.purged} purged: nothing of them is left to compare"
    if tally.later:
        yield f"{tally.later} written by a later version: not compared"


def _steps(reading: segments.Reading, request: str) -> Iterator[str]:
    streams: dict[str, int] = {}
    for record in reading:
        event = reading.load(record) if record.event in FIRST or record.stream in streams else None
        if isinstance(event, events.RequestRejected):
            if request in (record.stream, event.request_id):
                yield from _rejection(record, event)
        elif isinstance(event, events.Opened) and request in (record.stream, event.request_id):
            streams[record.stream] = record.t
            yield f"stream {record.stream}, request {event.request_id}, {_time(record.t)}"
            yield f"{'seq':>6}  {'ms':>10}  {'event':<16}  {'state':<14}  out"
        if record.stream in streams and event is not None:
            since = (record.t - streams[record.stream]) / 1000
            states = " > ".join(record.states) or record.state
            out = " ".join(record.out)
            yield f"{record.seq:>6}  {since:>10.3f}  {record.event:<16}  {states:<14}  {out}"


def _asked(event: events.RequestRejected) -> str:
    return f"{event.method} {event.route or event.path}".strip()


def _rejection(record: segments.Record, event: events.RequestRejected) -> Iterator[str]:
    yield f"request {event.request_id}, {_time(record.t)}: refused with {event.status}"
    fields = {
        "code": event.code,
        "message": event.message,
        "param": event.param,
        "asked": _asked(event),
        "client": event.client,
        "times": event.count if event.count > 1 else None,
    }
    for name, value in fields.items():
        if value:
            yield f"  {name:<8}  {value}"


def _time(microseconds: int) -> str:
    moment = datetime.fromtimestamp(microseconds / 1e6, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")[:26]
