"""Checks of the event log: who writes it, can it be read, and which failures came last.

All of it is read beside a running server, which is not disturbed: a lock is not tried, for a
server that starts in that moment would not get it, but looked up in the kernel's list.
"""

import os
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from engine import regular
from engine.log.cold import files, reading
from engine.log.format import sealed
from engine.log.read import manifest, segments
from engine.log.summary import holding
from engine.log.write import lock as writerlock
from server import assembly
from server.cli.checks.findings import Finding, fail, ok, size, span, warn
from server.config import settings

TAIL_BYTES: Final = 4 << 20
"""How much of the newest segments is looked through: 25,000 records, in a tenth of a second."""

SEGMENTS: Final = 64
"""Most segments that are looked through, where a server was restarted again and again."""

FAILURES: Final = 3
"""How many of the newest failures are shown."""

RECENT_S: Final = 86_400
"""Age of a failure, in seconds, from which on it is no warning any more."""

FAILED: Final = ("upstream_error", "timeout", "worker_lost", "defect")
"""Kinds of terminal records that are no client's doing."""

LOCKS: Final = Path("/proc/locks")
"""The kernel's list of locks, on Linux."""


class Tail(NamedTuple):
    """The end of a segment.

    Attributes:
        lines: whole ones.
        broken: how many of them are not as they were written.
        torn: bytes behind the last whole line.
        damage: what keeps it from being read; empty where nothing does.
    """

    lines: list[bytes]
    broken: int
    torn: int
    damage: str = ""


class _Ended(msgspec.Struct):
    """The members of records that say how something ended."""

    stream: str
    t: int
    event: str
    request_id: str = ""
    kind: str = ""
    status: int = 0
    code: str | None = None


_RECORDS: Final = msgspec.json.Decoder(_Ended)
_SHOWN: Final = (b'"event":"opened"', b'"event":"terminal"', b'"event":"request_rejected"')


def check(config: settings.Config) -> Iterator[Finding]:
    """Look at the log's files, then at what went wrong last."""
    directory = config.log_dir
    if config.event_log == "off":
        yield ok("log", "off, by PROXY_EVENT_LOG")
        return
    if not directory.is_dir():
        yield ok("log", "nothing written yet")
        return
    try:
        known, found = segments.examine(directory)
        tails = [read_tail(each.path) for each in _newest(found)]
    except OSError as error:
        path = error.filename or directory
        advice = "Its files must be files, of the server's user."
        yield fail("log", f"{path}: {error.strerror}", advice)
        return
    owner = holder(directory / writerlock.LOCK)
    yield _written(config, found, owner)
    yield _whole(directory, known, found, tails, owner)
    yield from _held(config, known, found)
    yield from _failures(directory, [line for tail in tails for line in tail.lines])


def _newest(found: list[segments.SegmentInfo]) -> list[segments.SegmentInfo]:
    """The newest segments that have `TAIL_BYTES` together: each start begins one."""
    chosen: list[segments.SegmentInfo] = []
    for each in reversed(found[-SEGMENTS:]):
        chosen.insert(0, each)
        if sum(one.size for one in chosen) >= TAIL_BYTES:
            break
    return chosen


def holder(path: Path) -> int | None:
    """Return the process that has a lock; None where none has, or where it cannot be told."""
    try:
        found = path.lstat()
        locks = LOCKS.read_text()
    except OSError:
        return None
    for line in locks.splitlines():
        # Its columns: number, kind, mode, access, process, major:minor:inode, first, last byte.
        columns = line.replace("-> ", "").split()
        if len(columns) > 5 and columns[1] == "FLOCK":
            place = columns[5].split(":")
            if len(place) != 3:  # `<none>:0`, of a file that has no name any more
                continue
            major, minor, inode = place
            device = os.makedev(int(major, 16), int(minor, 16))
            # Some file systems have another device in the list than in a file's status.
            is_ours = device == found.st_dev or columns[4] == _noted(path)
            if int(inode) == found.st_ino and is_ours:
                return int(columns[4])
    return None


def _noted(path: Path) -> str:
    """Return the process that the lock's file names."""
    try:
        with regular.reader(path) as file:
            return file.read(20).decode(errors="replace").strip()
    except OSError:
        return ""


def read_tail(path: Path) -> Tail:
    """Read the end of a segment, which may be written meanwhile.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    with files.open_segment(path) as file:
        try:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            data = file.read(TAIL_BYTES)
        except reading.Damaged as error:
            return Tail([], 0, 0, f"{path}: {error.strerror}")
    whole, _, rest = data.rpartition(b"\n")
    lines = [line + b"\n" for line in whole.split(b"\n")] if whole else []
    if start:
        del lines[:1]  # its beginning was not read
    return Tail(lines, sum(not sealed.is_sealed(line) for line in lines), len(rest))


def _written(
    config: settings.Config, found: list[segments.SegmentInfo], owner: int | None
) -> Finding:
    held = sum(each.size for each in found)
    most = size(config.log_max_bytes) if config.log_max_bytes else "no limit"
    by = f"process {owner} writes" if owner else "nobody writes"
    return ok("log", f"{size(held)} of {most} in {len(found)} segments, {by}")


def _held(
    config: settings.Config, known: manifest.Manifest, found: list[segments.SegmentInfo]
) -> Iterator[Finding]:
    """How far back the log goes, and how far it will: the limits alone do not say it."""
    figures = {} if known.chain is None else known.chain.holds
    now_us = time.time_ns() // 1000
    held = holding.look(config.log_dir, found, figures, now_us)
    if held is None:
        return
    limits = assembly.log_settings(config).limits
    said = f"{held.streams} streams of {span(held.span_s(now_us))}"
    if held.compressed:
        was = size(held.compressed_content_bytes)
        said += f", {held.compressed} segments compressed from {was}"
    horizon = held.horizon(limits)
    if horizon is not None:
        said += f"; holds {span(horizon.seconds)} at this rate, by {horizon.by}"
    yield ok("held", said)


def _whole(
    directory: Path,
    known: manifest.Manifest,
    found: list[segments.SegmentInfo],
    tails: list[Tail],
    owner: int | None,
) -> Finding:
    replay = f"`turntape replay {directory}` says what is damaged, and what is not."
    if known.problems:
        more = f" (and {len(known.problems) - 1} more)" if len(known.problems) > 1 else ""
        return fail("records", f"{known.problems[0]}{more}", replay)
    if not found:
        return ok("records", "none")
    newest, tail = found[-1], tails[-1]
    if damage := next((each.damage for each in tails if each.damage), ""):
        return fail("records", damage, replay)
    if broken := sum(each.broken for each in tails):
        count = f"{broken} of the last {sum(len(each.lines) for each in tails)} lines"
        return fail("records", f"{count} are not as written", replay)
    if known.noted:
        return warn("records", f"an earlier start found damage: {known.noted[0]}", replay)
    if owner is None and not known.closed:
        torn = ", and tore a line" if tail.torn else ""
        advice = "The next start closes its streams, and says so: `event_log_streams_closed`."
        return warn("records", f"its last server was killed{torn}", advice)
    synced = known.synced(newest.number)
    marked = f"the last sync mark at {size(synced)} of {size(newest.size)}"
    return ok("records", f"{newest.path.name} can be read, {marked}")


def _failures(directory: Path, lines: list[bytes]) -> Iterator[Finding]:
    newest: deque[_Ended] = deque(maxlen=FAILURES)
    requests: dict[str, str] = {}
    for line in lines:
        if not any(mark in line for mark in _SHOWN) or not sealed.is_sealed(line):
            continue
        try:
            record = _RECORDS.decode(line)
        except msgspec.DecodeError:
            continue
        if record.event == "opened":
            requests[record.stream] = record.request_id
            continue
        if record.event == "terminal":
            record.request_id = requests.pop(record.stream, record.stream)
        if _is_failure(record):
            newest.append(record)
    if not newest:
        yield ok("failures", "none in the newest records")
    now = datetime.now(UTC).timestamp()
    for record in reversed(newest):
        kind = record.kind or "refused"
        found = f"{_time(record.t)}  {record.request_id}  {kind}  {record.code or record.status}"
        if now - record.t / 1e6 > RECENT_S:
            yield ok("failure", found)
        else:
            asked = f"turntape inspect {directory} --request {record.request_id}"
            advice = f"`{asked}` has its steps."
            yield warn("failure", found, advice)


def _is_failure(record: _Ended) -> bool:
    """Whether it was no client's doing: by its kind, or as a refusal that names no fault."""
    if record.kind in FAILED:
        return True
    refused = record.event == "request_rejected" or record.kind == "rejected"
    return refused and (record.status >= 500 or record.status == 429)


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
