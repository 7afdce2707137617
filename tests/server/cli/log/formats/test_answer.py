"""The answer of a stream is made again from its records, byte by byte, with its times."""

from pathlib import Path

import msgspec
import pytest

from engine.log.find import stories
from engine.log.read import segments
from machines import events, outputs
from server.cli.log.formats import answer as answers
from tests.server.cli.log.formats import formatting
from tests.support.logs import corpus, logs


@pytest.mark.parametrize("name", corpus.NAMES)
def test_the_bytes_of_a_full_log_are_those_that_went_out(name: str) -> None:
    story = formatting.recorded(name)
    got = answers.answer(story)
    assert got.body == formatting.expected(name)
    assert got.status == corpus.on_file(name).terminal.status
    assert got.whole == (corpus.on_file(name).terminal.kind != "client_gone")
    assert not got.masked
    assert not got.problem


def test_each_piece_has_the_time_of_its_record() -> None:
    story = formatting.recorded("text-short")
    began = story.records[0].t
    times = [each.at_us for each in answers.answer(story).pieces]
    assert times == sorted(times)
    assert set(times) <= {each.t - began for each in story.records}
    assert len(times) > 3


def test_a_masked_log_gives_the_same_frames_with_masked_texts(tmp_path: Path) -> None:
    got = answers.answer(formatting.masked(tmp_path))
    assert got.masked
    assert got.whole
    assert b'"content":"****** "' in got.body
    assert b"secret" not in got.body
    assert got.body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(("content", "message"), [("full", "No."), ("masked", "**.")])
def test_a_refused_request_has_the_answer_that_refused_it(
    tmp_path: Path, content: str, message: str
) -> None:
    event_log = logs.open_log(tmp_path, content=content)
    refused = events.RequestRejected(
        request_id="req_r", code="invalid_api_key", status=401, message="No."
    )
    event_log.stream("rj_1").close(refused, "refused")
    event_log.close()
    got = answers.answer(stories.story(tmp_path, "rj_1"))
    assert (got.status, got.chunked, got.whole) == (401, False, True)
    assert msgspec.json.decode(got.body)["error"]["message"] == message
    assert got.masked == (content == "masked")


def test_it_ends_where_a_record_is_missing() -> None:
    story = formatting.recorded("text-short")
    deltas = [at for at, each in enumerate(story.records) if each.event == "text_delta"]
    gone = deltas[1]
    hole = (*story.records[:gone], *story.records[gone + 1 :])
    got = answers.answer(msgspec.structs.replace(story, records=hole))
    assert got.problem.startswith(f"record {gone} is missing")
    assert not got.whole
    assert formatting.expected("text-short").startswith(got.body)


def test_it_ends_where_todays_code_cannot_go_on(tmp_path: Path) -> None:
    heartbeat = {"event": "timer_fired", "timer": "heartbeat", "state": "held", "out": []}
    opened = msgspec.json.decode(formatting.recorded("text-short").records[0].raw)
    for name in ("stream", "seq", "seg", "t", "crc"):
        del opened[name]
    path = logs.write(tmp_path / "log.jsonl", opened, heartbeat)
    got = answers.answer(stories.Story("st_1", tuple(segments.read(path))))
    assert got.problem.startswith("today's code cannot go on at record 1: ")
    assert not got.whole


def test_an_open_stream_is_not_whole(tmp_path: Path) -> None:
    story = formatting.recorded("text-short")
    got = answers.answer(msgspec.structs.replace(story, records=story.records[:-1]))
    assert not got.whole


@pytest.mark.parametrize(("stream", "why"), [("wk_1", "worker process"), ("st_1", "beginning")])
def test_what_has_no_answer_says_why(tmp_path: Path, stream: str, why: str) -> None:
    event_log = logs.open_log(tmp_path)
    life = event_log.stream(stream)
    life.append(events.WorkerChanged("codex", "started", {}), outputs.Step("ready", ()))
    event_log.close()
    with pytest.raises(answers.NoAnswer, match=why):
        answers.answer(stories.Story(stream, tuple(segments.read(tmp_path))))
