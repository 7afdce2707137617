"""The first steps of a writer that comes to a log after another: it looks how that one was left.

A process may be killed between any two of its system calls, and none of what that leaves is
damage: a segment without its header, one that the chain does not know yet, a last line without
its end. All of it is brought to an end here. What is wrong beyond that stays as it is, is said,
and is noted in the chain.
"""

import contextlib
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from engine import regular
from engine.log.cold import compress, files
from engine.log.format import chain, sealed
from engine.log.read import drafts, manifest, segmentread, segments
from engine.log.summary import sidecars
from engine.log.write import chainlock, lock as writerlock
from machines import events

RECOVERY_TRIGGER: Final = "recovery"
"""`emission_trigger` of the terminal records that a start writes after a process was killed."""

_BLOCK: Final = 1 << 16

_log = structlog.get_logger(component="event_log")


class Recovery(msgspec.Struct, frozen=True):
    """The findings of a start, for those who ask.

    Attributes:
        later: how many streams and files a later version wrote.
    """

    torn_bytes_cut: int = 0
    open_streams: tuple[segments.OpenStream, ...] = ()
    problems: tuple[sealed.Problem, ...] = ()
    later: int = 0


def ending(left: segments.OpenStream) -> events.Terminal:
    """The last record of a stream whose process was killed."""
    return events.Terminal(
        kind="shutdown",
        emission_trigger=RECOVERY_TRIGGER,
        status=200 if left.answered else 0,
        duration_us=left.last_us - left.opened_us,
    )


def report(found: Recovery) -> None:
    """Write to the diagnostics what was found wrong."""
    if found.torn_bytes_cut:
        _log.warning("event_log_torn_tail_cut", bytes=found.torn_bytes_cut)
    corrupt = [problem for problem in found.problems if problem.kind == "corrupt"]
    if corrupt:
        _log.error("event_log_corrupt", problems=len(corrupt), first=str(corrupt[0]))
    later = [problem for problem in found.problems if problem.kind == "later"]
    if later:
        _log.warning("event_log_later_version", count=found.later, first=str(later[0]))


class Found(msgspec.Struct, frozen=True):
    """The findings of a start, for the writer that goes on.

    Attributes:
        newest: number of the newest segment; 0 where there is none.
        oldest: of the oldest that is there; 0 where there is none.
        closings: what the segments hold that the chain does not know yet, oldest first.
        damage: what is newly found to be wrong.
    """

    recovery: Recovery
    known: manifest.Manifest
    newest: int = 0
    oldest: int = 0
    closings: tuple[chain.Closed, ...] = ()
    damage: chain.Damaged | None = None

    @property
    def before(self) -> tuple[int, chain.Figures] | None:
        """Number of the newest segment, and what it held when it was closed, if that is known."""
        if self.closings and self.closings[-1].segment == self.newest:
            return self.newest, chain.figures(self.closings[-1])
        held = self.known.held(self.newest)
        return None if held is None else (self.newest, held)


def _never() -> bool:
    return False


class Stopped(Exception):
    """Raised where nobody waits any more for what is found."""


def recover(directory: Path, is_stopped: Callable[[], bool] = _never) -> Found:
    """Cut a torn tail, and find what was left open.

    Reads on from the checkpoint: every stream that began earlier was over by then.

    Raises:
        Stopped: `is_stopped` said so, which is asked before each record.
        NotRegular: something else is in the place of a file.
        OSError: the directory cannot be read, or the tail not be cut.
    """
    for each in segments.list_segments(directory):
        if not stat.S_ISREG(each.path.lstat().st_mode):
            raise regular.NotRegular(each.path)
    with contextlib.suppress(writerlock.LogLocked), chainlock.alone(directory):
        finish_drafts(directory)
    known, present = segments.examine(directory)
    unclosed = [
        each for each in present if known.is_headed(each.number) and not known.holds(each.number)
    ]
    cut = _cut_tails(known, present)
    reading = segments.Reading(_recent(known, present, unclosed), known, pruned=True)
    ended: dict[Path, int] = {}
    for record in reading:
        if is_stopped():
            raise Stopped
        ended[record.path] = record.t
        if record.event in ("opened", "terminal"):  # of the many others only their order matters
            reading.load(record)
    closings = tuple(
        _closing(each, reading.measured[each.number], ended.get(each.path)) for each in unclosed
    )
    problems = tuple(each for each in reading.problems if each not in known.noted)
    newest = present[-1].number if present else known.newest
    if not newest:  # somebody deleted a log, and not what outlives it
        newest = max((each.number for each in sidecars.list_sidecars(directory)[0]), default=0)
    return Found(
        Recovery(cut, tuple(reading.open.values()), problems, reading.counts["later"]),
        known,
        newest,
        present[0].number if present else 0,
        closings,
        _damage(problems, known, newest),
    )


def finish_drafts(directory: Path) -> None:
    """Bring to an end what a process left that was killed while it rewrote segments: for the one
    that may do so (`chainlock.alone`).

    Raises:
        OSError: the directory cannot be read or written.
    """
    left = list(directory.glob(f"*{drafts.DRAFT}"))
    known = segments.examine(directory)[0] if left else manifest.NOTHING_KNOWN
    holds = {} if known.chain is None else known.chain.holds
    named = {segments.segment_name(number): figures for number, figures in holds.items()}
    for draft in left:
        if drafts.counts(draft, named.get(draft.stem)):
            put(draft, draft.with_suffix(""))
        else:
            draft.unlink()
    compress.clear(directory)  # the old form of one whose new form has got its name


def put(draft: Path, path: Path) -> None:
    """Give a draft the name of its segment, and delete that in whatever form it lay there.

    Raises:
        OSError: it has not got it, or not for sure.
    """
    draft.replace(path)
    path.with_name(f"{path.name}.gz").unlink(missing_ok=True)
    regular.sync_directory(path.parent)


def _recent(
    known: manifest.Manifest,
    present: list[segments.SegmentInfo],
    unclosed: list[segments.SegmentInfo],
) -> list[segments.SegmentInfo]:
    """The segments that a stream may have begun in that is still open."""
    first = 0 if known.checkpoint is None else known.checkpoint.first
    if present and first > present[-1].number + 1:  # it is of another log, which was taken away
        first = 0
    first = min([first, *(each.number for each in unclosed)])
    return [each for each in present if each.number >= first]


def _closing(
    segment: segments.SegmentInfo, found: chain.Figures, ended_us: int | None
) -> chain.Closed:
    ended = segment.modified_us if ended_us is None else ended_us
    return chain.Closed(segment.number, found.records, found.bytes, found.crc32, ended)


def _damage(
    problems: tuple[sealed.Problem, ...], known: manifest.Manifest, newest: int
) -> chain.Damaged | None:
    """What shall be noted, that was not before; None for nothing."""
    corrupt = [str(each) for each in problems if each.kind == "corrupt"]
    if not corrupt:
        return None
    damage = chain.Damaged(newest, len(corrupt), corrupt[0])
    if any(damage.reason == each.reason for each in known.noted):
        return None
    return damage


def _cut_tails(known: manifest.Manifest, present: list[segments.SegmentInfo]) -> int:
    """Shorten what was left in the middle of a write; the number of bytes that went."""
    cut = 0
    for each, following in itertools.zip_longest(present, present[1:]):
        if known.holds(each.number) is not None or each.is_compressed:
            continue  # nothing was appended to it when its writer was stopped
        if following is None:
            whole = _whole_bytes(each.path)
            if whole < known.synced(each.number):
                continue  # it was longer once: that is damage, and stays to be seen
        elif known.is_headed(each.number):
            header = segmentread.peek_header(following.path)
            if header is None or header.before is None:
                continue
            whole = header.before.bytes
        else:
            continue
        cut += _cut(each.path, whole)
    return cut


def _cut(path: Path, length: int) -> int:
    """Shorten a file to a length; the number of bytes that went."""
    size = path.lstat().st_size
    if size <= length:
        return 0
    fd = regular.open_regular(path, os.O_WRONLY)
    try:
        os.ftruncate(fd, length)
    finally:
        os.close(fd)
    return size - length


def _whole_bytes(path: Path) -> int:
    """Bytes of a file up to its last line feed."""
    with files.open_segment(path) as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0
