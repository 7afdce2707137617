"""The records of a stream, folded: what was asked, what came of it, and what is missing."""

import functools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.log.content import mask
from engine.log.find import stories
from engine.log.read import segments
from engine.log.timeline import fold, timeline
from machines import events
from tests.support.logs import corpus, logs, told
from tests.support.process import growth
from tests.tools import capture

FINISHED = events.TurnFinished("stop")
COUNTED = events.TokensCounted(events.Usage(8, 35))


def story_of(name: str) -> stories.Story:
    return told.story_of(capture.DIRECTORY / f"{name}.jsonl", name)


@pytest.mark.parametrize("name", corpus.NAMES)
def test_every_transcript_is_told_as_its_last_record_has_it(name: str) -> None:
    on_file, found = corpus.on_file(name), fold.fold(story_of(name))
    last = on_file.terminal
    assert (found.ending.kind, found.ending.code) == (last.kind, last.code)
    assert found.received.usage == last.usage
    assert sum(call.fate == "sent" for call in found.calls) == last.tool_calls
    assert found.received.first_us is None or found.received.first_us >= 0
    assert found.gaps[0].end_us - found.gaps[0].start_us == last.longest_gap_us
    assert found.gaps[0].owner == last.longest_gap_owner
    assert found.ending.at_us == last.duration_us
    assert (found.problems, found.later) == ((), False)
    assert found.verdict
    assert found.next_step


@pytest.mark.parametrize("name", corpus.NAMES)
def test_every_record_is_in_one_mark(name: str) -> None:
    story = story_of(name)
    marks = fold.fold(story).marks
    assert sum(mark.records for mark in marks) == len(story.records)
    assert [mark.seq for mark in marks] == sorted(mark.seq for mark in marks)


def test_the_text_of_an_answer_is_counted_as_its_client_got_it(tmp_path: Path) -> None:
    happened = [*told.texts("Hello", " wo##rld", " and more"), (2, FINISHED)]
    found = told.told(tmp_path, *happened, stop=("##",))
    assert (found.received.characters, found.received.whole) == (len("Hello wo"), True)
    assert found.evidence[0] == "It was cut here by a stop sequence that the request has."


def test_a_masked_stream_is_told_as_a_full_one_is_but_for_its_texts(tmp_path: Path) -> None:
    called = events.ToolCallDelta(0, "call_1", "look", '{"a":1}')
    happened = [*told.texts("Hello", " world"), (2, called), (2.1, events.TurnFinished("stop"))]
    full = told.told(tmp_path / "full", *happened)
    masked = told.told(tmp_path / "masked", *happened, content="masked")
    assert (full.request.content, masked.request.content) == ("full", "masked")
    assert masked.received == full.received
    assert masked.phases == full.phases
    (call,), (same,) = full.calls, masked.calls
    assert (call.size, call.parses, call.fate) == (7, True, "sent")
    assert (same.name, same.size, same.parses, same.fate) == ("look", 7, None, "sent")
    assert "Hello" in full.marks[1].text
    assert masked.marks[1].text == "***** *****"


def test_a_stream_without_an_end_is_open(tmp_path: Path) -> None:
    found = told.told(tmp_path, *told.texts("Hel"))
    assert (found.ending.kind, found.received.status, found.received.whole) == ("open", 200, False)
    assert "still running" in found.verdict


def test_one_that_a_later_start_closed_says_so(tmp_path: Path) -> None:
    end = {"kind": "shutdown", "emission_trigger": "recovery"}
    found = told.told(tmp_path, *told.texts("Hel"), end=end)
    assert "its next start wrote this end" in found.verdict
    assert found.ending.party == "server"


def test_a_refusal_has_a_timeline_of_its_own(tmp_path: Path) -> None:
    refused = {
        "stream": "rj_1",
        "event": "request_rejected",
        "request_id": "req_1",
        "code": "request_too_large",
        "status": 413,
        "count": 3,
        "route": "/v1/chat/completions",
        "state": "rejected",
        "out": [],
    }
    found = told.of_records(tmp_path, refused, stream="rj_1")
    assert (found.ending.kind, found.ending.status, found.ending.party) == (
        "rejected",
        413,
        "client",
    )
    assert found.verdict == "The request is too large. It stands for 3 of the kind."
    assert found.request.endpoint == "/v1/chat/completions"


def damaged(tmp_path: Path, gone: range) -> timeline.Timeline:
    """The timeline of a stream that lost some of its records."""
    happened = [*told.texts("a", "b", "c", "d", "e"), (2, FINISHED)]
    directory = told.write(tmp_path / "log", *happened)
    (segment,) = segments.list_segments(directory)
    lines = segment.path.read_bytes().splitlines(keepends=True)
    kept = [line for number, line in enumerate(lines) if number - 1 not in gone]
    path = tmp_path / "events-00000002.jsonl"
    path.write_bytes(b"".join(kept))
    return fold.fold(told.story_of(path, "st_1"))


def test_records_that_are_missing_from_the_middle_are_said_to_be(tmp_path: Path) -> None:
    found = damaged(tmp_path, range(2, 4))
    assert "records 2 to 3 of this stream are missing" in found.problems[0]
    assert found.ending.kind == "completed"


def test_a_beginning_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    found = damaged(tmp_path, range(3))
    assert found.problems[0] == "the beginning of this stream is not in the log any more"
    assert (found.request.model, found.ending.kind) == ("", "completed")


def test_a_call_behind_a_hole_is_not_said_to_have_gone_out(tmp_path: Path) -> None:
    head = {"event": "opened", "state": "held", "out": [], "request_id": "r", "schema": 2}
    head |= msgspec.to_builtins(logs.opened(), builtin_types=(msgspec.Raw,))
    head.pop("request", None)
    call = {"event": "tool_called", "call_id": "c", "name": "look", "arguments": "{}"}
    last = {"event": "terminal", "kind": "completed", "emission_trigger": "turn_finished"}
    state = {"state": "tool_buffering", "out": ["head", "role"], "seq": 4}
    state["states"] = ["content", "tool_buffering"]
    found = told.of_records(
        tmp_path,
        head,
        call | state,
        last | {"status": 200, "state": "done", "out": [], "seq": 5},
    )
    assert [call.fate for call in found.calls] == ["unknown"]
    assert found.problems


def test_what_today_would_do_otherwise_is_told_as_it_was_recorded(tmp_path: Path) -> None:
    head = {"event": "opened", "state": "held", "out": [], "request_id": "r", "schema": 2}
    head |= msgspec.to_builtins(logs.opened(), builtin_types=(msgspec.Raw,))
    head.pop("request", None)
    call = {"event": "tool_called", "call_id": "c", "name": "look", "arguments": "{}"}
    begun = {"state": "tool_buffering", "out": ["head", "role"]}
    begun["states"] = ["content", "tool_buffering"]
    finished = {"event": "turn_finished", "reason": "stop", "state": "done"}
    last = {"event": "terminal", "kind": "completed", "emission_trigger": "turn_finished"}
    found = told.of_records(
        tmp_path,
        head,
        call | begun,
        finished | {"out": ["finish", "done"]},  # an older one may have withheld the call
        last | {"status": 200, "state": "done", "out": []},
    )
    assert [call.fate for call in found.calls] == ["unknown"]


def test_what_a_later_version_wrote_is_left_out_and_said(tmp_path: Path) -> None:
    directory = told.write(tmp_path, *told.texts("a"), (2, FINISHED))
    (segment,) = segments.list_segments(directory)
    logs.rewrite(segment.path, 3, lambda members: members.update(colour="red"))
    story = told.story_of(segment.path, "st_1")
    found = fold.fold(story)
    assert found.later
    assert [mark.event for mark in found.marks] == ["opened", "text_delta"]


def test_no_record_is_no_timeline() -> None:
    with pytest.raises(ValueError, match="st_9 has no record"):
        fold.fold(stories.Story("st_9", ()))


def test_logs_of_schema_1_are_told() -> None:
    reading = segments.read(logs.SCHEMA_1)
    by_stream: dict[str, list[segments.Record]] = {}
    for record in reading:
        by_stream.setdefault(record.stream, []).append(record)
    for stream, records in by_stream.items():
        found = fold.fold(stories.Story(stream, tuple(records)))
        assert found.verdict
        assert found.problems == ()


def test_a_clock_that_stands_still_is_no_matter(tmp_path: Path) -> None:
    happened = [(0.0, events.TextDelta(text)) for text in "abc"]
    found = told.told(tmp_path, *happened, (0.0, FINISHED))
    assert (found.ending.at_us, found.gaps) == (0, ())
    assert found.received.characters == 3


@pytest.mark.parametrize("content", ["full", "masked"])
def test_a_long_stream_is_told_in_linear_time(tmp_path: Path, content: str) -> None:
    def prepare(deltas: int) -> Callable[[], object]:
        happened = [(1 + n / 1000, events.TextDelta("word ")) for n in range(deltas)]
        directory = told.write(
            tmp_path / str(deltas), *happened, (deltas, FINISHED), content=content
        )
        story = stories.story(directory, "st_1")
        assert sum(mark.records for mark in fold.fold(story).marks) == deltas + 3
        return lambda: fold.fold(story)

    growth.check_linear(functools.cache(prepare), 4_000)


FAILED = events.TurnFailed("upstream_error", "upstream_disconnected", "No.")


def test_of_an_answer_in_one_body_that_failed_the_client_got_the_error_alone(
    tmp_path: Path,
) -> None:
    happened = [*told.texts("Hello", " world"), (2, FAILED)]
    end = {"status": 502, "frames": 1, "body_bytes": 122}
    got = told.told(tmp_path, *happened, streaming=False, end=end).received
    assert (got.status, got.whole, got.error) == (502, False, True)
    assert (got.characters, got.unsent) == (0, len("Hello world"))


def test_of_a_stream_that_failed_the_client_got_what_came_before(tmp_path: Path) -> None:
    got = told.told(tmp_path, *told.texts("Hello", " world"), (2, FAILED)).received
    assert (got.status, got.whole, got.error) == (200, False, True)
    assert (got.characters, got.unsent) == (len("Hello world"), 0)


def test_a_body_that_is_whole_went_out(tmp_path: Path) -> None:
    happened = [*told.texts("Hello"), (2, FINISHED), (2.1, COUNTED)]
    got = told.told(tmp_path, *happened, streaming=False).received
    assert (got.whole, got.error, got.characters, got.unsent) == (True, False, 5, 0)


def test_of_a_body_that_a_kill_took_nothing_went_out(tmp_path: Path) -> None:
    end = {"kind": "shutdown", "emission_trigger": "recovery"}
    happened = told.texts("Hel")
    found = told.told(tmp_path / "ended", *happened, streaming=False, end=end)
    assert (found.received.status, found.received.unsent, found.ending.status) == (None, 3, 0)
    found = told.told(tmp_path / "open", *happened, streaming=False)
    assert (found.received.status, found.received.unsent) == (None, 3)


@pytest.mark.parametrize("content", ["full", "masked"])
def test_a_refused_model_is_named(tmp_path: Path, content: mask.Content) -> None:
    event_log = logs.open_log(tmp_path, content=content)
    message = "The model 'gpt-9' does not exist or you do not have access to it."
    event_log.stream("rj_1").close(
        events.RequestRejected(
            request_id="req_1", code="model_not_found", status=404, message=message, model="gpt-9"
        ),
        "rejected",
    )
    event_log.close()
    found = fold.fold(stories.story(tmp_path, "rj_1"))
    assert "The model `gpt-9` is none that is known" in found.verdict
    assert (found.request.model, found.request.content) == ("gpt-9", content)
    assert found.evidence == ((f"The client was told: {message}",) if content == "full" else ())


def test_a_model_that_its_provider_does_not_know_is_named(tmp_path: Path) -> None:
    failed = events.TurnFailed("upstream_error", "model_not_found", "No.", status=404)
    found = told.told(tmp_path, (1, failed), model="codex-5", target="gpt-9")
    assert "The provider does not know the model `gpt-9`" in found.verdict
    assert found.ending.party == "client"


def test_a_turn_that_never_had_a_place_is_told_from_one_that_was_asked(tmp_path: Path) -> None:
    late = (8, events.TimerFired("first_chunk"))
    queued = told.told(tmp_path / "a", late)
    assert (queued.ending.party, "not asked yet" in queued.verdict) == ("worker", True)
    assert "8.00 s: the turn waited for a free place on a worker." in queued.evidence[0]
    sent = (7.99, events.RpcSent("turn/start", 1))
    asked = told.told(tmp_path / "b", sent, late)
    assert (asked.ending.party, "not asked yet" in asked.verdict) == ("provider", False)
    upstream = told.told(tmp_path / "c", late, worker="upstream")
    assert upstream.ending.party == "provider"


def test_why_a_client_left_follows_from_its_times(tmp_path: Path) -> None:
    left = events.ClientGone("left")
    found = told.told(tmp_path / "a", (0.02, left), end={"status": 0})
    assert "20 ms after its request" in found.verdict
    found = told.told(tmp_path / "b", *told.texts("Hel"), (47, left))
    assert "in a silence of the model" in found.verdict
    assert "PROXY_SSE_KEEPALIVE_MS" in found.next_step
