"""Logs for tests whose closed segments are compressed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.log.cold import compress, files, members
from engine.log.format import chain
from engine.log.read import manifest
from tests.support.logs import logs

PART_BYTES = 1500
"""Content of a member where a test wants several of them."""


def small_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have members hold little, so that small segments have several."""
    monkeypatch.setattr(members, "CONTENT_BYTES", PART_BYTES)


def figures_of(directory: Path) -> dict[int, chain.Figures]:
    """What the chain says that the closed segments hold."""
    known = manifest.Manifest(directory, manifest.look(directory), headed=True)
    assert known.chain is not None
    return known.chain.holds


def compress_all(directory: Path) -> list[Path]:
    """Compress every segment of a log that was closed; where they are now."""
    for number, holds in figures_of(directory).items():
        compress.compress(directory, number, holds)
    return [each.path for each in files.list_segments(directory)]


def closed_log(directory: Path, streams: int = 12, segment_bytes: int = 4000) -> Path:
    """A log of several segments that was closed."""
    event_log = logs.open_log(directory, segment_bytes=segment_bytes, content="full")
    for number in range(streams):
        logs.play(event_log, f"st_{number}", "Hel", "lo, ", os.urandom(40).hex())
    event_log.close()
    return directory


def places(data: bytes) -> Iterator[tuple[int, members.Member]]:
    """The members of a compressed segment, and where each begins."""
    place = 0
    while place < len(data):
        member = members.parse_header(data[place : place + members.HEADER_BYTES])
        yield place, member
        place += member.size
