"""The reads of a busy pipe gather; those of a quiet one, and of a flood, do not wait."""

import asyncio

import pytest

from engine.codex.child import coalescer
from tests.support.machines import virtualtime

LINE = b"x" * 200 + b"\n"


class Pipe:
    """Says when it was read, in seconds of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.paused_at: float | None = None
        self.pauses: list[float] = []

    def pause_reading(self) -> None:
        assert self.paused_at is None
        self.paused_at = self._loop.time()

    def resume_reading(self) -> None:
        assert self.paused_at is not None
        self.pauses.append(self._loop.time() - self.paused_at)
        self.paused_at = None


async def read(lines_a_second: int, seconds: float, read_bytes: int) -> Pipe:
    """A pipe whose writer keeps a pace, read by a reader that takes what there is."""
    loop = asyncio.get_running_loop()
    pipe = Pipe(loop)
    busy = coalescer.ReadCoalescer(loop, pipe)
    lines = max(1, read_bytes // len(LINE))
    began, read = loop.time(), 0
    while loop.time() - began < seconds:
        await asyncio.sleep(lines / lines_a_second)
        written = int((loop.time() - began) * lines_a_second)
        if pipe.paused_at is None and written > read:
            busy.on_read(LINE * (written - read))
            read = written
    return pipe


@pytest.mark.parametrize(
    ("lines_a_second", "read_bytes", "waits"),
    [(1_000, 0, False), (20_000, 0, True), (200_000, 64 << 10, False)],
    ids=["quiet", "busy", "flood"],
)
def test_only_small_reads_of_a_busy_pipe_wait(
    lines_a_second: int, read_bytes: int, waits: bool
) -> None:
    pipe = virtualtime.run(read(lines_a_second, 0.5, read_bytes))
    assert bool(pipe.pauses) is waits
    assert all(pause < 0.0015 for pause in pipe.pauses)


async def pauses_once_calm() -> int:
    loop = asyncio.get_running_loop()
    pipe = Pipe(loop)
    busy = coalescer.ReadCoalescer(loop, pipe)
    for _ in range(50):
        await asyncio.sleep(2 * coalescer.PAUSE_S)
        busy.on_read(LINE * 20)
    assert len(pipe.pauses) > 10
    await asyncio.sleep(coalescer.WINDOW_S)
    pipe.pauses.clear()
    for _ in range(5):
        busy.on_read(LINE)
        await asyncio.sleep(coalescer.WINDOW_S)
    return len(pipe.pauses)


def test_a_pipe_that_calms_down_is_read_at_once_again() -> None:
    assert virtualtime.run(pauses_once_calm()) == 0
