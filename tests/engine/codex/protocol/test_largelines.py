"""Long lines are taken apart from the read that brought them, each stream in its own order."""

import asyncio
import json
from typing import Any

import pytest

from engine.codex.protocol import largelines
from tests.support.machines import virtualtime

BIG = "x" * (largelines.LARGE_BYTES + 1)


def line(thread: str, text: str, thread_first: bool = True, **more: Any) -> bytes:
    """A line about a thread, whose id stands before its text or behind it."""
    place = {"threadId": thread, **more}
    body = {"item": {"text": text}}
    params = {**place, **body} if thread_first else {**body, **place}
    return json.dumps(
        {"method": "item/completed", "params": params}, separators=(",", ":")
    ).encode()


class Taker:
    """Takes lines, and remembers them by thread and length."""

    def __init__(self, *threads: str) -> None:
        self.taken: list[tuple[str | None, int]] = []
        self.refused: list[str] = []
        self.lines = largelines.LargeLines(self._take, threads, self.refused.append)

    def _take(self, line: bytes) -> None:
        self.taken.append((largelines.thread_of(line), len(line)))

    def read(self, *lines: bytes) -> None:
        """One read: what is not diverted is taken at once."""
        for each in self.lines.divert(list(lines)):
            self._take(each)

    @property
    def threads(self) -> list[str | None]:
        return [thread for thread, _ in self.taken]


@pytest.mark.parametrize("first", [True, False])
def test_a_lines_thread_is_found_at_either_end(first: bool) -> None:
    inside = '"threadId":"other","params":{"threadId":"other"}'
    assert largelines.thread_of(line("th", inside, first)) == "th"
    assert largelines.thread_of(line("th", BIG, first)) == "th"
    assert largelines.thread_of(b'{"id":1,"result":{}}') is None


def test_short_lines_of_other_threads_do_not_wait() -> None:
    async def scene() -> None:
        taker = Taker("a", "b")
        taker.read(line("a", BIG), line("a", "1"), line("b", "2"), line("a", "3"))
        assert taker.threads == ["b"]
        taker.read(line("b", "4"), line("a", "5"))
        assert taker.threads == ["b", "b"]
        for _ in range(9):
            await asyncio.sleep(0)
        assert taker.threads == ["b", "b", "a", "a", "a", "a"]
        assert [size for _, size in taker.taken[2:]] == sorted(
            (size for _, size in taker.taken[2:]), reverse=True
        )
        assert not taker.lines.waiting
        taker.read(line("a", "6"))
        assert taker.threads[-1] == "a"

    virtualtime.run(scene())


def test_a_round_of_the_loop_takes_one_line_of_a_thread() -> None:
    async def scene() -> None:
        taker = Taker("a", "b")
        taker.read(line("a", BIG), line("a", BIG), line("b", BIG))
        assert taker.threads == []
        await asyncio.sleep(0)
        assert taker.threads == ["a", "b"]
        await asyncio.sleep(0)
        assert taker.threads == ["a", "b", "a"]

    virtualtime.run(scene())


def test_lines_that_no_turn_wants_are_not_taken() -> None:
    async def scene() -> None:
        taker = Taker("a")
        taker.read(line("gone", BIG), line("a", BIG, turnId="auto-compact-0"))
        taker.read(line("a", "1"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert taker.taken == [("a", len(line("a", "1")))]

    virtualtime.run(scene())


def test_a_reply_of_any_length_is_taken() -> None:
    async def scene() -> None:
        taker = Taker()
        taker.read(json.dumps({"id": 1, "result": BIG}).encode())
        await asyncio.sleep(0)
        assert taker.threads == [None]

    virtualtime.run(scene())


def test_a_line_over_the_limit_costs_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        taker = Taker("a", "b")
        taker.read(line("a", BIG), line("b", BIG[:-100]))
        for _ in range(3):
            await asyncio.sleep(0)
        assert (taker.refused, taker.threads) == (["a"], ["b"])

    monkeypatch.setattr(largelines, "EVENT_BYTES", len(line("a", BIG)) - 1)
    virtualtime.run(scene())


def test_when_nothing_more_comes_everything_is_taken_at_once() -> None:
    async def scene() -> None:
        taker = Taker("a", "b")
        taker.read(line("a", BIG), line("a", "1"), line("b", BIG))
        taker.lines.finish()
        assert taker.threads == ["a", "a", "b"]
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(taker.taken) == 3

    virtualtime.run(scene())
