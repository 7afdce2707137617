"""A transcript is played as its worker spoke: the same events in order, as fast as is asked."""

import asyncio
import itertools
from pathlib import Path

import msgspec
import pytest
import structlog

from engine import failures, scripted, slices, worker
from engine.scripted import Cue, TranscriptError
from machines import events
from machines.events import (
    ItemStarted,
    ReasoningDelta,
    StreamInput,
    TextDelta,
    TokensCounted,
    TurnFinished,
    Usage,
)
from tests.support.logs import logs
from tests.support.machines import virtualtime
from tests.support.process import machinetime

OPENED: logs.Record = {
    "event": "opened",
    "request_id": "req_1",
    "completion_id": "chatcmpl-1",
    "created": 1795293345,
    "model": "m",
    "target": "gpt-5.5",
    "worker": "codex",
    "state": "held",
    "out": [],
    "t": 1_000_000,
}


def record(ms: float, event: str, **fields: object) -> logs.Record:
    """A record so many milliseconds after the stream's first."""
    t = 1_000_000 + round(ms * 1000)
    return {"t": t, "event": event, **fields, "state": "content", "out": []}


def terminal(ms: float, *reasons: str | None) -> logs.Record:
    fields = {"kind": "completed", "emission_trigger": "turn_finished", "status": 200}
    return record(ms, "terminal", **fields, finish_reasons=list(reasons))


USAGE = {"prompt_tokens": 10, "completion_tokens": 2}

SHORT = [
    OPENED,
    record(1, "rpc_sent", method="turn/start", rpc_id=3),
    record(2, "item_started", item="reasoning"),
    record(5, "reasoning_delta", text="hm"),
    record(9, "timer_fired", timer="head_hold"),
    record(10, "text_delta", text="Hel"),
    record(12, "text_delta", text="lo"),
    record(12, "buffer_pressure", buffered=300_000),
    record(15, "tokens_counted", usage=USAGE),
    record(15, "turn_finished", reason="end_turn"),
    terminal(15, "stop"),
]
"""A short answer; half of its records are not its worker's."""

SAID: list[StreamInput] = [
    ItemStarted("reasoning"),
    ReasoningDelta("hm"),
    TextDelta("Hel"),
    TextDelta("lo"),
    TokensCounted(Usage(10, 2)),
    TurnFinished("end_turn"),
]
"""What its worker said."""


def cues(tmp_path: Path, *records: logs.Record) -> tuple[tuple[Cue, ...], ...]:
    return scripted.load_cues(logs.write(tmp_path / "one.jsonl", *records))


def test_what_the_worker_said_is_kept_with_the_time_since_the_opening(tmp_path: Path) -> None:
    (found,) = cues(tmp_path, *SHORT)
    assert [cue.event for cue in found] == SAID
    assert [cue.at_us for cue in found] == [2000, 5000, 10_000, 12_000, 15_000, 15_000]


def test_choices_are_kept_apart(tmp_path: Path) -> None:
    found = cues(
        tmp_path,
        OPENED | {"n": 2},
        record(1, "text_delta", text="b", choice=1),
        record(2, "text_delta", text="a"),
        record(3, "turn_finished", reason="stop", choice=1),
        record(4, "turn_finished", reason="length"),
        terminal(4, "length", "stop"),
    )
    assert found == (
        (Cue(2000, TextDelta("a")), Cue(4000, TurnFinished("length"))),
        (Cue(1000, TextDelta("b", 1)), Cue(3000, TurnFinished("stop", 1))),
    )


def test_an_answer_that_was_cut_ends_as_it_was_cut(tmp_path: Path) -> None:
    (found,) = cues(tmp_path, OPENED, record(1, "text_delta", text="a##"), terminal(2, "stop"))
    assert found == (
        Cue(1000, TextDelta("a##")),
        Cue(2000, TurnFinished("stop", cut_short=True)),
    )


@pytest.mark.parametrize("end", [[terminal(2, None)], []], ids=["closed", "open"])
def test_an_answer_whose_client_left_is_owed_an_ending(
    tmp_path: Path, end: list[logs.Record]
) -> None:
    (found,) = cues(
        tmp_path,
        OPENED,
        record(1, "text_delta", text="a"),
        record(2, "client_gone", cause="left"),
        *end,
    )
    assert found == (Cue(1000, TextDelta("a")), Cue(2000, failures.LOST.event(0)))


def test_k41_a_choice_that_never_came_does_not_come_again(tmp_path: Path) -> None:
    found = cues(
        tmp_path,
        {**OPENED, "n": 2},
        record(1, "extra_members", place="chunk", members={"a": 1}),
        record(1, "text_delta", text="a"),
        record(2, "turn_finished", reason="stop"),
        record(2, "choice_missing", choice=1),
        terminal(2, "stop", None),
    )
    members = events.ExtraMembers("chunk", msgspec.Raw(b'{"a":1}'))
    assert found == (
        (Cue(1000, members), Cue(1000, TextDelta("a")), Cue(2000, TurnFinished("stop"))),
        (Cue(2000, events.ChoiceMissing(1)),),
    )


def test_records_of_a_workers_life_are_passed_over(tmp_path: Path) -> None:
    life = {
        "stream": "codex-0",
        "event": "worker_changed",
        "worker": "codex-0",
        "trigger": "spawned",
        "detail": {"pid": 7},
        "state": "handshake",
        "out": [],
        "t": 900_000_000,
    }
    (found,) = cues(tmp_path, life, *SHORT[:6], life)
    assert [cue.event for cue in found] == [*SAID[:3], failures.LOST.event(0)]
    assert found[-1].at_us == 10_000


def test_a_file_of_no_stream_or_of_two_is_no_transcript(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="0 streams"):
        cues(tmp_path)
    with pytest.raises(TranscriptError, match="2 streams"):
        cues(tmp_path, *SHORT, *(each | {"stream": "st_2"} for each in SHORT))


def test_a_file_that_is_not_as_it_was_written_is_no_transcript(tmp_path: Path) -> None:
    path = logs.write(tmp_path / "one.jsonl", *SHORT)
    path.write_bytes(path.read_bytes().replace(b"Hel", b"Hal"))
    with pytest.raises(TranscriptError, match=r"one\.jsonl:6 .*checksum"):
        scripted.load_cues(path)
    path.write_bytes(logs.lines(*SHORT)[:-1])
    with pytest.raises(TranscriptError, match="torn"):
        scripted.load_cues(path)


class Listener:
    """A feed that remembers, and says when the turn is over."""

    def __init__(self) -> None:
        self.events: list[StreamInput] = []
        self.over = asyncio.Event()

    def event(self, event: StreamInput) -> None:
        self.events.append(event)
        if isinstance(event, TurnFinished | events.TurnFailed):
            self.over.set()


def turn(target: str = "short", transcript: str | None = None, choice: int = 0) -> worker.Turn:
    return worker.Turn(
        stream_id="st_1",
        request_id="req_1",
        target=target,
        messages=(),
        choice=choice,
        transcript=transcript,
    )


def corpus(tmp_path: Path, **transcripts: list[logs.Record]) -> Path:
    for name, records in transcripts.items():
        logs.write(tmp_path / f"{name.replace('_', '-')}.jsonl", *records)
    return tmp_path


def play(directory: Path, asked: worker.Turn, speed: float = 0) -> list[StreamInput]:
    """Everything a turn brings, to its end."""

    async def listen() -> list[StreamInput]:
        listener = Listener()
        scripted.ScriptedWorker(directory, speed).run(asked, listener)
        await asyncio.wait_for(listener.over.wait(), machinetime.HANG_S)
        return listener.events

    return asyncio.run(listen())


OTHER = [
    OPENED,
    record(0, "text_delta", text="other"),
    record(0, "turn_finished", reason="stop"),
    terminal(0, "stop"),
]


def test_a_turn_plays_the_transcript_its_target_names(tmp_path: Path) -> None:
    directory = corpus(tmp_path, short=SHORT, other=OTHER)
    assert play(directory, turn()) == SAID
    assert play(directory, turn(target="other"))[0] == TextDelta("other")


def test_a_turn_that_names_a_transcript_plays_that(tmp_path: Path) -> None:
    directory = corpus(tmp_path, short=SHORT, other=OTHER)
    assert play(directory, turn(transcript="other"))[0] == TextDelta("other")


def test_further_choices_begin_again_with_the_first_as_their_own(tmp_path: Path) -> None:
    two = [
        OPENED | {"n": 2},
        record(0, "text_delta", text="a"),
        record(0, "text_delta", text="b", choice=1),
        record(0, "turn_finished", reason="stop"),
        record(0, "turn_finished", reason="stop", choice=1),
        terminal(0, "stop", "stop"),
    ]
    directory = corpus(tmp_path, short=two)
    assert [play(directory, turn(choice=choice))[0] for choice in range(3)] == [
        TextDelta("a", 0),
        TextDelta("b", 1),
        TextDelta("a", 2),
    ]


def test_a_transcript_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    async def check() -> None:
        player = scripted.ScriptedWorker(corpus(tmp_path, short=SHORT), 0)
        slices.at_once(player.check(turn()))
        for asked in (turn(target="long"), turn(transcript="long")):
            with pytest.raises(worker.TurnRefused, match="There is no transcript 'long'") as no:
                slices.at_once(player.check(asked))
            assert no.value.code == "model_not_found"

    asyncio.run(check())


def test_it_lists_its_transcripts_the_default_first_and_is_always_ready(tmp_path: Path) -> None:
    player = scripted.ScriptedWorker(corpus(tmp_path, a=OTHER, text_short=SHORT, b=OTHER), 0)
    assert player.models() == ("text-short", "a", "b")
    assert player.health() == worker.Health(True, "ready")
    assert player.versions() == {}
    assert player.accepts == worker.ListedModels("text-short")
    (tmp_path / "text-short.jsonl").unlink()
    assert scripted.ScriptedWorker(tmp_path, 0).models() == ("a", "b")


def test_a_directory_without_transcripts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="no transcripts"):
        scripted.ScriptedWorker(tmp_path, 0)


def stream(name: str, request_id: str, text: str) -> list[logs.Record]:
    """A whole stream, as it is among others in a log."""
    return [
        OPENED | {"stream": name, "request_id": request_id},
        record(3, "text_delta", stream=name, text=text),
        record(4, "turn_finished", stream=name, reason="stop"),
        terminal(5, "stop") | {"stream": name},
    ]


def test_of_a_log_every_whole_stream_is_a_transcript_by_its_request(tmp_path: Path) -> None:
    first, other, again = stream("s1", "a", "1"), stream("s2", "b", "2"), stream("s3", "a", "3")
    unfinished = stream("s4", "c", "4")[:-1]
    mixed = [*first[:2], *other[:1], *first[2:], *unfinished, *other[1:], *again]
    path = logs.write(tmp_path / "events-00000001.jsonl", *mixed)
    assert scripted.ScriptedWorker(tmp_path, 0).models() == ("a", "b")
    assert play(tmp_path, turn(target="a")) == [TextDelta("3"), TurnFinished("stop")]
    assert play(tmp_path, turn(target="b"))[0] == TextDelta("2")
    path.write_bytes(path.read_bytes() + b'{"stream":"s5","se')
    assert scripted.ScriptedWorker(tmp_path, 0).models() == ("a", "b")


def test_a_log_whose_beginning_is_gone_has_the_streams_that_began_later(tmp_path: Path) -> None:
    older, newer = stream("s1", "a", "1"), stream("s2", "b", "2")
    path = logs.write(tmp_path / "events-00000002.jsonl", *older, *newer)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(TranscriptError, match="are missing before it"):
        scripted.ScriptedWorker(tmp_path, 0)
    logs.write(path, *(each | {"seq": seq + 1} for seq, each in enumerate(older[1:])), *newer)
    assert scripted.ScriptedWorker(tmp_path, 0).models() == ("b",)


def test_a_log_that_is_not_as_it_was_written_is_refused(tmp_path: Path) -> None:
    path = logs.write(tmp_path / "events-00000001.jsonl", *stream("s1", "a", "text"))
    path.write_bytes(path.read_bytes().replace(b"text", b"test", 1))
    with pytest.raises(TranscriptError, match="checksum"):
        scripted.ScriptedWorker(tmp_path, 0)


def test_one_transcript_may_answer_everything_that_names_none(tmp_path: Path) -> None:
    directory = corpus(tmp_path, short=SHORT, other=OTHER)

    async def said(asked: worker.Turn) -> StreamInput:
        listener = Listener()
        scripted.ScriptedWorker(directory, 0, "other").run(asked, listener)
        await asyncio.wait_for(listener.over.wait(), machinetime.HANG_S)
        return listener.events[0]

    assert asyncio.run(said(turn(target="gpt-4o"))) == TextDelta("other")
    assert asyncio.run(said(turn(target="short"))) == TextDelta("other")
    assert asyncio.run(said(turn(target="gpt-4o", transcript="short"))) == SAID[0]
    assert scripted.ScriptedWorker(directory, 0, "other").accepts == worker.AnyModel()
    with pytest.raises(TranscriptError, match="no transcript 'nobody'"):
        scripted.ScriptedWorker(directory, 0, "nobody")


@pytest.mark.parametrize(("speed", "seconds"), [(1, 20.0), (10, 2.0), (0.5, 40.0), (0, 0.0)])
def test_it_plays_in_recorded_time_or_a_multiple_of_it(
    tmp_path: Path, speed: float, seconds: float
) -> None:
    slow = [
        OPENED,
        record(5_000, "text_delta", text="a"),
        record(20_000, "turn_finished", reason="stop"),
        terminal(20_000, "stop"),
    ]
    player = scripted.ScriptedWorker(corpus(tmp_path, short=slow), speed)

    async def main() -> None:
        loop, listener = asyncio.get_running_loop(), Listener()
        begun = loop.time()
        player.run(turn(), listener)
        await listener.over.wait()
        assert loop.time() - begun == pytest.approx(seconds, abs=0.5)

    virtualtime.run(main())


def test_a_transcript_that_is_lent_is_played_at_its_own_speed_while_it_is_there(
    tmp_path: Path,
) -> None:
    (mine := tmp_path / "mine").mkdir()
    lent = scripted.load_file(logs.write(tmp_path / "lent.jsonl", *SHORT))
    player = scripted.ScriptedWorker(corpus(mine, other=OTHER), 0)
    player.accept_any()
    assert player.accepts == worker.AnyModel()
    player.lent["scope/1"] = scripted.Lent(lent.choices, 0.001)
    assert player.models() == ("other",)

    async def main() -> None:
        loop, listener = asyncio.get_running_loop(), Listener()
        begun = loop.time()
        player.run(turn(transcript="scope/1"), listener)
        await listener.over.wait()
        assert listener.events == SAID
        assert loop.time() - begun > 10

    virtualtime.run(main())
    del player.lent["scope/1"]
    with pytest.raises(worker.TurnRefused):
        slices.at_once(player.check(turn(transcript="scope/1")))


def test_everything_in_a_directory_is_loaded_in_its_order(tmp_path: Path) -> None:
    corpus(tmp_path, b=SHORT, a=OTHER)
    first, again = stream("s1", "x", "1"), stream("s2", "x", "2")
    logs.write(tmp_path / "events-00000001.jsonl", *first, *again)
    found = scripted.load_all(tmp_path)
    assert [each.name for each in found] == ["a", "b", "x", "x"]
    assert [each.opened.request_id for each in found] == ["req_1", "req_1", "x", "x"]
    assert scripted.load(tmp_path)["x"] == found[-1].choices


def test_streams_take_turns(tmp_path: Path) -> None:
    long = [
        OPENED,
        *(record(0, "text_delta", text=str(number)) for number in range(150)),
        record(0, "turn_finished", reason="stop"),
        terminal(0, "stop"),
    ]
    player = scripted.ScriptedWorker(corpus(tmp_path, short=long), 0)
    order: list[int] = []

    class Choice(Listener):
        def event(self, event: StreamInput) -> None:
            super().event(event)
            order.append(getattr(event, "choice", 0))

    async def main() -> None:
        listeners = [Choice(), Choice()]
        for choice, listener in enumerate(listeners):
            player.run(turn(choice=choice), listener)
        for listener in listeners:
            await listener.over.wait()
            texts = [event.text for event in listener.events if isinstance(event, TextDelta)]
            assert texts == [str(number) for number in range(150)]

    asyncio.run(main())
    runs = [(choice, len(list(group))) for choice, group in itertools.groupby(order)]
    assert runs == [(0, 64), (1, 64), (0, 64), (1, 64), (0, 23), (1, 23)]


@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_playback_that_is_cancelled_says_no_more(tmp_path: Path, at: int) -> None:
    player = scripted.ScriptedWorker(corpus(tmp_path, short=SHORT), 0)

    class Leaver(Listener):
        playback: worker.RunningTurn

        def event(self, event: StreamInput) -> None:
            super().event(event)
            if len(self.events) == at:
                self.playback.cancel()
                self.playback.cancel()

    async def main() -> None:
        leaver, witness = Leaver(), Listener()
        leaver.playback = player.run(turn(), leaver)
        if at == 0:
            leaver.playback.cancel()
        player.run(turn(), witness)
        await witness.over.wait()
        assert leaver.events == SAID[:at]

    asyncio.run(main())


def test_a_bug_met_while_a_transcript_is_played_ends_its_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Feed:
        def __init__(self) -> None:
            self.events: list[events.StreamInput] = []

        def event(self, event: events.StreamInput) -> None:
            self.events.append(event)

    def broken(*_: object) -> None:
        raise RuntimeError("planted")

    async def scene() -> None:
        feed = Feed()
        runner = scripted.ScriptedWorker(Path(__file__).parents[2] / "transcripts", 0)
        monkeypatch.setattr(scripted.Playback, "_play_due", broken)
        turn = worker.Turn(
            stream_id="st_1", request_id="r", target=runner.models()[0], messages=()
        )
        with structlog.testing.capture_logs() as lines:
            runner.run(turn, feed)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        (failed,) = feed.events
        assert isinstance(failed, events.TurnFailed)
        assert failed.code == "internal_error"
        assert [line["stream"] for line in lines] == ["st_1"]

    asyncio.run(scene())


def test_items_that_are_told_apart_are_joined_for_a_client_that_has_one_text_of_each() -> None:
    apart: list[StreamInput] = [
        ReasoningDelta("a"),
        events.ReasoningPartStarted(),
        ReasoningDelta("b"),
        events.ReasoningCompleted("sealed"),
        events.MessageStarted("commentary"),
        ReasoningDelta("c", kind="commentary"),
        ReasoningDelta("d", kind="commentary"),
        events.MessageCompleted("commentary"),
        events.MessageStarted(),
        events.MessageCompleted(),
        events.MessageStarted("final_answer"),
        TextDelta("e"),
        TextDelta("f"),
        events.MessageStarted(),
        TextDelta("g"),
        TurnFinished("stop"),
    ]
    joined = scripted.joined(Cue(at, event) for at, event in enumerate(apart))
    assert [cue.event for cue in joined] == [
        ReasoningDelta("a"),
        ReasoningDelta("\n\nb"),
        ReasoningDelta("\n\nc", kind="commentary"),
        ReasoningDelta("d", kind="commentary"),
        TextDelta("e"),
        TextDelta("f"),
        TextDelta("\n\ng"),
        TurnFinished("stop"),
    ]
    assert [cue.at_us for cue in joined] == [0, 2, 5, 6, 11, 12, 14, 15]
