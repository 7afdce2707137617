"""The official Node SDK plays the scenes on each worker."""

import json
import subprocess
from typing import Any

import pytest

from tests.clients import callers, scenes
from tests.clients.callers import ANSWER, Call
from tests.support.process import nodejs

pytestmark = [pytest.mark.node, nodejs.needed]


def play(worker: str, script: str, *arguments: str) -> list[dict[str, Any]]:
    """What a script of the client prints about a server that plays the scenes."""
    with scenes.stage(worker) as server:
        played = subprocess.run(
            ("node", script, server.url, scenes.MODEL, *arguments),
            cwd=nodejs.CLIENT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert played.returncode == 0, played.stderr
    return [json.loads(line) for line in played.stdout.splitlines()]


@scenes.each_worker
def test_the_node_sdk_reads_streams_and_bodies(worker: str) -> None:
    *streams, helper, whole, error = play(worker, "client.mjs")
    assert len(streams) == 2 * len(scenes.SCENES)
    for seen in streams:
        assert (seen["text"], seen["finish"]) == scenes.SCENES[seen["prompt"]]
        assert (seen["usage"] is not None) == seen["include_usage"]
        if seen["usage"] is not None:
            assert seen["usage"]["total_tokens"] == 30
    assert helper == {"helper": scenes.STOP_TEXT}
    assert whole == {"whole": scenes.LENGTH_TEXT, "finish": "length", "tokens": 30}
    assert error == {"error": "NotFoundError", "code": "model_not_found"}


@scenes.each_worker
def test_the_node_sdk_runs_functions(worker: str) -> None:
    *runs, helper = play(worker, "functions.mjs", json.dumps(scenes.CITIES))
    assert len(runs) == 2
    for run in runs:
        assert run["text"] == scenes.WEATHER_TEXT
        assert run["asked"] == [*scenes.CITIES, "Paris"]
        assert run["steps"] == ["tool_calls", "tool_calls", "stop"]
    arguments = [json.dumps({"city": city}, ensure_ascii=False) for city in scenes.CITIES]
    assert helper == {
        "text": "Let me look.",
        "done": [[index, "get_weather", given] for index, given in enumerate(arguments)],
        "called": [[f"call_{index}", given] for index, given in enumerate(arguments)],
    }


@scenes.each_worker
def test_the_node_sdk_reads_responses(worker: str) -> None:
    *told, person, created, streamed, error = play(
        worker, "responses.mjs", json.dumps(scenes.CITIES)
    )
    endings = {"stop": ("completed", None), "length": ("incomplete", "max_output_tokens")}
    assert [each["input"] for each in told] == ["stop", "stop", "length", "length"]
    for each in told:
        text, _ = scenes.SCENES[each["input"]]
        assert each["text"] == each["deltas"] == text
        assert (each["status"], each["reason"]) == endings[each["input"]]
        assert each["tokens"] == 30
    assert person == {"parsed": {"name": "Ada", "age": 36}}
    calls = [[f"call_{number}", city] for number, city in enumerate((*scenes.CITIES, "Paris"))]
    assert created == streamed == {"rounds": [calls[:2], calls[2:]], "text": scenes.WEATHER_TEXT}
    assert error == {"error": "BadRequestError", "code": "previous_response_not_found"}


@pytest.mark.parametrize("by", ["openai", "ai-sdk"])
@pytest.mark.parametrize("worker", [pytest.param("codex", marks=pytest.mark.codex), "upstream"])
def test_node_clients_run_a_custom_tool(worker: str, by: str) -> None:
    texts = ['say "世界"\n\n', "again"]
    model = callers.Model(tuple(Call("patch", {"input": text}) for text in texts))
    with callers.WORKERS[worker](model) as server:
        played = subprocess.run(
            ("node", "customtools.mjs", server.url, "gpt-5.5", by),
            cwd=nodejs.CLIENT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert json.loads(played.stdout) == {"given": texts, "text": ANSWER}, played.stderr
    assert model.results == ["patched", "patched"]


@scenes.each_worker
def test_the_node_sdk_asks_over_a_websocket(worker: str) -> None:
    *told, error = play(worker, "websocket.mjs", json.dumps([*scenes.SCENES]))
    endings = {"stop": "completed", "length": "incomplete"}
    assert told == [
        {"deltas": text, "status": endings[reason]} for text, reason in scenes.SCENES.values()
    ]
    assert error == {"code": "previous_response_not_found"}
