"""Lines for standard error: in order, never waited for, and what is lost of them is counted."""

import contextlib
import fcntl
import os
import resource
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import lineoutput

LONG_S = 20.0
"""Longer than anything here takes on a busy machine."""


class Pipe:
    """A pipe, and the output that writes to it."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.gaps: list[int] = []
        self.output = lineoutput.LineOutput(self.writing, self._gap)

    def _gap(self, lines: int) -> None:
        self.gaps.append(lines)
        self.output.write(f"gap {lines}")

    def read(self, lines: int) -> list[str]:
        """So many lines, or some more, as soon as they come."""
        found = b""
        while found.count(b"\n") < lines or not found.endswith(b"\n"):
            assert select.select((self.reading,), (), (), LONG_S)[0], "nothing comes"
            found += os.read(self.reading, 1 << 20)
        return found.decode().splitlines()

    def reopen(self) -> None:
        """Have the same descriptor lead to a pipe that is read."""
        self.reading, writing = os.pipe()
        os.dup2(writing, self.writing)
        os.close(writing)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    for descriptor in (made.reading, made.writing):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def test_lines_come_whole_and_in_order(pipe: Pipe) -> None:
    lines = [f"line {number} {'é' * (number % 50)}" for number in range(5000)]
    for line in lines:
        pipe.output.write(line if len(line) % 2 else line.encode())
    assert pipe.read(len(lines)) == lines
    assert pipe.output.flush(LONG_S)
    assert (pipe.output.dropped, pipe.gaps) == (0, [])


def test_who_has_a_line_does_not_wait_for_a_reader(pipe: Pipe) -> None:
    line = "x" * 999
    count = 2 * lineoutput.MAX_WAITING // 1000
    for number in range(count):
        pipe.output.write(f"{number:010} {line}")
    assert 0 < pipe.output.dropped < count
    assert not pipe.output.flush(0.01)
    numbers: list[int] = []
    while len(numbers) + sum(pipe.gaps) < count:
        read = pipe.read(1)
        numbers += [int(each[:10]) for each in read if each.endswith(line)]
    assert numbers == sorted(set(numbers))
    assert sum(pipe.gaps) == pipe.output.dropped
    pipe.output.write("the next")
    while pipe.read(1)[-1] != "the next":  # the line about the last gap may come first
        pass


def test_what_cannot_be_written_is_counted_and_told_once_it_can(pipe: Pipe) -> None:
    os.close(pipe.reading)
    pipe.output.write("nobody")
    assert pipe.output.flush(LONG_S)
    pipe.output.write("nobody either")
    assert pipe.output.flush(LONG_S)
    assert (pipe.output.dropped, pipe.gaps) == (2, [])
    pipe.reopen()
    pipe.output.write("somebody")
    assert pipe.read(2) == ["somebody", "gap 2"]
    assert pipe.output.dropped == 2


def test_a_line_that_was_cut_off_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("wb") as file:
        output = lineoutput.LineOutput(file.fileno(), lambda _: None)
        output.write("first")
        assert output.flush(LONG_S)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9, limits[1]))
        try:
            output.write("second")
            assert output.flush(LONG_S)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        output.write("third")
        assert output.flush(LONG_S)
    assert path.read_text() == "first\nsec\nthird\n"
    assert output.dropped == 1


def test_a_descriptor_that_somebody_made_nonblocking_is_waited_for(pipe: Pipe) -> None:
    flags = fcntl.fcntl(pipe.writing, fcntl.F_GETFL)
    fcntl.fcntl(pipe.writing, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    lines = [f"{number} {'x' * 1000}" for number in range(500)]
    for line in lines:
        pipe.output.write(line)
    assert not pipe.output.flush(0.01)
    assert pipe.read(len(lines)) == lines
    assert pipe.output.dropped == 0


@pytest.mark.parametrize("descriptor", ["/dev/full", "closed"])
def test_a_descriptor_that_takes_nothing_fails_nobody(descriptor: str) -> None:
    taken = os.open("/dev/full", os.O_WRONLY)
    if descriptor == "closed":
        os.close(taken)
    output = lineoutput.LineOutput(taken, lambda _: None)
    output.write("lost")
    assert output.flush(LONG_S)
    assert output.dropped == 1
    if descriptor == "/dev/full":
        os.close(taken)


def test_who_is_told_of_a_gap_may_fail(pipe: Pipe) -> None:
    def fail(_: int) -> None:
        raise RuntimeError("planted")

    output = lineoutput.LineOutput(pipe.writing, fail)
    os.close(pipe.reading)
    output.write("nobody")
    assert output.flush(LONG_S)
    pipe.reopen()
    for line in ("somebody", "somebody else"):
        output.write(line)
        assert pipe.read(1) == [line]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from 3.12 on: it is the point
def test_a_child_has_a_thread_and_lines_of_its_own(pipe: Pipe) -> None:
    pipe.output.write("of the parent")
    assert pipe.read(1) == ["of the parent"]
    child = os.fork()
    if child == 0:
        pipe.output.begin_in_child()
        pipe.output.write("of the child")
        os._exit(0 if pipe.output.flush(LONG_S) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pipe.read(1) == ["of the child"]


def test_a_line_may_come_within_a_line(pipe: Pipe) -> None:
    """A signal handler, or a finalizer in a collection, may have one while another is taken."""
    handled: list[int] = []

    def handle(*_: Any) -> None:
        handled.append(1)
        pipe.output.write("from the handler")

    before = signal.signal(signal.SIGUSR1, handle)
    reader = threading.Thread(target=lambda: [None for _ in iter(lambda: len(_read()), 0)])

    def _read() -> bytes:
        return os.read(pipe.reading, 1 << 20)

    reader.start()
    try:
        for number in range(2000):
            if number % 10 == 0:
                signal.raise_signal(signal.SIGUSR1)
            pipe.output.write("from the loop")
        assert pipe.output.flush(LONG_S)
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.close(pipe.writing)
        reader.join()
    assert len(handled) == 200
    assert pipe.output.dropped == 0
