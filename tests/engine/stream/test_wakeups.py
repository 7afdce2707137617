"""Bytes of wake-ups that wait for the disk go out once and in order, whatever the log does.

A wake-up's bytes may have to wait until its records are safe. The log here says so when the test
has it say so, or fails instead, before or after it has taken note.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog.testing

from engine.stream import sink, wakeups
from tests.support.machines import virtualtime

Safe = Callable[[], object]


class Log:
    """An event log whose disk answers when it is told to.

    Attributes:
        asked: what is to be called when records are safe, in the order it was asked for.
        failing: what comes of the next askings: nothing, or a failure `before` or `after` it.
    """

    def __init__(self, *failing: str) -> None:
        self.asked: list[Safe] = []
        self.failing = list(failing)

    def flush(self) -> None:
        """Nothing is written."""

    def when_durable(self, callback: Safe) -> None:
        """Fail, or take note."""
        how = self.failing.pop(0)
        if how == "before":
            raise RuntimeError("planted")
        self.asked.append(callback)
        if how == "after":
            raise RuntimeError("planted")


class Source:
    """A stream of which each wake-up makes one part: also the stream that is told of failures."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.broken: list[Exception] = []
        self._made = 0

    def collect(self) -> sink.Part:
        self._made += 1
        return sink.Part(200, self._made, b"", False)

    def send(self, part: sink.Part) -> None:
        self.sent.append(part.start)

    def finish(self, part: sink.Part, failed: Any) -> None:
        """There is no last part."""

    def flush_texts(self) -> None:
        """There are none."""

    def broke(self, _: object, error: Exception) -> None:
        self.broken.append(error)


def play(log: Log, scene: Callable[[Source], None]) -> None:
    """Have as many wake-ups as the log has answers for, and then a scene."""

    async def whole() -> None:
        event_log: Any = log
        joined = wakeups.Wakeups(asyncio.get_running_loop(), event_log)
        source = Source()
        for _ in range(len(log.failing)):
            joined.join(source, source)
            await asyncio.sleep(0.01)
        scene(source)
        assert joined.deferred == 0
        assert source.broken == []

    with structlog.testing.capture_logs():
        virtualtime.run(whole())


def test_what_was_sent_as_the_log_failed_is_not_sent_again_when_the_disk_answers() -> None:
    log = Log("after")

    def scene(source: Source) -> None:
        assert source.sent == [1]
        log.asked[0]()
        assert source.sent == [1]

    play(log, scene)


def test_what_the_log_fails_for_goes_out_behind_what_waits_for_the_disk() -> None:
    for failure in ("before", "after"):
        log = Log("", failure, "")

        def scene(source: Source, log: Log = log) -> None:
            assert source.sent == []
            for number, safe in enumerate(log.asked):
                safe()
                if number == 0:
                    assert source.sent == [1, 2]
            assert source.sent == [1, 2, 3]

        play(log, scene)


def test_answers_of_the_disk_that_change_places_change_no_body() -> None:
    log = Log("", "", "")

    def scene(source: Source) -> None:
        for at, sent in ((1, []), (0, [1, 2]), (2, [1, 2, 3])):
            log.asked[at]()
            assert source.sent == sent

    play(log, scene)
