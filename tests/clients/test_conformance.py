"""Suites that others wrote for servers of these APIs, against each worker."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import util
from typing import Any, Final

import pytest

from tests.clients import scenes
from tests.support.process import nodejs, serving
from tests.support.providers import replies, upstreams
from tests.support.providers.provider import Request

CALLS: Final = {
    "get_weather": '{"location":"San Francisco"}',
    "compatcanary_echo": '{"value":"CANARY_OK"}',
}
"""Arguments of the functions that the suites declare, all of which want a call."""

STATUS: Final = '{"status":"ok"}'
"""The answer to whoever demands JSON."""

TEXT: Final = "CANARY_OK, said the model."
"""The answer to all else."""

THOUGHT: Final = "They want me to say something."

CANARY: Final = nodejs.CLIENT / "node_modules" / "compatcanary" / "src" / "cli.js"

OTHERWISE: Final = {
    ("open-responses", "codex"): "response.reasoning_summary_text",
    ("open-responses", "upstream"): "response.reasoning_text",
}
"""Events that `llm-comply` calls otherwise than OpenAI's SDKs, by the API and the worker whose
answers have them."""

STREAMED: Final = ("streaming-response", "streaming-usage")
"""The cases in which it meets them."""

REFUSED: Final = {
    "open-responses": {"compact-response": ["HTTP 400 (expected [200, 404])"]},
    "openai-chat": {},
}
"""What no worker does, by the API and the case, where the suite wants another status for that."""


def by_provider(request: Request) -> replies.Answer:
    """What a model answers that does as it is told, by Codex's provider."""
    name, text = answer(request.body)
    if name is not None:
        return replies.Stream((replies.FunctionCall("call_1", name, (CALLS[name],)),))
    thought = replies.Reasoning(((THOUGHT,),))
    return replies.Stream((thought, replies.Message(scenes.pieces(text))))


def by_upstream(request: upstreams.Request) -> upstreams.Answer:
    """The same by an upstream."""
    name, text = answer(request.body)
    counts = upstreams.counted(7, 2)
    if name is None:
        thought = {"index": 0, "delta": {"reasoning_content": THOUGHT}}
        said = map(upstreams.chunk, scenes.pieces(text))
        chunks = (upstreams.chunk(choices=[thought]), *said, upstreams.chunk(finish="stop"))
    else:
        function = {"name": name, "arguments": CALLS[name]}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        called = {"index": 0, "delta": {"tool_calls": [call]}}
        chunks = (upstreams.chunk(choices=[called]), upstreams.chunk(finish="tool_calls"))
    return upstreams.stream(*chunks, counts)


def answer(asked: Any) -> tuple[str | None, str]:
    """The function that is called, if any, and what is said otherwise."""
    said = json.dumps(asked)
    name = next((name for name in CALLS if f'"{name}"' in said), None)
    return name, STATUS if '"enum": ["ok"]' in said else TEXT


@pytest.fixture(
    scope="module", params=[pytest.param("codex", marks=pytest.mark.codex), "upstream"]
)
def stage(request: pytest.FixtureRequest) -> Iterator[tuple[str, serving.Serve]]:
    with scenes.stage(request.param, by_provider, by_upstream) as server:
        yield request.param, server


def run(*command: str) -> dict[str, Any]:
    """What a suite found, as it prints it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.comply
@pytest.mark.skipif(util.find_spec("llm_comply") is None, reason="needs llm-comply")
@pytest.mark.parametrize("api", ["open-responses", "openai-chat"])
def test_llm_comply(stage: tuple[str, serving.Serve], api: str) -> None:
    worker, server = stage
    program = (sys.executable, "-m", "llm_comply.cli", "--json", "--format", api)
    found = run(*program, "-u", server.url, "-k", "unused", "-m", scenes.MODEL)
    assert found["results"]
    failed = {
        case["id"]: case.get("errors", [case["status"]])
        for case in found["results"]
        if case["status"] != "passed"
    }
    expected = dict(REFUSED[api])
    if name := OTHERWISE.get((api, worker)):
        errors = [f"unknown SSE event type: {name}.{end}" for end in ("delta", "done")]
        expected |= dict.fromkeys(STREAMED, errors)
    assert failed == expected


@pytest.mark.node
@nodejs.needed
@pytest.mark.skipif(not CANARY.exists(), reason="needs compatcanary in tests/clients/node")
def test_compatcanary(stage: tuple[str, serving.Serve]) -> None:
    _, server = stage
    model = server.get("/v1/models")[1]["data"][0]["id"]
    program = ("node", str(CANARY), "scan", "--format", "json")
    found = run(*program, "--base-url", server.url, "--model", model)
    assert [case["status"] for case in found["results"]] == ["pass"] * 7
