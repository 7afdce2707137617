"""Takes streams out of a log, into a file that is a log by itself.

The records are those of the log, in its order; what is theirs by their place is new: `seg`, the
checksums, the header. The header says what follows it and which segments that was taken from, so
that of the file alone it can be seen whether it is whole. It is counted as the first line of the
file: the first record has `seg` 1, and where the header is gone the count shows it.
"""

import itertools
import re
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from engine.log.derive import masking
from engine.log.find import stories
from engine.log.format import chain, exports, sealed
from engine.log.read import manifest, segmentread, segments
from engine.log.summary import rows
from engine.log.write import livesegment
from machines import events

Content = exports.Content

FIRST_SEG: Final = 1
"""The place of the first record: the header has the one before."""

_PLACE: Final = re.compile(rb'(\{"stream":"(?:[^"\\]|\\.)*","seq":)\d+,"seg":\d+,"t":')
"""The members of a record that its place gives it, and those before."""

_NUMBERED: Final = re.compile(r"events-(\d{8,})\.jsonl")


class Unexportable(ValueError):
    """Raised for a stream that cannot be taken out as it was asked.

    Args:
        reason: why.
        advice: what to do instead: its note.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.add_note(advice)


def names_segment(name: str) -> bool:
    """Whether a file of this name would be taken for a segment of a log."""
    return _NUMBERED.match(name) is not None


def export(
    found: Sequence[stories.Story], log: Path, content: Content, now_us: int
) -> list[bytes]:
    """Return the lines of a file with these streams.

    Args:
        found: the streams, each once.
        log: where they were found.
        now_us: microseconds since the epoch.

    Raises:
        Unexportable: a stream is not whole, or cannot be masked.
    """
    for story in found:
        _refuse_holes(story)
    records = sorted(
        itertools.chain.from_iterable(story.records for story in found),
        key=lambda record: (str(record.path), record.offset),
    )
    masked = masking.Masking() if content == "masked" else None
    pending = [_pending(record, masked) for record in records]
    lines = livesegment.numbered(pending, FIRST_SEG)
    sources = _sources(log, dict.fromkeys(record.path for record in records))
    return [_header(lines, sources, content, now_us), *lines]


def _refuse_holes(story: stories.Story) -> None:
    """Refuse a stream of which records are missing: sealed anew, it would look whole.

    Raises:
        Unexportable: they are.
    """
    left = f"`turntape show {story.stream}` says what is left of it."
    damaged = [problem for problem in story.problems if problem.stream == story.stream]
    if any(problem.kind == "later" for problem in damaged):
        raise Unexportable(
            f"{story.stream}: a later version wrote it, and this one cannot read all of it",
            "Take it out with that version.",
        )
    if damaged:
        raise Unexportable(f"{story.stream} is not whole: {damaged[0]}", left)
    is_life = story.stream.startswith(rows.LIFE_PREFIX)
    if story.records[-1].event not in stories.ENDS and not is_life:
        so_far = (
            f"`turntape show {story.stream}` says how far it is; take it out when it has ended."
        )
        raise Unexportable(f"{story.stream} has not ended, or its end is missing", so_far)
    if story.records[0].seq:
        gone = "that went with an old segment"
        raise Unexportable(f"{story.stream} has no beginning: {gone}", left)
    for due, record in enumerate(story.records):
        if record.seq != due:
            raise Unexportable(f"{story.stream} is not whole: record {due} is missing", left)


def _pending(record: segments.Record, masked: masking.Masking | None) -> livesegment.Pending:
    place = _PLACE.match(record.raw)
    if place is None:
        reason = f"{record.stream} is not spelled as a record: record {record.seq}"
        raise Unexportable(reason, "Only what a server of ours wrote can be taken out.")
    if masked is None:
        rest = record.raw[place.end() : -sealed.SEAL_BYTES]
    else:
        try:
            rest = b"%d,%b" % (record.t, masked.rest(record))
        except segments.LaterVersion as error:
            reason = f"a later version wrote it, and it cannot be masked: {error}"
            raise Unexportable(
                f"{record.stream}: {reason}",
                "Export it with that version, or with --no-mask for nobody else to read.",
            ) from None
    return place[1], record.seq, rest


def _header(
    lines: list[bytes], sources: tuple[exports.Source, ...], content: Content, now_us: int
) -> bytes:
    behind = b"".join(lines)
    figures = chain.measure(len(lines), behind)
    export = exports.Export(figures.records, figures.bytes, figures.crc32, content, sources)
    writer = secrets.token_hex(8)
    return chain.header_line(chain.Header(0, events.SCHEMA_VERSION, writer, now_us, export=export))


def _sources(log: Path, paths: Iterable[Path]) -> tuple[exports.Source, ...]:
    """Return what is known of the files that records were read from, in their order."""
    known = segments.examine(log)[0] if log.is_dir() else manifest.NOTHING_KNOWN
    found: list[exports.Source] = []
    for path in paths:
        header = segmentread.peek_header(path)
        if header is not None and header.export is not None:
            found += header.export.sources
            continue
        name = _NUMBERED.match(path.name)
        found.append(_source(int(name[1]) if name else 0, known))
    return tuple(dict.fromkeys(found))


def _source(number: int, known: manifest.Manifest) -> exports.Source:
    holds = known.holds(number)
    if holds is None or known.chain is None:
        return exports.Source(number)
    entry = known.chain.told.get(number)
    return exports.Source(number, holds.records, holds.bytes, holds.crc32, entry)
