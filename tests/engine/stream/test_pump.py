"""One stream in motion, in virtual time: its deadlines, its turns, its one ending."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from engine import pieces, worker
from engine.log import event_log as eventlog, replay
from engine.log.read import segments
from engine.log.settings import LogSettings
from engine.stream import deadlines, pump, wakeups
from machines import events
from machines.events import (
    ClientGone,
    ItemStarted,
    ReasoningDelta,
    ServerStopping,
    TextDelta,
    TokensCounted,
    TurnFailed,
    TurnFinished,
    Usage,
)
from server import renderers
from server.api import sinks
from server.http.exchange import Exchange
from tests.support.logs import logs
from tests.support.machines import virtualtime
from tests.support.machines.playbook import opened

SECOND = 1_000_000
COUNTS = TokensCounted(Usage(3, 2))
COUNTING: dict[str, Any] = {"include_usage": True, "prompt_bytes": 41}


class Recorder(Exchange):
    """An exchange that remembers what it was sent, and when the log's file had how much."""

    def __init__(self, log_file: Callable[[], bytes]) -> None:
        self.body = b""
        self.status = 0
        self.on_file: list[bytes] = []
        self._log_file = log_file

    def respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.start(status, headers)
        self.finish(body)

    def start(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status = status

    def write(self, data: bytes) -> None:
        self.on_file.append(self._log_file())
        self.body += data

    def finish(self, data: bytes = b"") -> None:
        self.write(data)


class Turn:
    """A turn that counts how often it was cancelled, and how often it was kept."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.kept = 0
        self.flow: list[str] = []

    def keep(self) -> None:
        self.kept += 1

    def pause(self) -> None:
        self.flow.append("paused")

    def resume(self) -> None:
        self.flow.append("resumed")

    def cancel(self) -> None:
        self.cancelled += 1


class Stage:
    """A pump with everything real around it but the worker and the socket."""

    def __init__(
        self, directory: Path, limits: deadlines.Deadlines, shared: bool = False, **options: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        self._directory = directory
        self._log = eventlog.EventLog(
            LogSettings(directory, content="full"), lambda: int(loop.time() * SECOND)
        )
        self._log.open()
        self.ended: list[events.Terminal] = []
        first = opened(**options)
        self.exchange = Recorder(self.log_file)
        a_turn = first.n if shared else 1
        self.turns = {choice: Turn() for choice in range(0, first.n, a_turn)}
        self.pump = pump.Pump(
            first,
            self._log.stream("st_1"),
            sinks.Sink(self.exchange, renderers.renderer(first), [], b"k"),
            wakeups.Wakeups(loop, self._log),
            limits,
            self.ended.append,
        )
        for choice in self.turns:
            turn = worker.Turn(
                stream_id="st_1",
                request_id="r",
                target="m",
                messages=(),
                choice=choice,
                choices=a_turn,
            )
            self.pump.run(cast(worker.Worker, self), turn)

    def run(self, turn: worker.Turn, feed: worker.Feed) -> Turn:
        """What of a worker a pump knows."""
        return self.turns[turn.choice]

    def log_file(self) -> bytes:
        """The log, as it is on file now."""
        return b"".join(path.read_bytes() for path in self._directory.glob("events-*.jsonl"))

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in logs.lines_of(self._directory)]

    def timers(self) -> list[str]:
        """The timers that fired, in order."""
        return [each["timer"] for each in self.records() if each["event"] == "timer_fired"]

    async def say(self, *said: events.StreamInput, after: float = 0.0) -> None:
        """Feed events, some seconds later, and let the wake-up end."""
        await asyncio.sleep(after)
        for event in said:
            self.pump.event(event)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    virtualtime.run(scene())


def test_records_are_on_file_before_their_bytes_are_sent(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines())
        await stage.say(TextDelta("a"))
        await stage.say(TextDelta("b"), TextDelta("c"))
        await stage.say(COUNTS, TurnFinished("stop"))
        first, second, last = stage.exchange.on_file
        assert b'"text":"a"' in first
        assert b'"text":"b"' not in first
        assert b'"text":"c"' in second
        assert b'"event":"terminal"' in last
        assert stage.exchange.body.endswith(b"data: [DONE]\n\n")

    play(scene)


def test_a_read_is_one_wakeup_and_is_sent_when_it_is_over(tmp_path: Path) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        event_log = eventlog.EventLog(LogSettings(tmp_path), lambda: 1)
        event_log.open()
        joined = wakeups.Wakeups(loop, event_log)
        exchange = Recorder(bytes)
        first = opened()
        running = pump.Pump(
            first,
            event_log.stream("st_1"),
            sinks.Sink(exchange, renderers.renderer(first), [], b"k"),
            joined,
            deadlines.Deadlines(),
            lambda _: None,
        )
        await asyncio.sleep(0)

        def take(data: bytes) -> None:
            for code in data:
                running.event(TextDelta(chr(code)))

        for data in (b"ab", b"cd"):
            joined.read(take, data)
        assert len(exchange.on_file) == 2
        assert exchange.body.count(b"data: ") == 5
        running.event(ClientGone("left"))

    play(scene)


def test_silence_before_the_first_token_is_held_then_filled_then_ended(tmp_path: Path) -> None:
    limits = deadlines.Deadlines(
        heartbeat=5 * SECOND, head_hold=10 * SECOND, first_chunk=22 * SECOND, idle=SECOND
    )

    async def scene() -> None:
        stage = Stage(tmp_path, limits)
        await stage.say(after=9)
        assert stage.exchange.status == 0
        await stage.say(ItemStarted("reasoning"), after=2)
        assert stage.exchange.status == 200
        await stage.say(after=12)
        assert stage.timers() == ["head_hold", "heartbeat", "heartbeat", "first_chunk"]
        assert stage.exchange.body.count(b": keepalive") == 2
        assert b'"code":"request_timeout"' in stage.exchange.body
        assert [each.kind for each in stage.ended] == ["timeout"]

    play(scene)


def test_without_heartbeats_the_head_is_held_to_the_first_chunk_limit(tmp_path: Path) -> None:
    limits = deadlines.Deadlines(heartbeat=0, head_hold=10 * SECOND, first_chunk=20 * SECOND)

    async def scene() -> None:
        stage = Stage(tmp_path, limits)
        await stage.say(after=19)
        assert stage.exchange.status == 0
        await stage.say(after=2)
        assert stage.exchange.status == 504

    play(scene)


def test_reasoning_and_items_put_the_idle_limit_off_and_heartbeats_do_not(tmp_path: Path) -> None:
    limits = deadlines.Deadlines(heartbeat=2 * SECOND, idle=10 * SECOND)

    async def scene() -> None:
        stage = Stage(tmp_path, limits)
        await stage.say(TextDelta("a"))
        await stage.say(ReasoningDelta("hm"), after=9)
        await stage.say(ItemStarted("agentMessage"), after=9)
        await stage.say(after=9)
        assert stage.ended == []
        assert stage.timers().count("heartbeat") >= 9
        await stage.say(after=2)
        assert stage.timers()[-1] == "idle"
        assert stage.ended[0].code == "idle_timeout"
        assert stage.ended[0].longest_gap_us // SECOND == 10

    play(scene)


def test_a_worker_that_is_held_back_is_not_silent(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(heartbeat=0, idle=10 * SECOND))
        await stage.say(TextDelta("a"), after=1)
        stage.pump.pressed(300_000)
        await stage.say(after=30)
        assert stage.ended == []
        stage.pump.relieved()
        await stage.say(after=9)
        assert stage.ended == []
        await stage.say(after=2)
        assert stage.ended[0].code == "idle_timeout"

    play(scene)


def test_a_finish_waits_a_grace_for_its_counts_and_the_total_limit_is_over(tmp_path: Path) -> None:
    limits = deadlines.Deadlines(total=3 * SECOND, finish_grace=5 * SECOND)

    async def scene() -> None:
        stage = Stage(tmp_path, limits, include_usage=True)
        await stage.say(TextDelta("a"), TurnFinished("stop"), after=2)
        await stage.say(after=6)
        assert stage.timers() == ["finish_grace"]
        assert b": x-turntape-usage: unknown\n\n" in stage.exchange.body
        assert [each.kind for each in stage.ended] == ["completed"]

    play(scene)


def test_the_grace_begins_with_the_last_finish(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = deadlines.Deadlines(finish_grace=5 * SECOND)
        stage = Stage(tmp_path, limits, include_usage=True, n=2)
        await stage.say(TextDelta("a"), TextDelta("b", 1), TurnFinished("stop"), after=2)
        await stage.say(TurnFinished("stop", 1), after=8)
        await stage.say(after=4)
        assert stage.ended == []
        await stage.say(after=2)
        assert [each.kind for each in stage.ended] == ["completed"]

    play(scene)


def test_one_event_after_another_end_changes_nothing(tmp_path: Path) -> None:
    ends: list[events.StreamInput] = [
        TurnFinished("stop"),
        TurnFailed("upstream_error", "upstream_error", "no"),
        ClientGone("left"),
        ServerStopping(),
    ]

    async def scene(directory: Path, end: events.StreamInput) -> None:
        stage = Stage(directory, deadlines.Deadlines())
        await stage.say(TextDelta("a"), end, *ends, TextDelta("late"))
        assert len(stage.ended) == 1
        assert stage.records()[-1]["event"] == "terminal"
        assert b"late" not in stage.exchange.body
        whole = isinstance(end, TurnFinished)
        assert [(turn.kept, turn.cancelled) for turn in stage.turns.values()] == [
            (1, 0) if whole else (0, 1)
        ]
        await stage.say(after=1000)
        assert stage.timers() == []

    for number, end in enumerate(ends):
        virtualtime.run(scene(tmp_path / str(number), end))


def test_a_cut_after_the_other_choice_has_finished_cancels_its_turn(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(), n=2, stop=("END",))
        await stage.say(TextDelta("x", 0), COUNTS, TurnFinished("stop", 0))
        assert stage.turns[1].cancelled == 0
        await stage.say(TextDelta("one END", 1))
        assert [each.finish_reasons for each in stage.ended] == [("stop", "stop")]
        assert [turn.cancelled for turn in stage.turns.values()] == [0, 1]
        assert [turn.kept for turn in stage.turns.values()] == [1, 0]

    play(scene)


def test_an_answer_that_is_cut_is_estimated_with_all_that_went_out(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(), stop=("END",), **COUNTING)
        await stage.say(ReasoningDelta("hm hm"), TextDelta("漢字 "), TextDelta("one END"))
        estimate = Usage(11, 2 + 3, reasoning_tokens=2)  # 41, 5, and 3 + 3 + 1 + 4 bytes
        (last,) = stage.ended
        assert (last.usage, last.usage_source) == (estimate, "estimated")
        assert (last.kind, last.emission_trigger) == ("completed", "text_delta")
        assert stage.records()[-2]["usage"] == json.loads(msgspec.json.encode(estimate))
        assert b": x-turntape-usage: estimated\n\ndata: " in stage.exchange.body
        assert stage.exchange.body.endswith(b"data: [DONE]\n\n")

    play(scene)


def test_texts_that_no_machine_looks_at_are_in_the_estimate(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(), length_on_worker_exit=True, **COUNTING)
        await stage.say(TextDelta("a"), TextDelta("bcé"), TextDelta("d"))
        await stage.say(TextDelta("efgh"), TurnFailed("worker_lost", "worker_exited", "Gone."))
        (last,) = stage.ended
        assert (last.usage, last.usage_source) == (Usage(11, 3), "estimated")
        assert (last.kind, last.emission_trigger) == ("truncated", "turn_failed")

    play(scene)


@pytest.mark.parametrize("counted", [True, False], ids=["counted", "uncounted"])
def test_one_turn_of_all_choices_may_have_counts_behind_a_cut(
    tmp_path: Path, counted: bool
) -> None:
    async def scene() -> None:
        limits = deadlines.Deadlines(finish_grace=5 * SECOND)
        stage = Stage(tmp_path, limits, shared=True, n=2, stop=("END",), **COUNTING)
        await stage.say(TextDelta("b", 0), TextDelta("one END", 1), TurnFinished("stop", 0))
        assert stage.ended == []
        if counted:
            await stage.say(TokensCounted(Usage(3, 9), 0), TokensCounted(Usage(3, 0), 1))
        else:
            await stage.say(after=6)
        (last,) = stage.ended
        assert (last.usage, last.usage_source) == (Usage(3, 9) if counted else None, "counted")

    play(scene)


def test_one_turn_of_all_choices_that_are_cut_is_estimated_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(), shared=True, n=2, stop=("END",), **COUNTING)
        await stage.say(TextDelta("one END", 1))
        assert stage.ended == []
        await stage.say(TextDelta("four END", 0))
        (last,) = stage.ended
        assert (last.usage, last.usage_source) == (Usage(11, 1 + 2), "estimated")

    play(scene)


def test_a_cut_of_one_choice_stops_its_turn_and_not_the_other(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(), n=2, stop=("END",))
        await stage.say(TextDelta("one END", 0))
        assert [turn.cancelled for turn in stage.turns.values()] == [1, 0]
        await stage.say(TextDelta("two", 1), TurnFinished("stop", 1))
        assert len(stage.ended) == 1

    play(scene)


def test_a_body_is_cut_by_the_truncation_limit_as_length(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(truncate=4 * SECOND), streaming=False)
        await stage.say(TextDelta("so far"), after=1)
        await stage.say(after=4)
        body = json.loads(stage.exchange.body)
        assert stage.exchange.status == 200
        assert body["choices"][0]["finish_reason"] == "length"
        assert body["choices"][0]["message"]["content"] == "so far"
        assert [each.kind for each in stage.ended] == ["truncated"]

    play(scene)


def test_a_slow_client_slows_its_turns_down(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(), n=2)
        await stage.say(TextDelta("a"))
        stage.pump.pressed(300_000)
        stage.pump.relieved()
        await stage.say(ClientGone("left"))
        stage.pump.relieved()
        assert [turn.flow for turn in stage.turns.values()] == [["paused", "resumed"]] * 2
        pressed = [each for each in stage.records() if each["event"] == "buffer_pressure"]
        assert [each["buffered"] for each in pressed] == [300_000]

    virtualtime.run(scene())


def test_texts_that_cannot_be_said_end_their_stream_and_no_other(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines())
        await stage.say(TextDelta("a"))
        await stage.say(TextDelta("b"), TextDelta("\ud83d"), TextDelta("c"))
        assert [(each.kind, each.code) for each in stage.ended] == [("defect", "internal_error")]
        assert b"[DONE]" not in stage.exchange.body
        assert stage.exchange.body.endswith(b"}\n\n")

    virtualtime.run(scene())


LONG = "".join(chr(0x4E00 + number % 5000) for number in range(pieces.PIECE * 2 + 7))


def texts_of(body: bytes, member: str = "content") -> list[str]:
    """The texts in a stream's chunks, in order."""
    chunks = [json.loads(frame[6:]) for frame in body.split(b"\n\n") if frame[6:7] == b"{"]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    return [delta[member] for delta in deltas if delta.get(member)]


@pytest.mark.parametrize(
    ("event", "member"),
    [(TextDelta(LONG), "content"), (ReasoningDelta(LONG), "reasoning_content")],
)
def test_a_long_text_goes_out_in_pieces_and_what_follows_waits_behind_it(
    event: events.StreamInput, member: str, tmp_path: Path
) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(heartbeat=0))
        await stage.say(TextDelta("before "))
        for each in (event, TextDelta(" behind"), TurnFinished("stop")):
            stage.pump.event(each)
        assert stage.ended == []
        rounds = 0
        while not stage.ended:
            await asyncio.sleep(0)
            rounds += 1
        assert rounds >= 5
        await asyncio.sleep(0)
        found = texts_of(stage.exchange.body, member)
        assert all(len(text) <= pieces.PIECE for text in found)
        whole = LONG if member == "reasoning_content" else f"before {LONG} behind"
        assert "".join(found) == whole
        assert texts_of(stage.exchange.body)[-1].endswith(" behind")
        assert [each.kind for each in stage.ended] == ["completed"]
        again = replay.Replay(renderers.reply)
        again.run(segments.read(tmp_path))
        assert again.divergence is None

    play(scene)


@pytest.mark.parametrize("end", [ClientGone("left"), ServerStopping()])
def test_what_is_not_the_workers_does_not_wait_behind_a_long_text(
    end: events.StreamInput, tmp_path: Path
) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(heartbeat=0))
        stage.pump.event(TextDelta(LONG))
        stage.pump.event(TextDelta("late"))
        stage.pump.event(end)
        assert len(stage.ended) == 1
        await stage.say(TextDelta("later"), after=1)
        assert b"late" not in stage.exchange.body

    play(scene)


def test_several_long_texts_keep_their_order(tmp_path: Path) -> None:
    async def scene() -> None:
        stage = Stage(tmp_path, deadlines.Deadlines(heartbeat=0))
        said = [LONG, "a", LONG[::-1], "b", LONG]
        await stage.say(*map(TextDelta, said), TurnFinished("stop"))
        await stage.say(after=1)
        assert len(stage.ended) == 1
        assert "".join(texts_of(stage.exchange.body)) == "".join(said)
        stage.pump.event(TextDelta("late"))

    play(scene)
