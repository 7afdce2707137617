"""The Codex CLI itself as a client of `/v1/responses`."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import codexbinary, machinetime, readme, serving
from tests.support.providers import upstreams, upstreamshapes
from tests.support.providers.upstreams import chunk
from tests.tools import redraw

PAGE = redraw.DOCS / "responses.md"

pytestmark = pytest.mark.codex

CLIENT = """
request_max_retries = 0
stream_max_retries = 0
stream_idle_timeout_ms = {idle_ms}
"""
"""What the tests add to the configuration that the page shows."""


def ask(
    server: serving.Serve, directory: Path, model: str, idle_ms: int = 60_000, more: str = ""
) -> list[Any]:
    """What `codex exec` prints of one prompt."""
    home = directory / "home"
    workdir = directory / "work"
    home.mkdir()
    workdir.mkdir()
    (shown,) = readme.examples(PAGE, "toml")
    config = shown.replace(readme.SERVER, server.base).replace("codex-5", model)
    (home / "config.toml").write_text(config + CLIENT.format(idle_ms=idle_ms) + more)
    binary = str(codexbinary.path())
    asked = subprocess.run(
        (binary, "exec", "--skip-git-repo-check", "--json", "--sandbox", "read-only", "Hello"),
        cwd=workdir,
        env={"CODEX_HOME": str(home), "HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * machinetime.HANG_S,  # what it waits for grows with the machine's slowness
    )
    return [json.loads(line) for line in asked.stdout.splitlines()]


def said(printed: list[Any], kind: str) -> list[str]:
    """The texts of its items of a kind."""
    return [
        line["item"]["text"]
        for line in printed
        if line["type"] == "item.completed" and line["item"]["type"] == kind
    ]


def test_codex_asks_over_a_websocket(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        printed = ask(server, tmp_path, "reasoning", more="supports_websockets = true\n")
        assert said(printed, "agent_message")
        assert not [line for line in printed if line["type"] == "error"]
        assert server.stop() == 0
        asked = [line for line in server.lines if line.get("route") == "/v1/responses"]
        # It makes its conversation known, which asks no model, and goes on from there.
        assert [line["status"] for line in asked] == [200, 200, 101]
        assert ["stream" in line for line in asked] == [False, True, False]
        assert server.replay().returncode == 0


def test_codex_falls_back_where_websockets_are_switched_off(tmp_path: Path) -> None:
    with serving.running(
        "--worker", "scripted", PROXY_SCRIPTED_SPEED="0", PROXY_ENABLE_WEBSOCKETS="false"
    ) as server:
        printed = ask(server, tmp_path, "reasoning", more="supports_websockets = true\n")
        assert said(printed, "agent_message")
        assert server.stop() == 0
        asked = [line for line in server.lines if line.get("route") == "/v1/responses"]
        assert [(line["method"], line["status"]) for line in asked] == [
            ("GET", 426),
            ("POST", 200),
        ]


def test_codex_completes_a_prompt(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        printed = ask(server, tmp_path, "reasoning")
    assert said(printed, "reasoning") == ["Seventeen is prime.\n\nSo only 1 and 17 divide it."]
    assert said(printed, "agent_message") == ["It has two: 1 and 17."]
    assert printed[-1]["type"] == "turn.completed"
    assert printed[-1]["usage"]["output_tokens"] == 5


def test_codex_hears_each_message_by_itself(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        printed = ask(server, tmp_path, "responses-messages")
    assert said(printed, "agent_message") == ["Let me work that out.", "It is 42."]
    assert said(printed, "reasoning") == []


def thinking_aloud(request: upstreams.Request) -> upstreams.Answer:
    """Think and call in two turns, then answer."""
    turn = 1 + sum(message["role"] == "tool" for message in request.body["messages"])
    calls = [upstreamshapes.call(0, "{}", id=f"call_{turn}")]
    told = [upstreamshapes.delta(tool_calls=calls), chunk(finish="tool_calls")]
    if turn > 2:
        told = [chunk("Done."), chunk(finish="stop")]
    return upstreams.stream(upstreamshapes.delta(reasoning_content=f"Turn {turn}."), *told)


def test_codex_brings_the_thinking_of_an_upstream_back(tmp_path: Path) -> None:
    with upstreams.stage(thinking_aloud) as stage:
        printed = ask(stage.server, tmp_path, "m")
        sent = stage.upstream.requests[-1].body["messages"]
    assert said(printed, "agent_message") == ["Done."]
    assert sent[0]["role"] == "system"
    assert [message["role"] for message in sent].count("system") == 1
    behind = [(message["role"], message.get("reasoning_content")) for message in sent[-4:]]
    first, second = ("assistant", "Turn 1."), ("assistant", "Turn 2.")
    assert behind == [first, ("tool", None), second, ("tool", None)]


def test_codex_hears_of_a_failure(tmp_path: Path) -> None:
    with serving.running(
        "--worker", "scripted", PROXY_SCRIPTED_SPEED="0", PROXY_WORKER_EXIT="error"
    ) as server:
        printed = ask(server, tmp_path, "worker-killed")
    assert printed[-1]["type"] == "turn.failed"
    assert "The worker's process ended" in printed[-1]["error"]["message"]


@pytest.mark.long
def test_heartbeats_keep_codex_waiting(tmp_path: Path) -> None:
    """The answer has silences that are longer than Codex waits for an event. On a busy machine
    both are: a heartbeat that is late for Codex would say nothing of the server."""
    slowness = machinetime.slowness()
    with serving.running(
        "--worker",
        "scripted",
        PROXY_SCRIPTED_SPEED=f"{0.02 / slowness:.6f}",
        PROXY_SSE_KEEPALIVE_MS="100",
        PROXY_HEAD_HOLD_MS="50",
    ) as server:
        printed = ask(server, tmp_path, "reasoning", idle_ms=round(400 * slowness))
    assert said(printed, "agent_message") == ["It has two: 1 and 17."]
