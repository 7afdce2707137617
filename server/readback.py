"""`turntape replay` and `turntape inspect`: a log, read back for people."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec

from engine import replay, segments
from machines import events
from server.renderers import renderer

SAME, DIVERGED, CORRUPT = 0, 1, 2
"""Exit statuses of `replay`; a log that is damaged is never said to have diverged."""


def replay_command(options: argparse.Namespace) -> int:
    """`turntape replay PATH [--request ID]`."""
    reading = segments.read(options.path)
    run = replay.Replay(renderer, options.request)
    try:
        run.run(reading)
    except msgspec.ValidationError as error:
        _print([f"not a log of this version: {error}"])
        return CORRUPT
    corrupt = [problem for problem in reading.problems if problem.kind == "corrupt"]
    for problem in reading.problems:
        _print([str(problem)])
    if run.divergence is not None and not corrupt:
        _print(_divergence(run.divergence))
        return DIVERGED
    tally = run.tally
    masked = tally.streams - tally.full
    counted = f"{tally.streams} streams, {tally.records} records: same steps"
    _print([f"{counted}; {tally.full} with the same bytes, {masked} masked"])
    if tally.unfinished or tally.skipped:
        _print([f"{tally.unfinished} without an end, {tally.skipped} without a beginning"])
    if corrupt:
        _print([f"corrupt: {reading.problem_count} problems"])
        return CORRUPT
    if options.request is not None and not tally.streams:
        _print([f"no finished stream of {options.request}"])
        return DIVERGED
    return SAME


def inspect_command(options: argparse.Namespace) -> int:
    """`turntape inspect PATH [--request ID]`."""
    reading = segments.read(options.path)
    if options.request is None:
        _print(_streams(reading))
    else:
        _print(_steps(reading, options.request))
    for problem in reading.problems:
        _print([str(problem)])
    return CORRUPT if any(problem.kind == "corrupt" for problem in reading.problems) else SAME


def _divergence(divergence: replay.Divergence) -> Iterator[str]:
    yield f"diverged: stream {divergence.stream}, request {divergence.request_id}"
    yield f"at {divergence.where}"
    rows = divergence.rows
    width = max(len(row.recorded) for row in rows)
    yield f"{'seq':>6}  {'event':<16}  {'recorded':<{width}}  replayed"
    for row in rows:
        mark = " " if row.recorded == row.replayed else "!"
        yield f"{row.seq:>6}{mark} {row.event:<16}  {row.recorded:<{width}}  {row.replayed}"


def _streams(reading: Iterable[segments.Record]) -> Iterator[str]:
    yield (
        f"{'stream':<28}  {'opened':<26}  {'request':<28}  {'model':<16}  "
        f"{'kind':<14}  {'finish':<10}  {'ttft ms':>8}  {'ms':>9}  {'frames':>6}"
    )
    opened: dict[str, tuple[segments.Record, events.Opened]] = {}
    for record in reading:
        if record.event not in ("opened", "terminal"):
            continue
        event = record.load()
        if isinstance(event, events.Opened):
            opened[record.stream] = record, event
        elif isinstance(event, events.Terminal) and record.stream in opened:
            yield _stream_line(*opened.pop(record.stream), event)
    for first, event in opened.values():
        yield _stream_line(first, event, None)


def _stream_line(
    first: segments.Record, opened: events.Opened, terminal: events.Terminal | None
) -> str:
    when = _time(first.t)
    start = f"{first.stream:<28}  {when}  {opened.request_id:<28}  {opened.model:<16}"
    if terminal is None:
        return f"{start}  open"
    finish = ",".join(reason or "-" for reason in terminal.finish_reasons) or "-"
    ttft = "-" if terminal.ttft_us is None else f"{terminal.ttft_us / 1000:.1f}"
    return (
        f"{start}  {terminal.kind:<14}  {finish:<10}  {ttft:>8}  "
        f"{terminal.duration_us / 1000:>9.1f}  {terminal.frames:>6}"
    )


def _steps(reading: Iterable[segments.Record], request: str) -> Iterator[str]:
    streams: dict[str, int] = {}
    for record in reading:
        if record.event == "opened":
            event = record.load()
            assert isinstance(event, events.Opened)
            if request in (record.stream, event.request_id):
                streams[record.stream] = record.t
                yield f"stream {record.stream}, request {event.request_id}, {_time(record.t)}"
                yield f"{'seq':>6}  {'ms':>10}  {'event':<16}  {'state':<14}  out"
        if record.stream in streams:
            since = (record.t - streams[record.stream]) / 1000
            out = " ".join(record.out)
            yield (
                f"{record.seq:>6}  {since:>10.3f}  {record.event:<16}  {record.state:<14}  {out}"
            )


def _time(microseconds: int) -> str:
    moment = datetime.fromtimestamp(microseconds / 1e6, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")[:26]


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
