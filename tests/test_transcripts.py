"""Every transcript: the same steps, the bytes on file, the same answer however it is asked for."""

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import scripted
from engine.log import replay
from engine.log.format import sealed
from engine.log.read import segments
from machines import events
from server.renderers import reply
from tests.codex import toolwire
from tests.support.client import chatclient, chatwire
from tests.support.logs.corpus import CHAT, NAMES, OnFile, on_file
from tests.support.logs.logs import Clock, begin, open_log, write_stream
from tests.support.process import serving
from tests.tools import capture, normalise
from tests.tools.scenarios import REQUIRED

WHOLE = ("completed", "truncated")
"""Kinds of an end that has a finish."""

each = pytest.mark.parametrize("name", NAMES)
each_chat = pytest.mark.parametrize("name", CHAT)


@pytest.fixture(scope="module")
def player() -> Iterator[serving.Serve]:
    """A server that plays the corpus as fast as it goes."""
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        yield server


def ask(player: serving.Serve, name: str, **options: Any) -> chatclient.Answer:
    """Ask a server for a transcript with the transcript's own request."""
    request = {**on_file(name).request, **options}
    return chatclient.ask(player, "", {"x-turntape-transcript": name}, **request)


def play(player: serving.Serve, name: str, **options: Any) -> toolwire.Told:
    """The same, of a transcript that may have calls, in the form its own client got them in."""
    transcript = on_file(name)
    headers = {
        "x-turntape-transcript": name,
        "x-proxy-output-mode": transcript.opened.tools.output_mode,
    }
    request = {"stream_options": None, **transcript.request, **options}
    return toolwire.ask(player, "", headers, **request)


def evened(body: bytes) -> bytes:
    """A body with the ids and times of a transcript."""
    body = re.sub(rb'"id":"call_[0-9a-f]{24}_', b'"id":"call_1_', body)
    body = re.sub(rb'"id":"chatcmpl-\w+"', b'"id":"chatcmpl-1"', body)
    return re.sub(rb'"created":\d+', b'"created":%d' % (normalise.EPOCH_US // 10**6), body)


def tracks(body: bytes) -> dict[int | None, list[bytes]]:
    """A stream's messages by choice: how choices interleave is a matter of time."""
    found: dict[int | None, list[bytes]] = {}
    for message in body.split(b"\n\n"):
        index = re.search(rb'"choices":\[\{"index":(\d)', message)
        found.setdefault(int(index[1]) if index else None, []).append(message)
    return found


def test_every_required_transcript_is_on_file() -> None:
    assert capture.missing(capture.DIRECTORY) == []
    assert set(REQUIRED) <= set(NAMES)


def test_the_command_replays_the_corpus() -> None:
    done = serving.command("replay", str(capture.DIRECTORY))
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith(f"{len(NAMES)} streams, ")
    assert done.stdout.endswith(f"same steps; {len(NAMES)} with the same bytes, 0 masked\n")


def test_the_command_finds_a_changed_step_in_the_corpus(tmp_path: Path) -> None:
    corpus = shutil.copytree(capture.DIRECTORY, tmp_path / "transcripts")
    path = corpus / "usage-on.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    body, _, _ = lines[-2].replace(b'"stop"', b'"length"').partition(b',"crc"')
    lines[-2] = sealed.seal(body)
    path.write_bytes(b"".join(lines))
    done = serving.command("replay", str(corpus))
    assert done.returncode == 1, done.stdout
    assert f"{path}:" in done.stdout


@each
def test_a_transcript_replays(name: str) -> None:
    run = replay.Replay(reply)
    reading = segments.read(capture.DIRECTORY / f"{name}.jsonl")
    run.run(reading)
    assert run.divergence is None
    assert reading.problems == []
    assert (run.tally.streams, run.tally.full, run.tally.unfinished) == (1, 1, 0)


@each
def test_its_events_make_the_bytes_on_file(name: str) -> None:
    transcript = on_file(name)
    told, renders = transcript.render(transcript.opened)
    assert told == transcript.sse
    assert renders.status == transcript.terminal.status


@each
def test_its_events_make_the_answer_on_file(name: str) -> None:
    transcript = on_file(name)
    told, body = transcript.render(msgspec.structs.replace(transcript.opened, streaming=False))
    expected = transcript.answer
    if transcript.terminal.kind == "client_gone":
        assert told == b""
        assert expected == {"status": None, "headers": {}, "body": None}
        return
    assert told == msgspec.json.encode(expected["body"])
    assert (body.status, dict(body.headers)) == (expected["status"], expected["headers"])


@each_chat
def test_its_stream_adds_up_to_its_answer(name: str) -> None:
    transcript = on_file(name)
    body = transcript.answer["body"]
    if transcript.terminal.status != 200:
        assert json.loads(transcript.sse) == body
        return
    frames, members = without_members(chatwire.frames(transcript.sse))
    match transcript.terminal.kind:
        case "completed" | "truncated":
            if not transcript.opened.include_usage:  # then only the answer tells the counts
                head = {member: body[member] for member in ("id", "created", "model")}
                frames.insert(-1, {**head, "choices": [], "usage": body["usage"]})
            whole = {**toolwire.completion(frames), **members}
            for choice, expected in zip(whole["choices"], body["choices"], strict=True):
                message = choice["message"]
                if "reasoning" in expected["message"]:
                    message["reasoning"] = message["reasoning_content"]
                if not message["content"] and not expected["message"]["content"]:
                    message["content"] = expected["message"]["content"]  # as the upstream has it
            assert whole == body
        case "client_gone":
            assert body is None
        case _:
            assert frames[-1] == body


@each_chat
def test_its_frames_are_in_order(name: str) -> None:
    transcript = on_file(name)
    if transcript.terminal.status != 200:
        assert list(json.loads(transcript.sse)) == ["error"]
        return
    frames, _ = without_members(chatwire.frames(transcript.sse))
    kinds = [kind_of(frame) for frame in frames]
    n = transcript.opened.n
    assert kinds[:n] == ["role"] * n
    assert [frame["choices"][0]["index"] for frame in frames[:n]] == list(range(n))
    outline = [kind for kind, _ in itertools.groupby(kinds[n:])]
    usage = ["usage"] if transcript.opened.include_usage else []
    finished = transcript.terminal.kind in WHOLE
    failed = [] if transcript.terminal.kind == "client_gone" else ["error"]
    ends = ["finish", *usage, "done"] if finished else failed
    assert outline[len(outline) - len(ends) :] == ends
    assert not {"role", "usage", "done", "error"} & set(outline[: len(outline) - len(ends)])
    for index in range(n):
        mine = [kind_of(frame) for frame in frames if index in choices_of(frame)]
        assert mine.count("finish") == finished
        assert "finish" not in mine[:-1]


OWN = {"id", "object", "created", "model", "choices", "usage", "done", "error"}


def without_members(
    frames: list[chatwire.Frame],
) -> tuple[list[chatwire.Frame], dict[str, object]]:
    """The frames without an upstream's further members, and those of its chunks."""
    members: dict[str, object] = {}
    found = []
    for frame in frames:
        members |= {name: value for name, value in frame.items() if name not in OWN}
        for choice in frame.get("choices", ()):
            if "reasoning" in choice["delta"]:
                assert choice["delta"].pop("reasoning") == choice["delta"]["reasoning_content"]
        pieces = frame.get("choices") or ()
        if not any(each["delta"] == {} and not each["finish_reason"] for each in pieces):
            found.append({name: frame[name] for name in frame if name in OWN})
    return found, members


def kind_of(frame: chatwire.Frame) -> str:
    """What a frame is for."""
    if "done" in frame or "error" in frame:
        return next(iter(frame))
    if not frame["choices"]:
        return "usage"
    (choice,) = frame["choices"]
    if choice["finish_reason"]:
        assert choice["delta"] == {}
        return "finish"
    if "role" in choice["delta"]:
        assert choice["delta"] == {"role": "assistant", "content": ""}
        return "role"
    (name,) = choice["delta"]
    kinds = {"content": "content", "reasoning_content": "reasoning", "tool_calls": "calls"}
    return kinds[name]


def choices_of(frame: chatwire.Frame) -> list[int]:
    """Indices of the choices that a frame is of."""
    return [choice["index"] for choice in frame.get("choices", ())]


@each_chat
def test_what_its_chunks_have_in_common(name: str) -> None:
    transcript = on_file(name)
    chunks = [frame for frame in map(dict, _frames(transcript)) if "choices" in frame]
    for chunk in chunks:
        head = (chunk["id"], chunk["object"], chunk["created"], chunk["model"])
        assert head == ("chatcmpl-1", "chat.completion.chunk", 1767225600, "codex-5")
        if not transcript.opened.include_usage:
            assert "usage" not in chunk
        elif chunk["choices"]:
            assert chunk["usage"] is None


def _frames(transcript: OnFile) -> list[chatwire.Frame]:
    return chatwire.frames(transcript.sse) if transcript.terminal.status == 200 else []


def test_counts_that_are_not_the_workers_are_marked_where_they_were_asked_for() -> None:
    marked = [name for name in CHAT if b"x-turntape-usage: estimated" in on_file(name).sse]
    assert marked == ["max-tokens"]
    heads = {name: on_file(name).answer["headers"].get("x-turntape-usage") for name in CHAT}
    assert {name: mark for name, mark in heads.items() if mark} == {
        "content-filter": "unknown",
        "max-tokens": "estimated",
        "stop-sequence": "estimated",
        "worker-killed": "estimated",
    }


@each
def test_nothing_of_its_capture_is_left_but_the_versions(name: str) -> None:
    transcript = on_file(name)
    records = list(segments.read(capture.DIRECTORY / f"{name}.jsonl"))
    assert {record.stream for record in records} == {transcript.opened.request_id} == {name}
    assert all((record.t - normalise.EPOCH_US) % 1000 == 0 for record in records)
    versions = transcript.opened.versions
    workers = {"codex"} if transcript.opened.worker == "codex" else set()
    assert set(versions) == {"turntape", "python"} | workers
    assert versions["python"].count(".") == 1


@each_chat
def test_the_scripted_worker_streams_its_bytes(player: serving.Serve, name: str) -> None:
    transcript = on_file(name)
    told = play(player, name)
    body = evened(told.answer.raw)
    assert told.answer.status == transcript.terminal.status
    if transcript.terminal.kind == "client_gone":
        # The client that plays it back stays, and is owed an ending.
        assert body.startswith(transcript.sse)
        (finish,) = (frame for frame in told.frames if kind_of(frame) == "finish")
        assert finish["choices"][0]["finish_reason"] == "length"
    elif transcript.opened.n > 1:
        assert tracks(body) == tracks(transcript.sse)
    else:
        assert body == transcript.sse


@each_chat
def test_the_scripted_worker_answers_its_body(player: serving.Serve, name: str) -> None:
    expected = on_file(name).answer
    told = play(player, name, stream=False).answer
    if expected["status"] is None:
        assert told.finish_reason == "length"
        return
    assert told.status == expected["status"]
    assert json.loads(evened(told.raw)) == expected["body"]
    assert expected["headers"].items() <= told.headers.items()


def test_both_forms_of_a_call_say_the_same() -> None:
    for name in ("use-tool-{}", "use-tool-{}-split"):
        called = []
        for mode in ("json", "xml"):
            message = on_file(name.format(mode)).answer["body"]["choices"][0]["message"]
            called.append(message["tool_calls"])
            assert ("<use_tool>" in message["content"]) is (mode == "xml")
        assert called[0] == called[1]


@pytest.mark.parametrize("mode", ["json", "xml"])
def test_a_split_changes_nothing_of_a_block(mode: str) -> None:
    whole, split = (on_file(f"use-tool-{mode}{suffix}").answer for suffix in ("", "-split"))
    assert whole == split


def test_a_cut_answer_ends_as_it_was_cut_for_who_sets_no_limit(player: serving.Serve) -> None:
    limited = ask(player, "max-tokens", max_tokens=None)
    assert (limited.text, limited.finish_reason) == ("The tide rises twice a day", "length")
    assert limited.comments == ["x-turntape-usage: estimated"]
    stopped = ask(player, "stop-sequence", stop=None)
    assert (stopped.text[-6:], stopped.finish_reason) == (".\nSTOP", "stop")


def test_more_choices_than_a_transcript_has_begin_again(player: serving.Serve) -> None:
    told = ask(player, "two-choices", n=3, stream=False, stream_options=None)
    texts = [choice["message"]["content"] for choice in told.body["choices"]]
    assert texts == ["Heads it is.", "Tails, I am afraid.", "Heads it is."]


def test_a_log_of_more_than_one_stream_cannot_be_played(tmp_path: Path) -> None:
    event_log = open_log(tmp_path, Clock())
    write_stream(event_log, "st_1")
    write_stream(event_log, "st_2")
    event_log.close()
    with pytest.raises(scripted.TranscriptError, match="2 streams begin in it"):
        scripted.load_cues(tmp_path / segments.segment_name(1))


def test_a_log_without_its_end_can_be_played(tmp_path: Path) -> None:
    event_log = open_log(tmp_path, Clock())
    begin(event_log, "st_1")
    event_log.close()
    ((cue,),) = scripted.load_cues(tmp_path / segments.segment_name(1))
    assert isinstance(cue.event, events.TurnFailed)
    assert cue.event.code == "worker_exited"


def test_each_is_in_the_table_of_the_page() -> None:
    page = (serving.ROOT / "docs" / "transcripts.md").read_text("utf-8")
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert named == set(NAMES)
