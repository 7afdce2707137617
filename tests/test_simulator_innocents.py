"""What the simulator compares of innocents: bytes but for chance, times but for the design."""

import contextlib
from collections.abc import Iterator
from typing import Any, Final
from unittest import mock

import pytest

from engine.codex.protocol import channel
from engine.stream import wakeups
from tests.simulator import answers, clock, draw, innocence, plan, run

SEEDS: Final = 40


def drawn(of: str) -> list[plan.Plan]:
    return [draw.plan_of(seed, of) for seed in range(SEEDS)]


@pytest.mark.parametrize("of", plan.WORLDS)
def test_every_run_has_innocents_of_every_kind(of: str) -> None:
    plans = drawn(of)
    assert all(each.innocents for each in plans)
    asks = [visit.asks[0] for each in plans for _, visit in each.innocents]
    assert {ask.api for ask in asks} == {"chat", "responses"}
    assert {ask.stream for ask in asks} == {True, False}
    assert {ask.n for ask in asks} >= {1, 2}
    assert {bool(ask.tools) for ask in asks} == {True, False}
    assert {each.weather.tick > 0 for each in plans} == {True, False}


def test_what_is_left_out_of_a_plan_leaves_its_innocents_as_they_are() -> None:
    whole = draw.plan_of(3, "codex")
    (number, visit), *_ = whole.innocents
    part = whole.only({0, number})
    assert part.innocents == ((number, visit),)
    assert part.steps == whole.steps[:1]
    assert whole.alone().steps == ()


class Visited:
    """A client that got these bytes, each piece at its time."""

    def __init__(self, *pieces: tuple[float, bytes]) -> None:
        self.wire: Any = mock.NonCallableMock(arrivals=[], received=bytearray())
        for when, piece in pieces:
            self.wire.received += piece
            self.wire.arrivals.append((when, len(self.wire.received)))
        self.answers = answers.read(bytes(self.wire.received), ended=True)

    def heard(self, _: int) -> answers.Heard:
        return answers.Heard([])


def streamed(*chunks: bytes) -> list[bytes]:
    """A stream's head, each of its chunks, and its end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    framed = (b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return [head + b"date: now\r\nx-turntape-stream: st_%b\r\n\r\n" % (b"a" * 24), *framed]


def seen_of(*pieces: tuple[float, bytes]) -> innocence.Seen:
    visited: Any = Visited(*pieces)
    seen = innocence.seen(visited)
    assert seen is not None
    return seen


def test_a_frame_came_when_its_last_byte_did() -> None:
    head, first, second = streamed(b"data: 1\n\ndata: 2\n", b"\ndata: 3\n\n")
    seen = seen_of((0.1, head), (0.2, first), (0.3, second + b"0\r\n\r\n"))
    assert seen.frames[""] == [(b"data: 1", 0.2), (b"data: 2", 0.3), (b"data: 3", 0.3)]


def test_ids_and_times_of_day_are_made_the_same_and_nothing_else_is() -> None:
    def normal(number: int, text: bytes) -> innocence.Seen:
        made = b"%024x" % number
        frame = b'data: {"id":"chatcmpl-%b","created":%d,"t":"%b"}\n\n' % (made, number, text)
        head, chunk = streamed(frame)
        return seen_of((0.1, head), (0.1, chunk + b"0\r\n\r\n"))

    assert normal(1, b"text").frames == normal(2, b"text").frames
    assert normal(1, b"text").head == normal(2, b"text").head
    assert normal(1, b"text").frames != normal(1, b"texts").frames
    one, other = (b"chatcmpl-%024x" % number for number in (7, 8))
    assert normal(1, one + one).frames == normal(1, other + other).frames
    assert normal(1, one + one).frames != normal(1, one + other).frames


def test_frames_of_choices_may_interleave_in_any_way() -> None:
    one, other = (b'data: {"choices":[{"index":%d}]}\n\n' % index for index in range(2))
    head, chunk = streamed(one + other + one)
    seen = seen_of((0.1, head), (0.1, chunk + b"0\r\n\r\n"))
    assert {group: len(frames) for group, frames in seen.frames.items()} == {"0": 2, "1": 1}


def test_heartbeats_are_counted_and_not_compared() -> None:
    head, chunk = streamed(b": keepalive\n\ndata: 1\n\n: keepalive\n\n")
    seen = seen_of((0.1, head), (0.1, chunk + b"0\r\n\r\n"))
    assert seen.heartbeats == 2
    assert [frame for frame, _ in seen.frames[""]] == [b"data: 1"]


@contextlib.contextmanager
def rest_of_a_read_lost() -> Iterator[None]:
    """A turn that ends takes the lines along that came behind its last one."""
    original = channel.Channel._take_lines

    def instead(its: Any, lines: list[bytes]) -> None:
        bad = [at for at, line in enumerate(lines) if b'"turn/completed"' in line]
        original(its, lines[: bad[0] + 1] if bad else lines)

    with mock.patch.object(channel.Channel, "_take_lines", instead):
        yield


@contextlib.contextmanager
def wakeups_that_wait_for_the_busy() -> Iterator[None]:
    """A wake-up of many streams ends later than one of few."""
    original = wakeups.Wakeups._end

    def instead(its: Any) -> None:
        if len(its._joined) > 1 and not its.__dict__.pop("late", False):
            its.late = True
            its._loop.call_later(0.05, instead, its)
        else:
            original(its)

    with mock.patch.object(wakeups.Wakeups, "_end", instead):
        yield


@pytest.mark.long(usual=("rest_of_a_read_lost-frame",))
@pytest.mark.parametrize(
    ("bug", "word"),
    [(rest_of_a_read_lost, "frame"), (wakeups_that_wait_for_the_busy, "came at")],
)
def test_what_neighbours_do_to_innocents_is_noticed(bug: Any, word: str) -> None:
    with bug():
        for seed in range(300):
            wrong = run.run(draw.plan_of(seed, "codex")).wrong
            if any(each.startswith("innocent") and word in each for each in wrong):
                return
    pytest.fail("nobody noticed")


def test_work_of_another_thread_takes_its_time_and_keeps_its_order() -> None:
    loop = clock.VirtualLoop()
    done: list[tuple[int, float]] = []

    async def work() -> None:
        futures = [loop.run_in_executor(None, number.__index__) for number in range(3)]
        done.extend([(await future, loop.time()) for future in futures])

    loop.run_until_complete(work())
    loop.close()
    assert [number for number, _ in done] == [0, 1, 2]
    assert done[0][1] >= clock.CHORE_S
    assert done[2][1] >= 3 * clock.CHORE_S
