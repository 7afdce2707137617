"""A bug of ours in one of five streams that share their wake-ups: that one ends, and says so.

Each test plants an exception at one place that all streams pass, for one of them alone.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from engine import pieces, worker
from engine.log import event_log as eventlog, replay
from engine.log.read import segments
from engine.log.settings import LogSettings
from engine.stream import deadlines, pump, wakeups
from machines import events, outputs
from machines.events import ReasoningDelta, TextDelta, TokensCounted, TurnFinished, Usage
from server import renderers
from server.api import sinks
from tests.support.machines import virtualtime
from tests.support.machines.playbook import opened

SECOND = 1_000_000
STREAMS = 5
HIT = 2


class Outlet:
    """What a client got, and how it ended."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.ending = "open"

    def respond(self, status: int, headers: Any, body: bytes) -> None:
        self.start(status, headers)
        self.finish(body)

    def start(self, status: int, headers: Any) -> None:
        self.status = status

    def write(self, data: bytes) -> None:
        assert self.ending == "open"
        self.body += data

    def finish(self, data: bytes = b"") -> None:
        self.write(data)
        self.ending = "whole"

    def abort(self) -> None:
        self.ending = "cut"


class Turn:
    """A turn that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def cancel(self) -> None:
        self.told.append("cancel")

    def keep(self) -> None:
        self.told.append("keep")

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


class Seam:
    """Stands before something whose methods cannot be replaced one by one."""

    def __init__(self, behind: object) -> None:
        self._behind = behind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)


class Stream:
    """One stream of the scene."""

    def __init__(
        self, scene: "Scene", number: int, streaming: bool, stop: tuple[str, ...]
    ) -> None:
        first = opened(
            stop=stop,
            request_id=f"req_{number}",
            streaming=streaming,
            include_usage=True,
            hash_key=b"k".hex(),
        )
        self.outlet = Outlet()
        self.turn = Turn()
        self.ended: list[events.Terminal] = []
        self.renderer = renderers.renderer(first)
        self.sink = sinks.Sink(self.outlet, self.renderer, [], b"k")
        self.reply = self.sink._reply
        self.wakeups = Seam(scene.wakeups)
        self.log = Seam(scene.log.stream(f"st_{number}"))
        self.pump = pump.Pump(
            first,
            cast(eventlog.StreamLog, self.log),
            self.sink,
            cast(wakeups.Wakeups, self.wakeups),
            scene.deadlines,
            self.ended.append,
        )
        asked = worker.Turn(stream_id=f"st_{number}", request_id="r", target="m", messages=())
        self.pump.run(self, asked)

    def run(self, turn: worker.Turn, feed: worker.Feed) -> Turn:
        """What of a worker a pump knows."""
        return self.turn


class Scene:
    """Five streams that say the same in the same wake-ups."""

    def __init__(
        self, directory: Path, streaming: bool = True, stop: tuple[str, ...] = ()
    ) -> None:
        loop = asyncio.get_running_loop()
        self.directory = directory
        self.deadlines = deadlines.Deadlines(heartbeat=0, idle=5 * SECOND, finish_grace=SECOND)
        settings = LogSettings(directory, content="full")
        self.log = eventlog.EventLog(settings, lambda: int(loop.time() * SECOND))
        self.log.open()
        self.wakeups = wakeups.Wakeups(loop, self.log)
        self.streams = [Stream(self, number, streaming, stop) for number in range(STREAMS)]
        self.hit = self.streams[HIT]
        self.innocent = [each for each in self.streams if each is not self.hit]

    async def say(self, *said: events.StreamInput) -> None:
        """Feed all of them in one wake-up, and let it end."""
        for each in self.streams:
            for event in said:
                each.pump.event(event)
        for _ in range(4):
            await asyncio.sleep(0)

    async def answer(self) -> None:
        """An answer of several wake-ups."""
        await self.say(ReasoningDelta("hm"), TextDelta("one "))
        await self.say(TextDelta("two "), TextDelta("three "))
        await self.say(TextDelta("four"), TurnFinished("stop"))
        await self.say(TokensCounted(Usage(3, 2)))

    def terminals(self) -> dict[str, str]:
        """The kind of every terminal record on file, by stream; there is one at most."""
        kinds: dict[str, str] = {}
        for path in sorted(self.directory.glob("events-*.jsonl")):
            for line in path.read_bytes().splitlines():
                record = json.loads(line)
                if record.get("event") == "terminal":
                    assert record["stream"] not in kinds
                    kinds[record["stream"]] = record["kind"]
        return kinds

    def check_innocent(self) -> None:
        """The other streams went as they go alone, and are replayed to the same bytes."""
        bodies = {each.outlet.body.replace(b"req_", b"") for each in self.innocent}
        assert len(bodies) == 1
        for each in self.innocent:
            assert each.outlet.ending == "whole"
            assert [last.kind for last in each.ended] == ["completed"]
            assert each.turn.told == ["keep"]
        kinds = self.terminals()
        for number in range(STREAMS):
            if number != HIT:
                assert kinds[f"st_{number}"] == "completed"
                again = replay.Replay(renderers.reply, f"st_{number}")
                again.run(segments.read(self.directory))
                assert again.divergence is None
                assert again.tally.full == 1


def failing(*_: Any, **__: Any) -> Any:
    raise RuntimeError("planted")


def break_off(owner: object, name: str) -> None:
    """Have something of an object fail from now on."""
    setattr(owner, name, failing)


def from_call(number: int, original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that fails at its `number`-th call and at all that follow."""
    calls = 0

    def instead(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return failing() if calls >= number else original(*arguments, **options)

    return instead


def only_call(number: int, original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that fails at its `number`-th call alone."""
    calls = 0

    def instead(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return failing() if calls == number else original(*arguments, **options)

    return instead


Plant = Callable[[Stream], None]


def plant(owner: str, name: str, when: Callable[..., Any], number: int) -> Plant:
    """Something of a stream that fails."""

    def planted(stream: Stream) -> None:
        target = getattr(stream, owner) if owner != "machine" else stream.pump.stream
        setattr(target, name, when(number, getattr(target, name)))

    return planted


def at(owner: str, name: str, kind: type) -> Plant:
    """Something of a stream that fails at one kind of what it is given first."""

    def planted(stream: Stream) -> None:
        target = getattr(stream, owner)
        original = getattr(target, name)

        def instead(given: object, *more: Any) -> Any:
            return failing() if isinstance(given, kind) else original(given, *more)

        setattr(target, name, instead)

    return planted


BROKEN: dict[str, Plant] = {
    "a step of the machine": plant("machine", "step", only_call, 2),
    "every step of the machine": plant("machine", "step", from_call, 2),
    "a record": plant("log", "append", only_call, 2),
    "every record": plant("log", "append", from_call, 2),
    "a record of texts": plant("log", "append_texts", only_call, 1),
    "a rendering": plant("renderer", "render", only_call, 4),
    "every rendering": plant("renderer", "render", from_call, 4),
    "a rendering of texts": plant("renderer", "contents", only_call, 2),
    "a reply": plant("reply", "render", only_call, 4),
    "every reply": plant("reply", "render", from_call, 4),
    "joining a wake-up with texts": plant("wakeups", "join_with_texts", only_call, 2),
    "joining a wake-up": plant("wakeups", "join", only_call, 2),
    "taking outputs": plant("sink", "take", only_call, 2),
    "taking texts": plant("sink", "take_texts", only_call, 1),
    "collecting": plant("sink", "collect", only_call, 2),
    "collecting, always": plant("sink", "collect", from_call, 2),
    "sending": plant("sink", "send", only_call, 2),
    "sending, always": plant("sink", "send", from_call, 2),
    "writing": plant("outlet", "write", only_call, 2),
    "writing, always": plant("outlet", "write", from_call, 2),
    "starting": plant("outlet", "start", from_call, 1),
    "the rendering of the end": at("renderer", "render", outputs.Done),
    "the record of the last event": at("log", "append", TokensCounted),
}
"""Where a stream is broken before its end."""


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_breaks_in_one_stream_ends_that_stream_alone(broken: Plant, tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        broken(stage.hit)
        with structlog.testing.capture_logs() as lines:
            await stage.answer()
        stage.check_innocent()
        assert b"[DONE]" not in stage.hit.outlet.body
        assert [last.kind for last in stage.hit.ended] == ["defect"]
        assert stage.hit.ended[0].code == "internal_error"
        assert stage.hit.turn.told == ["cancel"]
        said = [line for line in lines if line["event"] == "defect"]
        assert {(line["req_id"], line["stream"]) for line in said} == {(f"req_{HIT}", "st_2")}
        assert stage.hit.outlet.ending in ("whole", "cut")
        if stage.hit.outlet.ending == "whole":
            assert b'"code":"internal_error"' in stage.hit.outlet.body

    virtualtime.run(scene())


UNCOUNTED: dict[str, Plant] = {
    "the summary": plant("sink", "summary", from_call, 1),
    "the tool totals": plant("machine", "tool_totals", from_call, 1),
    "the terminal record": plant("log", "close", from_call, 1),
}
"""Where the accounting at an end is broken."""


@pytest.mark.parametrize("broken", UNCOUNTED.values(), ids=UNCOUNTED)
def test_an_error_in_accounting_changes_no_byte(broken: Plant, tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        broken(stage.hit)
        with structlog.testing.capture_logs() as lines:
            await stage.answer()
        stage.check_innocent()
        assert stage.hit.outlet.body == stage.innocent[0].outlet.body
        assert stage.hit.outlet.ending == "whole"
        assert [last.kind for last in stage.hit.ended] == ["completed"]
        assert [line["boundary"] for line in lines if line["event"] == "defect"] == ["stream_end"]
        again = replay.Replay(renderers.reply, f"st_{HIT}")
        again.run(segments.read(stage.directory))
        assert again.divergence is None

    virtualtime.run(scene())


def test_who_is_told_of_the_end_may_fail(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        break_off(stage.hit.pump, "_on_end")
        with structlog.testing.capture_logs():
            await stage.answer()
        stage.check_innocent()
        assert stage.hit.outlet.body == stage.innocent[0].outlet.body
        assert stage.terminals()["st_2"] == "completed"

    virtualtime.run(scene())


def test_bytes_that_were_lost_between_two_wakeups_are_missed(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        await stage.say(TextDelta("one "))
        stage.hit.pump.event(TextDelta("two "))
        stage.hit.pump.flush_texts()
        assert stage.hit.sink.collect().data  # and nobody sends it
        with structlog.testing.capture_logs() as lines:
            await stage.say(TextDelta("three"))
            await stage.say(TurnFinished("stop"), TokensCounted(Usage(3, 2)))
        stage.hit.outlet.body.index(b"one ")
        assert b"three" not in stage.hit.outlet.body
        assert b"[DONE]" not in stage.hit.outlet.body
        assert stage.terminals()["st_2"] == "defect"
        assert {each["stream"] for each in lines if each["event"] == "defect"} == {"st_2"}
        stage.check_innocent()

    virtualtime.run(scene())


@pytest.mark.parametrize("lost", ["a record", "a rendering"])
def test_what_was_held_back_does_not_come_behind_a_hole(lost: str, tmp_path: Path) -> None:
    broken = {
        "a record": plant("log", "append", only_call, 1),
        "a rendering": plant("renderer", "render", only_call, 1),
    }

    async def scene() -> None:
        stage = Scene(tmp_path, stop=("threes",))
        await stage.say(TextDelta("one thre"))  # of which a part may become the stop
        broken[lost](stage.hit)
        with structlog.testing.capture_logs():
            await stage.say(ReasoningDelta("hm"))
            await stage.say(TurnFinished("stop"), TokensCounted(Usage(3, 2)))
        assert b"one " in stage.hit.outlet.body
        assert b"thre" not in stage.hit.outlet.body
        assert b"internal_error" in stage.hit.outlet.body
        assert stage.terminals()["st_2"] == "defect"
        assert b"thre" in stage.innocent[0].outlet.body
        stage.check_innocent()

    virtualtime.run(scene())


def test_bytes_that_were_lost_before_the_last_wakeup_are_missed(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        await stage.say(TextDelta("one "))
        for each in stage.streams:
            each.pump.event(TextDelta("two "))
            each.pump.flush_texts()
        assert stage.hit.sink.collect().data  # and nobody sends it
        with structlog.testing.capture_logs():
            await stage.say(TurnFinished("stop"), TokensCounted(Usage(3, 2)))
        assert stage.terminals()["st_2"] == "defect"
        assert stage.hit.outlet.ending == "cut"
        assert b"[DONE]" not in stage.hit.outlet.body
        stage.check_innocent()

    virtualtime.run(scene())


def test_a_body_that_cannot_be_made_is_an_error_of_its_own(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path, streaming=False)
        break_off(stage.hit.renderer, "render")
        with structlog.testing.capture_logs():
            await stage.answer()
        assert stage.hit.outlet.status == 500
        assert json.loads(stage.hit.outlet.body)["error"]["code"] == "internal_error"
        assert stage.terminals()["st_2"] == "defect"
        stage.check_innocent()

    virtualtime.run(scene())


@pytest.mark.parametrize("told", ["cancel", "keep", "pause", "resume"])
def test_a_turn_that_fails_at_what_it_is_told_harms_nobody(told: str, tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        break_off(stage.hit.turn, told)
        with structlog.testing.capture_logs() as lines:
            await stage.say(TextDelta("one "))
            stage.hit.pump.pressed(1)
            stage.hit.pump.relieved()
            if told == "cancel":
                stage.hit.pump.event(events.ClientGone("left"))
            await stage.answer()
        assert len([line for line in lines if line["event"] == "defect"]) == 1
        assert [last.kind for last in stage.hit.ended] == [
            "client_gone" if told == "cancel" else "completed"
        ]
        # A turn that cannot be kept would hold its place for nobody.
        assert told != "keep" or stage.hit.turn.told[-1] == "cancel"
        stage.check_innocent()

    virtualtime.run(scene())


def test_a_worker_that_cannot_begin_a_turn_is_a_defect(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        asked = worker.Turn(stream_id="st_2", request_id="r", target="m", messages=())
        break_off(stage.hit, "run")
        with structlog.testing.capture_logs():
            stage.hit.pump.run(stage.hit, asked)
            await stage.answer()
        assert stage.hit.outlet.status == 500
        assert stage.terminals()["st_2"] == "defect"
        stage.check_innocent()

    virtualtime.run(scene())


def test_a_deadline_that_cannot_be_looked_at_ends_its_stream(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        await stage.say(TextDelta("one "))
        break_off(stage.hit.pump, "_take_due")
        for each in stage.innocent:
            each.pump.event(TurnFinished("stop"))
            each.pump.event(TokensCounted(Usage(3, 2)))
        with structlog.testing.capture_logs():
            await asyncio.sleep(6)
        assert stage.terminals()["st_2"] == "defect"
        stage.check_innocent()

    virtualtime.run(scene())


def test_a_stream_that_breaks_as_it_is_made_has_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        with monkeypatch.context() as planted:
            planted.setattr(pump, "due", failing)
            hit = Stream(stage, STREAMS, streaming=True, stop=())
            known = {hit.pump}  # as a server takes note of it, until it has ended
            hit.pump._on_end = lambda _: known.clear()
        assert known
        with structlog.testing.capture_logs() as lines:
            await stage.answer()
        assert not known
        assert stage.terminals()[f"st_{STREAMS}"] == "defect"
        assert (hit.outlet.status, hit.outlet.ending) == (500, "whole")
        assert {line["stream"] for line in lines if line["event"] == "defect"} == {"st_5"}
        stage.check_innocent()

    virtualtime.run(scene())


def test_a_failing_log_costs_no_stream_a_byte(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        break_off(stage.log, "flush")
        with structlog.testing.capture_logs() as lines:
            await stage.answer()
        assert {each.outlet.ending for each in stage.streams} == {"whole"}
        assert {line["boundary"] for line in lines if line["event"] == "defect"} == {"log"}

    virtualtime.run(scene())


def test_a_piece_that_breaks_something_ends_its_stream_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        plant("machine", "step", only_call, 3)(stage.hit)
        long = "x" * (pieces.PIECE * 3 + 5)
        with structlog.testing.capture_logs():
            await stage.say(ReasoningDelta(long), TextDelta("behind"), TurnFinished("stop"))
            await stage.say(TokensCounted(Usage(3, 2)))
        assert stage.terminals()["st_2"] == "defect"
        assert b"behind" not in stage.hit.outlet.body
        stage.check_innocent()

    virtualtime.run(scene())


@pytest.mark.parametrize("where", ["sink", "outlet"])
def test_a_last_part_that_cannot_be_sent_is_a_cut_and_is_said(where: str, tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        plant(where, "finish", from_call, 1)(stage.hit)
        with structlog.testing.capture_logs() as lines:
            await stage.answer()
        assert stage.hit.outlet.ending == "cut"
        assert b"[DONE]" not in stage.hit.outlet.body
        assert {line["stream"] for line in lines if line["event"] == "defect"} == {"st_2"}
        stage.check_innocent()

    virtualtime.run(scene())


@pytest.mark.parametrize("where", ["unsent", "end"])
def test_a_body_that_was_made_before_its_stream_broke_is_not_sent(
    where: str, tmp_path: Path
) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path, streaming=False)
        plant("sink", where, from_call, 1)(stage.hit)
        with structlog.testing.capture_logs():
            await stage.answer()
        assert stage.terminals()["st_2"] == "defect"
        assert stage.hit.outlet.status == 500
        assert b'"code":"internal_error"' in stage.hit.outlet.body
        stage.check_innocent()

    virtualtime.run(scene())


def test_a_client_that_has_caught_up_in_vain_is_told_so(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Scene(tmp_path)
        await stage.say(TextDelta("one "))
        stage.hit.pump.pressed(1)
        break_off(stage.hit.pump, "_arm")
        with structlog.testing.capture_logs() as lines:
            stage.hit.pump.relieved()
            await stage.say(TextDelta("two "))
        assert stage.hit.turn.told == ["pause", "resume", "cancel"]
        assert {line["stream"] for line in lines if line["event"] == "defect"} == {"st_2"}
        await stage.say(TurnFinished("stop"), TokensCounted(Usage(3, 2)))
        assert stage.terminals()["st_2"] == "defect"
        stage.check_innocent()

    virtualtime.run(scene())
