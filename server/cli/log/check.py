"""`turntape check`: a log, or one stream of it, runs through today's code; what differs is grouped
by cause."""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from engine import regular
from engine.log.check import causes, check, children, ranges
from server.cli import parser as parsers, printing
from server.cli.log import commands, lookups, selecting, terminal
from server.process import exits
from server.renderers import reply

SHOWN_MOST: Final = 20
"""Causes that are told to people; with `--json` all are."""

JOBS_MOST: Final = 64
"""Processes at the most: each has an interpreter of its own, some 60 MiB."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "what",
        nargs="?",
        metavar="ID|PATH",
        help="one stream, by any of its names; or a log's directory or file; the whole log",
    )
    commands.add_path(parser)
    parser.add_argument(
        "--jobs",
        type=parsers.whole(0, JOBS_MOST),
        default=1,
        metavar="N",
        help="processes that check a log's segments at the same time; 0: one a core (1)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(options: argparse.Namespace) -> int:
    """`turntape check [ID] [--log PATH]`, and `turntape check PATH`."""
    began = time.monotonic()
    name, path = _target(options)
    try:
        result = _of_stream(path, name) if name else _of_log(path, options.jobs)
    except regular.NotRegular as error:
        printing.say(f"{error.filename}: corrupt: {error.strerror}")
        return exits.USAGE
    except children.ChildDied as error:
        printing.complain(str(error))
        return exits.FAILED
    if options.json:
        printing.say(msgspec.json.encode(_object(result, path, time.monotonic() - began)).decode())
    else:
        printing.say_each(_lines(result, time.monotonic() - began))
    if result.corrupt:
        return exits.USAGE
    return exits.FAILED if result.groups else exits.CLEAN


def _target(options: argparse.Namespace) -> tuple[str | None, Path]:
    """The stream that is meant, if one is, and the log; a word that is a path is no id."""
    what = options.what
    if what is None or options.log is not None:
        return what, commands.path_of(options.log)
    if Path(what).exists() or os.sep in what:
        return None, Path(what)
    return what, commands.path_of(None)


def _of_stream(path: Path, name: str) -> check.Result:
    story = selecting.read(path, name)
    result = check.check_records(story.records, reply)
    corrupt = sum(each.kind == "corrupt" for each in story.problems)
    groups = [] if corrupt else result.groups
    return check.Result(result.tally, groups, list(story.problems), corrupt)


def _of_log(path: Path, jobs: int) -> check.Result:
    progress, total = terminal.Progress("checking"), ranges.size(path)
    processes = jobs or min(os.cpu_count() or 1, JOBS_MOST)
    done = 0

    def tell(read: int) -> None:
        nonlocal done
        done += read
        progress(min(done, total - 1), total)

    try:
        return check.check(path, reply, processes, tell)
    finally:
        progress(total, total)


def _lines(result: check.Result, seconds: float) -> Iterator[str]:
    tally = result.tally
    yield from map(str, result.problems)
    if result.corrupt:
        places = printing.counted(result.corrupt, "place")
        yield f"corrupt: {places}; what differs may be the damage, and is not told"
    for group in result.groups[:SHOWN_MOST]:
        yield from _group(group)
    if len(result.groups) > SHOWN_MOST:
        yield f"and {len(result.groups) - SHOWN_MOST} more causes: --json tells all"
    masked = tally.streams - tally.full
    # A stream that differs before its end is not replayed to it.
    left_early = sum(each.count for each in result.groups if each.cause.event != "terminal")
    streams = printing.counted(tally.streams + left_early, "stream")
    compared = f"{streams}, {tally.records} records in {seconds:.1f} s"
    if result.groups:
        yield f"diverged: {result.diverged} of {compared}"
    elif tally.compared:
        yield f"{compared}: same steps; bytes of {tally.full} compared, {masked} masked"
    else:
        yield "nothing to compare"
    if tally.defects:
        yield f"{tally.defects} that a bug of the server ended: compared up to there"
    left = {
        "without an end": tally.unfinished,
        "without a beginning": tally.skipped,
        "written by a later version": tally.later,
        "purged": tally.purged,
    }
    if any(left.values()):
        yield "not compared: " + ", ".join(f"{many} {why}" for why, many in left.items() if many)


def _group(group: causes.Group) -> Iterator[str]:
    cause, example = group.cause, group.example
    yield f"{printing.counted(group.count, 'stream')}: {cause.event} in state {cause.state}"
    yield f"    recorded  {cause.recorded}"
    yield f"    replayed  {cause.replayed}"
    yield f"    first     {lookups.time_of(group.first_us)}"
    if group.count > 1:
        yield f"    last      {lookups.time_of(group.last_us)}"
    request = f", request {example.request_id}" if example.request_id else ""
    yield f"    see       turntape show {example.stream}{request}"
    yield f"    at        {example.where}"


def _object(result: check.Result, path: Path, seconds: float) -> dict[str, Any]:
    return {
        "log": str(path),
        "diverged": result.diverged,
        "corrupt": result.corrupt,
        **msgspec.to_builtins(result.tally),
        "seconds": round(seconds, 3),
        "causes": [
            {
                "count": group.count,
                **msgspec.to_builtins(group.cause),
                "first_us": group.first_us,
                "last_us": group.last_us,
                "example": {
                    "stream": group.example.stream,
                    "request_id": group.example.request_id,
                    "where": group.example.where,
                    "rows": msgspec.to_builtins(group.example.rows),
                },
            }
            for group in result.groups
        ],
        "problems": [
            {
                "kind": each.kind,
                "path": str(each.path),
                "line": each.line,
                "offset": each.offset,
                "reason": each.reason,
                "stream": each.stream,
            }
            for each in result.problems
        ],
    }
