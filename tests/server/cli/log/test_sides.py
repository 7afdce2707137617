"""One stream from one side: the client's bytes, the worker's words, every record."""

from pathlib import Path

import pytest

from machines import events
from server.cli.log import sides
from server.cli.log.formats import answer as answers
from tests.support.logs import corpus, logs, told
from tests.tools import capture

FINISHED = events.TurnFinished("stop")


@pytest.mark.parametrize("name", corpus.NAMES)
def test_the_bytes_are_those_that_the_client_got(name: str) -> None:
    story = told.story_of(capture.DIRECTORY / f"{name}.jsonl", name)
    shown = [line.text[12:] for line in sides.client(story)]
    assert [line for line in shown if line] == [
        line.rstrip() for line in corpus.on_file(name).sse.decode().split("\n") if line.strip()
    ]


def test_each_part_has_its_time(tmp_path: Path) -> None:
    directory = told.write(tmp_path, *told.texts("Hel", "lo", pace=1), (3, FINISHED))
    (segment,) = directory.glob("*.jsonl")
    lines = [line.text for line in sides.client(told.story_of(segment, "st_1")) if line.text]
    assert [line[:10] for line in lines if "content" in line] == [
        "   1.000 s",
        " " * 10,
        "   2.000 s",
    ]


def test_of_a_masked_log_the_steps_are_shown_and_the_reason(tmp_path: Path) -> None:
    directory = told.write(tmp_path, *told.texts("Hel"), (3, FINISHED), content="masked")
    (segment,) = directory.glob("*.jsonl")
    first, *steps = [line.text for line in sides.client(told.story_of(segment, "st_1"))]
    assert "masked" in first
    assert steps == ["   1.000 s  head role content  ***", "   3.000 s  finish done"]


def test_without_its_beginning_nobody_can_say(tmp_path: Path) -> None:
    directory = told.write(tmp_path, *told.texts("Hel"), (3, FINISHED))
    (segment,) = directory.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join((lines[0], *lines[2:])))
    (said,) = sides.client(told.story_of(segment, "st_1"))
    assert "beginning is not in the log" in said.text


def test_the_workers_side_has_what_it_said_and_was_asked(tmp_path: Path) -> None:
    happened = [
        (0.5, events.RpcSent("thread/start", 1)),
        *told.texts("Hel", "lo"),
        (2, events.TimerFired("heartbeat")),
        (3, FINISHED),
    ]
    directory = told.write(tmp_path, *happened)
    (segment,) = directory.glob("*.jsonl")
    story = told.story_of(segment, "st_1")
    shown = [line.text.split()[3] for line in sides.worker(story)]
    assert shown == ["rpc_sent", "text_delta", "text_delta", "turn_finished"]
    assert len(list(sides.every(story))) == 7


REFUSED = {
    "stream": "rj_1",
    "event": "request_rejected",
    "request_id": "req_1",
    "code": "model_not_found",
    "status": 404,
    "state": "rejected",
    "out": [],
}


@pytest.mark.parametrize(("message", "sentences"), [("No such model.", 0), ("** **** *****.", 1)])
def test_of_a_refusal_the_body_is_shown_and_that_no_worker_was_asked(
    tmp_path: Path, message: str, sentences: int
) -> None:
    path = logs.write(tmp_path / "events.jsonl", REFUSED | {"message": message})
    story = told.story_of(path, "rj_1")
    *said, body = [line.text for line in sides.client(story)]
    assert len(said) == sentences
    assert body.startswith('   0.000 s  {"error":{"message":"' + message)
    assert body.encode()[11:].strip() == answers.answer(story).body.strip()
    (of_worker,) = sides.worker(story)
    assert of_worker.text == "The request was refused before a worker was asked."
