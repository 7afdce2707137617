"""The official Node SDK against a server on the real Codex binary."""

import json
import shutil
import subprocess
from pathlib import Path

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


def test_the_node_sdk_reads_streams_and_bodies() -> None:
    with scenes.stage() as server:
        played = subprocess.run(
            ("node", "client.mjs", server.url, scenes.MODEL),
            cwd=CLIENT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert played.returncode == 0, played.stderr
    *streams, helper, whole, error = [json.loads(line) for line in played.stdout.splitlines()]
    assert len(streams) == 2 * len(scenes.SCENES)
    for seen in streams:
        assert (seen["text"], seen["finish"]) == scenes.SCENES[seen["prompt"]]
        assert (seen["usage"] is not None) == seen["include_usage"]
        if seen["usage"] is not None:
            assert seen["usage"]["total_tokens"] == 30
    assert helper == {"helper": scenes.STOP_TEXT}
    assert whole == {"whole": scenes.LENGTH_TEXT, "finish": "length", "tokens": 30}
    assert error == {"error": "NotFoundError", "code": "model_not_found"}
