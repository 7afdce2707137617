"""The Codex CLI itself as a client of `/v1/responses`."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.codex.child import home as codexhome
from tests.support.process import readme, serving
from tests.tools import redraw

PAGE = redraw.DOCS / "responses.md"

pytestmark = pytest.mark.codex

CLIENT = """
request_max_retries = 0
stream_max_retries = 0
stream_idle_timeout_ms = {idle_ms}
"""
"""What the tests add to the configuration that the page shows."""


def ask(server: serving.Serve, directory: Path, model: str, idle_ms: int = 60_000) -> list[Any]:
    """What `codex exec` prints of one prompt."""
    home = directory / "home"
    workdir = directory / "work"
    home.mkdir()
    workdir.mkdir()
    (shown,) = readme.examples(PAGE, "toml")
    config = shown.replace(readme.SERVER, server.base).replace("codex-5", model)
    (home / "config.toml").write_text(config + CLIENT.format(idle_ms=idle_ms))
    binary = str(codexhome.find_binary(None))
    asked = subprocess.run(
        (binary, "exec", "--skip-git-repo-check", "--json", "--sandbox", "read-only", "Hello"),
        cwd=workdir,
        env={"CODEX_HOME": str(home), "HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return [json.loads(line) for line in asked.stdout.splitlines()]


def said(printed: list[Any], kind: str) -> list[str]:
    """The texts of its items of a kind."""
    return [
        line["item"]["text"]
        for line in printed
        if line["type"] == "item.completed" and line["item"]["type"] == kind
    ]


def test_codex_completes_a_prompt(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        printed = ask(server, tmp_path, "reasoning")
    assert said(printed, "reasoning") == ["Seventeen is prime.\n\nSo only 1 and 17 divide it."]
    assert said(printed, "agent_message") == ["It has two: 1 and 17."]
    assert printed[-1]["type"] == "turn.completed"
    assert printed[-1]["usage"]["output_tokens"] == 5


def test_codex_hears_of_a_failure(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        printed = ask(server, tmp_path, "worker-killed")
    assert printed[-1]["type"] == "turn.failed"
    assert "The worker's process ended" in printed[-1]["error"]["message"]


def test_heartbeats_keep_codex_waiting(tmp_path: Path) -> None:
    """The answer has silences that are longer than Codex waits for an event."""
    with serving.running(
        "--worker",
        "scripted",
        PROXY_SCRIPTED_SPEED="0.02",
        PROXY_SSE_KEEPALIVE_MS="100",
        PROXY_HEAD_HOLD_MS="50",
    ) as server:
        printed = ask(server, tmp_path, "reasoning", idle_ms=400)
    assert said(printed, "agent_message") == ["It has two: 1 and 17."]
