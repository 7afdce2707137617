"""Whatever is damaged in a log that was closed, it is found and located, and never called less.

Invariant: a replay of it ends with 2; never with 0, as if nothing were wrong, and never with 1, as
if the code had changed.
"""

import argparse
import contextlib
import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.log.read import segments
from machines import events
from machines.stream import machine as stream
from server.cli import readback
from tests.simulator import disk
from tests.support.logs import damage, logs
from tests.support.process import serving

pytestmark = pytest.mark.slow

MUTATIONS = 2000

KINDS = damage.damages()


def write_log(directory: Path) -> None:
    """A log of several segments with streams that interleave, full and masked, closed."""
    clock = logs.Clock()
    for run, content in enumerate(("full", "masked", "full")):
        event_log = logs.open_log(directory, clock, content=content, segment_bytes=2500)
        running = []
        for number in range(5):
            opened = logs.opened(stop=("##",) if number % 2 else ())
            written, machine = event_log.stream(f"st_{run}{number}"), stream.Stream(opened)
            written.open(opened)
            running.append((written, machine))
        for count in range(4):
            for written, machine in running:
                event = events.TextDelta(f"word {count} #")
                written.append(event, machine.step(event))
            event_log.flush()
        for written, machine in running:
            for last in (events.TurnFinished("stop"), events.TokensCounted(None)):
                if not machine.ended:
                    written.append(last, machine.step(last))
            terminal = events.Terminal(
                kind="completed",
                emission_trigger=machine.emission_trigger,
                status=200,
                finish_reasons=("stop",),
            )
            written.close(terminal, "done")
            event_log.flush()
        clock.advance(60)
        event_log.close()


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A log in memory, for disks are slow."""
    with disk.temporary_directory() as path:
        write_log(path)
        yield path


def replayed(directory: Path) -> tuple[int, str]:
    """The exit status of `turntape replay`, and what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = readback.replay_command(argparse.Namespace(path=directory, request=None))
    return status, out.getvalue()


def test_what_is_not_damaged_is_the_same(directory: Path) -> None:
    status, said = replayed(directory)
    assert status == 0, said
    assert said.startswith("15 streams, ")
    assert len(segments.list_segments(directory)) > 5


def test_there_are_many_kinds() -> None:
    assert len(KINDS) >= 20


@pytest.mark.long
def test_every_damage_is_found_and_located(directory: Path) -> None:
    before = damage.read_files(directory)
    names = sorted(KINDS)
    for seed in range(MUTATIONS):
        rng = random.Random(seed)
        kind = names[seed % len(names)]
        files = dict(before)
        while files == before:
            KINDS[kind](rng, files)
        damage.write_files(directory, files, before)
        try:
            status, said = replayed(directory)
            assert status == readback.CORRUPT, (kind, seed, said)
            located(directory, files, kind)
        finally:
            damage.write_files(directory, before, files)


def located(directory: Path, files: damage.Files, kind: str) -> None:
    """Every problem is in a file of the log, at a line, at a byte."""
    reading = segments.read(directory)
    for _ in reading:
        pass
    assert reading.counts["corrupt"], kind
    for problem in reading.problems:
        assert problem.path.parent == directory
        data = files.get(problem.path.name, b"")
        assert 0 <= problem.offset <= len(data)
        assert 1 <= problem.line <= data.count(b"\n") + 2


@pytest.mark.parametrize(
    "kind",
    [
        "last segment: a stream gone",
        "two segments swapped",
        "chain: cut at a line's end",
        "a file deleted",
        "segment: emptied",
    ],
)
def test_the_command_finds_it_too(directory: Path, kind: str) -> None:
    before = damage.read_files(directory)
    files = dict(before)
    while files == before:
        KINDS[kind](random.Random(7), files)
    damage.write_files(directory, files, before)
    try:
        done = serving.command("replay", str(directory))
    finally:
        damage.write_files(directory, before, files)
    assert done.returncode == 2, done.stdout
    assert done.stdout.splitlines()[-1].startswith("corrupt: ")
