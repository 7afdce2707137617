"""`turntape purge`: erases streams from a log, and the responses that were kept of them."""

import argparse
import asyncio
import datetime
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import structlog

from engine import regular
from engine.log.derive import choosing, purging, segmentfile
from engine.log.find import catalog, query
from engine.log.write import lock as writerlock
from engine.store import sqlite as sqlitestore, store as responsestore
from server import assembly
from server.cli import printing
from server.cli.log import commands, selecting
from server.keys import keyring
from server.process import exits

_log = structlog.get_logger(component="event_log")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="a stream: any of its ids")
    parser.add_argument("--key", metavar="NAME", help="all streams of this key")
    parser.add_argument(
        "--before",
        metavar="TIME",
        help="all that ended before then: 14:05, 2026-01-31T14:05, 2026-01-31, or 30d ago; with"
        " --key all of these",
    )
    parser.add_argument("--utc", action="store_true", help="--before is of UTC, not local time")
    commands.add_path(parser)
    parser.add_argument(
        "--forget-key",
        action="store_true",
        help="the name of their key too: what they cost is counted to none",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be erased")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--keep-responses",
        action="store_true",
        help="leave the responses that were kept of the streams in the store",
    )


def run(options: argparse.Namespace) -> int:
    """`turntape purge ID…`, or `--key NAME`, `--before TIME`, or both.

    Raises:
        QueryError: the time cannot be read.
        OSError: the log is not there, or cannot be read.
    """
    log = commands.path_of(options.log)
    if not options.ids and options.key is None and options.before is None:
        printing.complain("name what is to be erased: the ids of streams, --key, --before or both")
        return exits.USAGE
    if options.ids and (options.key is not None or options.before is not None):
        printing.complain("give the ids of streams alone, or --key, --before or both")
        return exits.USAGE
    if not stat.S_ISDIR(log.stat().st_mode):
        printing.complain(f"{log}: is no log's directory; one file can be deleted as it is")
        return exits.USAGE
    try:
        chosen = _choose(log, options)
        return _purge(log, chosen, options)
    except segmentfile.Damaged as error:
        printing.complain(
            str(error),
            "A damaged segment is not written anew.",
            f"`turntape check {log}` says all that is wrong with it.",
        )
        return exits.USAGE
    except regular.NotRegular as error:
        printing.complain(
            f"{error.filename}: {error.strerror}",
            "Nobody knows what of the streams is behind it. Take it away, and purge again.",
        )
        return exits.FAILED


def _choose(log: Path, options: argparse.Namespace) -> choosing.Chosen:
    if options.ids:
        return choosing.of_stories(selecting.to_erase(log, options.ids))
    if options.before is None:
        return choosing.of_key(log, options.key)
    before = choosing.before(log, _time(log, options))
    return (
        before if options.key is None else choosing.both(choosing.of_key(log, options.key), before)
    )


def _time(log: Path, options: argparse.Namespace) -> int:
    """Microseconds since the epoch of a time. `turntape log` reads it likewise, but for how long
    ago: that is reckoned from now, since what is purged every night must go from the log of an
    idle server too.

    Raises:
        QueryError: it is none.
    """
    if query.is_duration(options.before):
        reckoned_us = time.time_ns() // 1000
    else:
        found = catalog.Catalog(log)
        reckoned_us = found.newest_us() or max((row.t for row in found.ended_rows()), default=0)
    moment = query.Moment(reckoned_us, datetime.UTC if options.utc else None)
    return query.time_us(options.before, moment, f"--before {options.before}")


def _purge(log: Path, chosen: choosing.Chosen, options: argparse.Namespace) -> int:
    server = _server(log)
    planned = purging.plan(log, chosen.streams, is_written=server is not None)
    if not planned.streams:
        printing.complain(f"{log}: nothing to erase: {_none(options)}")
        return exits.NOT_FOUND
    going = planned.streams - planned.busy
    if planned.busy and (options.ids or not going):
        printing.complain(*_busy(planned.busy, server))
        return exits.FAILED
    printing.say(_described(planned))
    if options.dry_run:
        return exits.CLEAN
    if not options.yes and not sys.stdin.isatty():
        printing.complain("nothing was erased: give --yes, for nobody is there to be asked")
        return exits.USAGE
    if not options.yes and not _agreed():
        printing.complain("nothing was erased")
        return exits.FAILED
    kept = {} if options.keep_responses else dict(_kept(chosen, going))
    try:
        erased = _erase_responses(log, kept)
    except responsestore.StoreError as error:
        responses = printing.counted(len(kept), "response")
        printing.complain(
            f"nothing was erased: {responses} of them cannot be: {error}",
            "Stop the server, or give --keep-responses.",
        )
        return exits.FAILED
    done = _erase_records(log, going, erased, forgets_key=options.forget_key)
    if done is None:
        return exits.FAILED
    _log.warning(
        "streams_purged",
        path=str(log),
        count=len(done.streams),
        records=done.records,
        segments=len(done.segments),
        responses=erased,
    )
    responses = f"; {printing.counted(erased, 'kept response')}" if kept else ""
    printing.say(f"erased: {_counted(done)}{responses}")
    left = planned.busy | done.busy
    if left:
        printing.complain(*_busy(left, server))
    return exits.FAILED if left else exits.CLEAN


def _server(log: Path) -> writerlock.LogLocked | None:
    """Who writes to the log at the moment; None: nobody."""
    try:
        writerlock.refuse_if_written(log)
    except writerlock.LogLocked as error:
        return error
    return None


def _none(options: argparse.Namespace) -> str:
    """Why there is nothing."""
    if options.key is not None:
        earlier = "" if options.before is None else f" and ended before {options.before}"
        known = "`turntape stats --by key` names those it has"
        return f"no stream has the key {options.key}{earlier}; {known}"
    if options.before is not None:
        return f"no stream ended before {options.before}"
    return "they are erased already"


def _busy(streams: set[str], server: writerlock.LogLocked | None) -> tuple[str, str]:
    some = ", ".join(sorted(streams)[:3]) + (", …" if len(streams) > 3 else "")
    count = printing.counted(len(streams), "stream")
    owner = f" ({server.owner})" if server is not None else ""
    return (
        f"{count} not erased, {some}: in the segment that a server writes to{owner}",
        "Try again when it has begun another segment, or has stopped.",
    )


def _described(planned: purging.Purged) -> str:
    left = f"; {len(planned.busy)} more are still written to" if planned.busy else ""
    return f"to erase: {_counted(planned)}{left}"


def _counted(found: purging.Purged) -> str:
    streams, segments = len(found.streams - found.busy), len(found.segments)
    records = printing.counted(found.records, "record")
    counted = f"{printing.counted(streams, 'stream')}, {records}"
    where = printing.counted(segments, "segment")
    gone = printing.counted(found.rows, "row") if found.rows else ""
    return f"{counted} in {where}" + (f", and {gone} of segments that are gone" if gone else "")


def _agreed() -> bool:
    """Ask whether they shall be erased."""
    sys.stdout.write("Erase them? What is erased is gone. [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):  # Ctrl-D leaves the cursor behind the question
        sys.stdout.write("\n")
        sys.stdout.flush()
    return answer.strip().lower() in ("y", "yes")


def _kept(chosen: choosing.Chosen, going: set[str]) -> Iterator[tuple[str, str]]:
    """The responses that were kept of what goes, each with the name of its key: those of a stream
    that is left alone are left too."""
    for stream, kept in chosen.responses.items():
        if stream in going:
            yield kept


def _erase_responses(log: Path, kept: Mapping[str, str]) -> int:
    """Erase kept responses from the store beside the configured log; how many there were.

    Raises:
        StoreError: the store is another process's, or cannot be written.
    """
    if not kept:
        return 0
    config = commands.configured()
    if log.resolve() != config.log_dir.resolve():
        printing.complain(
            f"warning: responses of them may be left: {len(kept)} were kept, in a store that is"
            " not known",
            f"The configured one is of another log: {config.data_dir}; set PROXY_DATA_DIR.",
        )
        return 0
    store = config.data_dir / assembly.STORE_FILE
    return asyncio.run(_delete(store, kept)) if store.exists() else 0


def _erase_records(
    log: Path, going: set[str], responses: int, *, forgets_key: bool
) -> purging.Purged | None:
    """Erase streams from the log; None where a disk fails, and that was said.

    Args:
        responses: how many kept responses of them were erased before.

    Raises:
        LogLocked: another process erases streams there; its notes say what was erased here.
        Damaged: a segment is not what the log says.
    """
    now_us = time.time_ns() // 1000
    try:
        return purging.purge(log, going, now_us, _progress, forgets_key=forgets_key)
    except writerlock.LogLocked as error:
        if responses:
            what = printing.counted(responses, "kept response")
            was = "was" if responses == 1 else "were"
            error.add_note(f"Of them {what} {was} erased, and no records.")
        raise
    except OSError as error:
        printing.complain(
            f"{error.filename or log}: {error.strerror or error}",
            "Some of them may be erased: the same command erases the rest when that is mended.",
        )
        return None


async def _delete(path: Path, kept: Mapping[str, str]) -> int:
    store = sqlitestore.SqliteStore(path, responsestore.Limits(0, 0), time.time)
    await store.open()
    try:
        gone = [await store.delete(each, keyring.id_of(key)) for each, key in kept.items()]
    finally:
        await store.close()
    return sum(gone)


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {of} segments" + ("" if done < of else "\n"))
