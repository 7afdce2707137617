"""The official Node SDK against a server on the real Codex binary."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients import scenes

CLIENT = Path(__file__).parent / "node"
INSTALLED = shutil.which("node") is not None and (CLIENT / "node_modules" / "openai").is_dir()

pytestmark = [
    pytest.mark.codex,
    pytest.mark.node,
    pytest.mark.skipif(
        not INSTALLED, reason="needs node and `npm install --prefix tests/clients/node`"
    ),
]


def play(script: str, *arguments: str) -> list[dict[str, Any]]:
    """What a script of the client prints about a server that plays the scenes."""
    with scenes.stage() as server:
        played = subprocess.run(
            ("node", script, server.url, scenes.MODEL, *arguments),
            cwd=CLIENT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert played.returncode == 0, played.stderr
    return [json.loads(line) for line in played.stdout.splitlines()]


def test_the_node_sdk_reads_streams_and_bodies() -> None:
    *streams, helper, whole, error = play("client.mjs")
    assert len(streams) == 2 * len(scenes.SCENES)
    for seen in streams:
        assert (seen["text"], seen["finish"]) == scenes.SCENES[seen["prompt"]]
        assert (seen["usage"] is not None) == seen["include_usage"]
        if seen["usage"] is not None:
            assert seen["usage"]["total_tokens"] == 30
    assert helper == {"helper": scenes.STOP_TEXT}
    assert whole == {"whole": scenes.LENGTH_TEXT, "finish": "length", "tokens": 30}
    assert error == {"error": "NotFoundError", "code": "model_not_found"}


def test_the_node_sdk_runs_functions() -> None:
    *runs, helper = play("functions.mjs", json.dumps(scenes.CITIES))
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
