"""A replay proves that the same bytes come out, or shows the first step that does not."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings

from engine.log import replay
from engine.log.read import segments
from machines import events
from machines.stream import machine as stream
from server import renderers
from tests.support.logs import logs
from tests.support.machines import stories

KEY = "00112233445566778899aabbccddeeff"

BODY = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795293345,"model":"m",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795293345,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}]}\n\n'
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795293345,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"#b"},"logprobs":null,"finish_reason":null}]}\n\n'
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795293345,"model":"m",'
    b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
"""What the client of `FULL` got."""

HASH = hashlib.blake2b(BODY, digest_size=16, key=bytes.fromhex(KEY)).hexdigest()

USAGE = {"prompt_tokens": 10, "completion_tokens": 5}

FULL: list[logs.Record] = [
    {
        "event": "opened",
        "request_id": "req_1",
        "completion_id": "chatcmpl-1",
        "created": 1795293345,
        "model": "m",
        "target": "gpt-5.5",
        "worker": "codex",
        "stop": ["##"],
        "hash_key": KEY,
        "state": "held",
        "out": [],
    },
    {
        "event": "text_delta",
        "text": "a#",
        "state": "content",
        "out": ["head", "role", "content"],
        "released": 1,
    },
    {
        "event": "text_delta",
        "text": "b",
        "state": "content",
        "out": ["content"],
        "released": 2,
    },
    {"event": "tokens_counted", "usage": USAGE, "state": "content", "out": []},
    {"event": "turn_finished", "reason": "stop", "state": "done", "out": ["finish", "done"]},
    {
        "event": "terminal",
        "kind": "completed",
        "emission_trigger": "turn_finished",
        "status": 200,
        "finish_reasons": ["stop"],
        "finish_words": [None],
        "usage": USAGE,
        "frames": 5,
        "body_bytes": len(BODY),
        "body_hash": HASH,
        "state": "done",
        "out": [],
    },
]
"""A stream as a full log keeps it."""


CALL = "<use_tool><name>a</name><x>1</x></use_tool>"

MASKED_CALL = "<***_****><****>*</****><*>*</*></***_****>"
"""The same as a masked log keeps it: no scanner would find a call there."""

TOOLS: list[logs.Record] = [
    FULL[0] | {"content": "masked", "hash_key": None, "stop": [], "tools": {"names": ["a"]}},
    {
        "event": "text_delta",
        "text": f"* {MASKED_CALL[:20]}",
        "state": "tool_buffering",
        "out": ["head", "role", "content", "tool_buffer_started"],
        "released": 22,
        "pieces": [["text", 2, ""], ["started", 0, ""]],
    },
    {
        "event": "text_delta",
        "text": MASKED_CALL[20:],
        "state": "tool_buffering",
        "out": ["tool_buffer_flushed", "tool_call"],
        "released": len(CALL) - 20,
        "pieces": [["call", len(CALL), "a"]],
    },
    {
        "event": "tool_call_delta",
        "name": "b",
        "arguments": '{"*":*}',
        "state": "tool_buffering",
        "out": ["tool_call"],
        "released": 0,
        "joined": [[0, "b"]],
    },
    {
        "event": "turn_finished",
        "reason": "stop",
        "state": "done",
        "out": ["tool_counts", "finish", "done"],
    },
    FULL[-1] | {"finish_reasons": ["tool_calls"], "finish_words": ["stop"], "usage": None},
]
"""A stream with calls as a masked log keeps it."""


def changed(number: int, **members: Any) -> list[logs.Record]:
    """`FULL` with other members in one of its records; all of them, where its event is another."""
    before = {} if "event" in members else FULL[number]
    own = {"out": FULL[number]["out"], "state": FULL[number]["state"]}
    return [own | before | members if at == number else each for at, each in enumerate(FULL)]


MASKED = changed(0, content="masked", hash_key=None)
MASKED[1] = MASKED[1] | {"text": "*#"}
MASKED[2] = MASKED[2] | {"text": "*"}
"""The same as a masked log keeps it."""


def run(tmp_path: Path, records: list[logs.Record], request: str | None = None) -> replay.Replay:
    found = replay.Replay(renderers.reply, request)
    found.run(segments.read(logs.write(tmp_path / "log.jsonl", *records)))
    return found


def divergence(tmp_path: Path, records: list[logs.Record]) -> replay.Divergence:
    found = run(tmp_path, records).divergence
    assert found is not None
    return found


def test_a_full_log_gives_the_same_steps_and_the_same_bytes(tmp_path: Path) -> None:
    found = run(tmp_path, FULL)
    assert found.divergence is None
    assert found.tally == replay.Tally(streams=1, full=1, records=6)


def test_a_masked_log_gives_the_same_steps(tmp_path: Path) -> None:
    found = run(tmp_path, MASKED)
    assert found.divergence is None
    assert found.tally == replay.Tally(streams=1, full=0, records=6)


def test_a_masked_log_gives_the_same_calls(tmp_path: Path) -> None:
    found = run(tmp_path, TOOLS)
    assert found.divergence is None
    assert found.tally == replay.Tally(streams=1, full=0, records=6)


@pytest.mark.parametrize(
    ("number", "members", "recorded", "replayed"),
    [
        (
            2,
            {"pieces": [["withheld", len(CALL), "a"]]},
            "tool_buffering [tool_buffer_flushed tool_call] released 23, withheld 43 a",
            "tool_buffering [tool_buffer_flushed] released 23, withheld 43 a",
        ),
        (
            3,
            {"joined": []},
            "tool_buffering [tool_call] released 0",
            "tool_buffering [] released 0",
        ),
    ],
)
def test_a_masked_call_that_is_said_differently_is_found(
    tmp_path: Path, number: int, members: dict[str, Any], recorded: str, replayed: str
) -> None:
    records = [each | members if at == number else each for at, each in enumerate(TOOLS)]
    last = divergence(tmp_path, records).rows[-1]
    assert (last.recorded, last.replayed) == (recorded, replayed)


@pytest.mark.parametrize("content", ["full", "masked"])
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories.stories(until_ended=True, tools=stories.tools(), include_usage=False))
def test_whatever_a_stream_went_through_its_log_replays(
    tmp_path: Path, content: Literal["full", "masked"], story: stories.Story
) -> None:
    with tempfile.TemporaryDirectory(dir=tmp_path) as directory:
        event_log = logs.open_log(Path(directory), content=content)
        written = event_log.stream("s")
        written.open(story.opened)
        machine = stream.Stream(story.opened)
        for event, step in stories.steps(machine, story.events):
            written.append(event, step)
        assert machine.kind is not None
        reasons = tuple(choice.reason for choice in machine.choices)
        terminal = events.Terminal(
            kind=machine.kind,
            emission_trigger=machine.emission_trigger,
            status=200,
            finish_reasons=reasons,
            usage=machine.totals.usage,
        )
        written.close(terminal, machine.position)
        event_log.close()
        found = replay.Replay(renderers.reply)
        found.run(segments.read(Path(directory)))
        assert found.divergence is None
        assert found.tally.streams == 1


@pytest.mark.parametrize(
    ("number", "members", "recorded", "replayed"),
    [
        (
            1,
            {"state": "role"},
            "role [head role content] released 1",
            "content [head role content] released 1",
        ),
        (2, {"out": []}, "content [] released 2", "content [content] released 2"),
        (
            2,
            {"released": 1},
            "content [content] released 1",
            "content [content] released 2",
        ),
        (
            2,
            {"cut": "length"},
            "content [content] released 2, cut by length",
            "content [content] released 2",
        ),
        (
            2,
            {"text": "#"},
            "content [content] released 2",
            "done [cancel_turn finish done] released 0, cut by stop",
        ),
        (3, {"event": "item_started", "item": "x", "state": "held"}, "held []", "content []"),
        (
            3,
            {"event": "timer_fired", "timer": "idle"},
            "content []",
            "failed [failure]",
        ),
    ],
)
def test_a_step_that_comes_out_differently_is_shown_beside_what_was_recorded(
    tmp_path: Path, number: int, members: dict[str, Any], recorded: str, replayed: str
) -> None:
    found = divergence(tmp_path, changed(number, **members))
    assert found.where == f"{tmp_path / 'log.jsonl'}:{number + 1}"
    assert (found.stream, found.request_id) == ("st_1", "req_1")
    assert [row.seq for row in found.rows] == list(range(1, number + 1))
    last = found.rows[-1]
    assert (last.recorded, last.replayed) == (recorded, replayed)
    assert all(row.recorded == row.replayed for row in found.rows[:-1])


def test_a_masked_decision_that_does_not_fit_its_outputs_is_found(tmp_path: Path) -> None:
    records = [*MASKED]
    records[2] = records[2] | {"cut": "stop"}
    last = divergence(tmp_path, records).rows[-1]
    assert last.recorded == "content [content] released 2, cut by stop"
    assert last.replayed == "done [content cancel_turn finish done] released 2, cut by stop"


def test_an_event_that_is_illegal_today_is_said_to_be(tmp_path: Path) -> None:
    heartbeat = {"event": "timer_fired", "timer": "heartbeat", "state": "held", "out": []}
    found = divergence(tmp_path, [FULL[0], heartbeat, *FULL[1:]])
    assert found.rows[-1].replayed == "stream: event 'keepalive' is illegal in state 'held'"


MOVED: logs.Record = {
    "event": "turn_changed",
    "trigger": "spoke",
    "before": "silent",
    "after": "speaking",
    "state": "held",
    "out": [],
}
"""A change of a turn, behind the opening of a stream."""


def test_the_changes_of_a_turn_are_held_against_its_machine(tmp_path: Path) -> None:
    assert run(tmp_path, [FULL[0], MOVED, *FULL[1:]]).tally.full == 1
    found = run(tmp_path, [FULL[0], MOVED | {"after": "over"}, *FULL[1:]]).divergence
    assert found is not None
    assert found.rows[-1].recorded == "turn: silent -spoke-> over"
    assert found.rows[-1].replayed == "no such change"


def test_another_target_begins_another_turn(tmp_path: Path) -> None:
    """How the turn that was given up ended is in the life of its process."""
    fallback: logs.Record = {
        "event": "fallback_taken",
        "model": "m",
        "worker": "codex",
        "code": "request_timeout",
        "state": "held",
        "out": [],
    }
    assert run(tmp_path, [FULL[0], MOVED, fallback, MOVED, *FULL[1:]]).tally.full == 1
    assert run(tmp_path, [FULL[0], MOVED, MOVED, *FULL[1:]]).divergence is not None


@pytest.mark.parametrize(("after", "wrong"), [("over", "no such change"), ("speaking", "")])
def test_what_came_late_is_held_against_its_machine_too(
    tmp_path: Path, after: str, wrong: str
) -> None:
    late = MOVED | {"stream": "wk_1", "late_of": "s", "after": after, "state": "ready"}
    found = run(tmp_path, [*FULL, late])
    assert found.tally.full == 1
    assert (found.divergence.rows[0].replayed if found.divergence else "") == wrong


def test_other_bytes_from_the_same_steps_are_found(tmp_path: Path) -> None:
    found = divergence(tmp_path, changed(2, text="c"))
    assert found.where.endswith(":6")
    last = found.rows[-1]
    assert last.event == "terminal"
    assert last.recorded.endswith(f"{len(BODY)} bytes {HASH}")
    assert f"{len(BODY)} bytes " in last.replayed
    assert HASH not in last.replayed


@pytest.mark.parametrize(
    ("members", "recorded", "replayed"),
    [
        ({"kind": "truncated"}, "truncated, turn_finished", "completed, turn_finished"),
        ({"emission_trigger": "text_delta"}, "completed, text_delta", "completed, turn_finished"),
        ({"finish_reasons": ["length"]}, "('length',)", "('stop',)"),
        ({"usage": None}, "None", "completion_tokens=5"),
        ({"body_bytes": 7}, "7 bytes", f"{len(BODY)} bytes"),
    ],
)
def test_an_end_of_another_kind_is_found(
    tmp_path: Path, members: dict[str, Any], recorded: str, replayed: str
) -> None:
    last = divergence(tmp_path, changed(5, **members)).rows[-1]
    assert recorded in last.recorded
    assert replayed in last.replayed


def test_a_stream_that_is_still_open_in_the_machine_has_not_ended(tmp_path: Path) -> None:
    last = divergence(tmp_path, [*FULL[:4], FULL[5]]).rows[-1]
    assert last.replayed.startswith("open, , (None,), ")


def test_a_divergence_is_shown_with_the_steps_before_it(tmp_path: Path) -> None:
    alive = {"event": "item_started", "item": "x", "state": "held", "out": []}
    records = [FULL[0], *[alive] * 20, alive | {"state": "done"}, *FULL[1:]]
    found = divergence(tmp_path, records)
    assert [row.seq for row in found.rows] == [16, 17, 18, 19, 20, 21]


def test_streams_are_told_apart_and_the_first_divergence_ends_the_replay(tmp_path: Path) -> None:
    other = [record | {"stream": "st_2"} for record in changed(0, request_id="req_2")]
    woven = [record for pair in zip(FULL, other, strict=True) for record in pair]
    found = run(tmp_path, woven)
    assert found.divergence is None
    assert found.tally == replay.Tally(streams=2, full=2, records=12)
    woven[3] = woven[3] | {"state": "role"}
    found = run(tmp_path, woven)
    assert found.divergence is not None
    assert (found.divergence.stream, found.divergence.request_id) == ("st_2", "req_2")
    assert found.tally == replay.Tally(records=4)


@pytest.mark.parametrize("name", ["req_2", "st_2"])
def test_one_stream_can_be_replayed_alone(tmp_path: Path, name: str) -> None:
    broken = changed(1, state="role")
    other = [record | {"stream": "st_2"} for record in changed(0, request_id="req_2")]
    found = run(tmp_path, [*broken, *other], name)
    assert found.divergence is None
    assert found.tally == replay.Tally(streams=1, full=1, records=6)
    assert run(tmp_path, [*broken, *other], "nobody").tally == replay.Tally()


def test_a_stream_without_an_end_is_counted_as_unfinished(tmp_path: Path) -> None:
    assert run(tmp_path, FULL[:-1]).tally == replay.Tally(records=5, unfinished=1)


def test_an_end_that_a_later_start_wrote_is_not_compared(tmp_path: Path) -> None:
    closed = {
        "event": "terminal",
        "kind": "shutdown",
        "emission_trigger": "recovery",
        "status": 200,
        "state": "content",
        "out": [],
    }
    found = run(tmp_path, [*FULL[:3], closed])
    assert found.divergence is None
    assert found.tally == replay.Tally(records=4, unfinished=1)


def test_a_stream_whose_beginning_is_gone_is_skipped(tmp_path: Path) -> None:
    rest = [record | {"seq": seq} for seq, record in enumerate(FULL) if seq]
    assert run(tmp_path, rest).tally == replay.Tally(skipped=1)


def test_the_bytes_of_a_body_are_compared_too(tmp_path: Path) -> None:
    body = (
        b'{"id":"chatcmpl-1","object":"chat.completion","created":1795293345,"model":"m","choices":'
        b'[{"index":0,"message":{"role":"assistant","content":"a#b","refusal":null,"annotations":'
        b'[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":10,'
        b'"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":0}}}'
    )
    hashed = hashlib.blake2b(body, digest_size=16, key=bytes.fromhex(KEY)).hexdigest()
    records = changed(0, streaming=False)
    records[4] = records[4] | {"out": ["finish", "usage", "done"]}
    records[5] = records[5] | {"body_bytes": len(body), "body_hash": hashed}
    assert run(tmp_path, records).tally == replay.Tally(streams=1, full=1, records=6)


@pytest.mark.parametrize("segment", [0, 1])
def test_what_begins_behind_a_corrupt_place_is_compared(tmp_path: Path, segment: int) -> None:
    event_log = logs.open_log(tmp_path, segment_bytes=2000, content="full")
    for number in range(12):
        logs.play(event_log, f"s{number}", "a", "b")
    event_log.close()
    found = segments.list_segments(tmp_path)
    data = bytearray(found[segment].path.read_bytes())
    data[len(data) // 2] ^= 1
    found[segment].path.write_bytes(data)
    run = replay.Replay(renderers.reply)
    reading = segments.read(tmp_path)
    run.run(reading)
    assert reading.counts["corrupt"]
    assert run.divergence is None
    assert 8 <= run.tally.streams < 12
