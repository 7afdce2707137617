"""A loop of one's own: its result, what is left behind, and the signals that reach it."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest
import structlog

from server.process import eventloop, signals


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Give the signals back to whoever had them."""
    before = {number: signal.getsignal(number) for number in (*signals.STOP, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_result_comes_and_what_was_raised() -> None:
    async def work() -> int:
        return 3

    async def fail() -> int:
        raise OSError("planted")

    assert eventloop.run(work()) == 3
    with pytest.raises(OSError, match="planted"):
        eventloop.run(fail())


def test_tasks_that_are_left_are_cancelled_and_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eventloop, "REST_S", 0.05)
    ended: list[str] = []

    async def willing() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("willing")

    async def deaf(wait: asyncio.Future[None]) -> None:
        for _ in range(2):
            try:
                await asyncio.shield(wait)
            except asyncio.CancelledError:
                ended.append("deaf")

    async def work() -> None:
        loop = asyncio.get_running_loop()
        kept.extend((loop.create_task(willing()), loop.create_task(deaf(loop.create_future()))))
        await asyncio.sleep(0)

    kept: list[asyncio.Task[None]] = []
    with structlog.testing.capture_logs() as lines:
        eventloop.run(work())
    assert sorted(ended) == ["deaf", "willing"]
    (line,) = lines
    assert line["event"] == "task_left"
    assert "deaf" in line["task"]


def test_a_thread_that_does_not_end_is_not_waited_for() -> None:
    release = threading.Event()
    ended: list[str] = []

    async def work() -> str:
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()

        def hold() -> None:
            loop.call_soon_threadsafe(begun.set)
            release.wait(20)
            ended.append("thread")

        loop.run_in_executor(None, hold)
        await begun.wait()
        return "done"

    try:
        assert eventloop.run(work()) == "done"
        assert ended == []
    finally:
        release.set()


def test_signals_that_came_before_the_loop_and_during_it_are_acted_on_in_order() -> None:
    async def work(caught: signals.Caught) -> list[int]:
        came: list[int] = []
        both = asyncio.Event()

        def stop(number: int) -> None:
            came.append(number)
            if len(came) == 2:
                both.set()

        eventloop.forward(caught, stop)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(both.wait(), 20)
        return came

    with signals.caught() as caught:
        signal.raise_signal(signal.SIGTERM)
        assert eventloop.run(work(caught)) == [signal.SIGTERM, signal.SIGINT]
        signal.raise_signal(signal.SIGTERM)  # the loop is closed
    signal.raise_signal(signal.SIGINT)  # all is done: nothing happens


@pytest.mark.usefixtures("hangup_by_default")
def test_a_hangup_without_a_terminal_is_told_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signals, "_on_terminal", False)

    async def work(caught: signals.Caught) -> list[str]:
        came: list[str] = []
        acted = asyncio.Event()

        def hangup() -> None:
            came.append("hangup")
            acted.set()

        eventloop.forward(caught, lambda _: came.append("stop"), hangup)
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(acted.wait(), 20)
        return came

    with signals.caught() as caught:
        assert eventloop.run(work(caught)) == ["hangup"]


def test_a_hangup_that_is_ignored_from_the_start_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with signals.caught():
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
