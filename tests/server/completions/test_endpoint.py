"""What `/v1/completions` asks of a worker, and what the log has of it."""

import json
from typing import Any

import pytest

from engine import worker, workerkinds
from machines import events
from tests.server import answering
from tests.support.client import chatwire, httpclient
from tests.support.process import serving

PATH = "/v1/completions"
ANSWER = "Hello!"


def ask(**fields: Any) -> answering.Answer:
    return answering.ask({"messages": None, **fields}, path=PATH)


def test_a_prompt_is_what_a_user_says() -> None:
    found = ask(prompt="Say hi.", max_tokens=9, stop="x", temperature=0.1, tools=[{"a": 1}])
    assert found.turn is not None
    assert found.turn.messages == (worker.Message("user", (worker.TextPart("Say hi."),)),)
    assert (found.turn.tools, found.turn.choices) == ((), 1)
    assert (found.first["max_bytes"], found.first["stop"]) == (36, ["x"])
    assert found.headers["x-turntape-ignored"] == "temperature, tools"
    assert (found.choice["text"], found.choice["finish_reason"]) == ("Hi", "stop")


def test_each_of_several_prompts_is_asked_in_a_turn_of_its_own() -> None:
    player = answering.Player((events.TextDelta("Hi"), *answering.END))
    fields = {"messages": None, "prompt": ["one", "three"], "n": 2}
    found = answering.ask(fields, path=PATH, player=player)
    asked = [(turn.choice, turn.messages[0].parts[0]) for turn in player.turns]
    one, three = worker.TextPart("one"), worker.TextPart("three")
    assert asked == [(0, one), (1, one), (2, three), (3, three)]
    usage = json.loads(found.body)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (2 * 11, 4 * 5)
    assert (found.first["prompt_bytes"], found.first["prompt_sizes"]) == (8, [3, 5])


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_repeats_no_more_than_a_body_may_have(stream: bool) -> None:
    fields = {"messages": None, "prompt": "é" * 400, "n": 2, "echo": True, "stream": stream}
    for most, status in (("1604", 200), ("1603", 400)):
        found = answering.ask(fields, path=PATH, environ={"PROXY_MAX_BODY_BYTES": most})
        assert found.status == status
    assert json.loads(found.body)["error"]["param"] == "echo"


@pytest.mark.parametrize(
    ("fields", "param"), [({"prompt": ["a", "b"]}, "prompt"), ({"prompt": "a", "n": 2}, "n")]
)
def test_more_choices_than_there_may_be_streams_are_refused_by_the_field_that_asks_for_them(
    fields: dict[str, Any], param: str
) -> None:
    asked = {"messages": None, "stream": True, **fields}
    found = answering.ask(asked, path=PATH, environ={"PROXY_SSE_MAX_CONCURRENCY": "1"})
    assert found.status == 400
    assert json.loads(found.body)["error"]["param"] == param


def test_an_upstream_is_asked_for_the_choices_of_one_prompt_at_once() -> None:
    second = (events.TextDelta("Ho", 1), events.TurnFinished("stop", 1))
    player = answering.Player((events.TextDelta("Hi"), *second, *answering.END))
    player.kind = workerkinds.UPSTREAM
    fields = {"messages": None, "prompt": "one", "n": 2, "seed": 7, "best_of": 2}
    answering.ask(fields, path=PATH, player=player)
    (turn,) = player.turns
    assert (turn.choice, turn.choices) == (0, 2)
    assert {name: json.loads(bytes(value)) for name, value in turn.body.items()} == {
        "model": "codex-5",
        "n": 2,
        "seed": 7,
        "messages": [{"role": "user", "content": "one"}],
    }


@pytest.mark.parametrize("stream", [True, False])
def test_a_log_that_keeps_the_prompt_replays_to_the_same_bytes(stream: bool) -> None:
    with serving.running("--worker", "scripted", PROXY_EVENT_LOG="full") as server:
        body = {"model": "text-short", "prompt": "Say hi.", "echo": True, "stream": stream}
        response = httpclient.ask(server.base, "POST", PATH, body)
        assert response.status == 200
        if stream:
            first, *_ = chatwire.frames(response.body)
            assert first["choices"][0]["text"] == "Say hi."
        assert server.stop() == 0
        done = server.replay()
        assert (done.returncode, "1 with the same bytes" in done.stdout) == (0, True), done.stdout


def test_no_word_of_a_prompt_is_in_a_masked_log() -> None:
    with serving.running("--worker", "scripted") as server:
        body = {"model": "text-short", "prompt": ["Xylophone"], "echo": True}
        assert b"Xylophone" in httpclient.ask(server.base, "POST", PATH, body).body
        assert server.stop() == 0
        assert server.replay().returncode == 0
        segments = list(server.log_dir.glob("*.jsonl"))
        assert segments
        assert not any(b"Xylophone" in segment.read_bytes() for segment in segments)
