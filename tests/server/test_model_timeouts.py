"""Limits of time that a name of the models file has for itself: both workers, both APIs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bench import standin
from tests.support.client import httpclient
from tests.support.process import serving
from tests.support.providers import upstreams
from tests.support.providers.upstreams import STREAM_HEAD, chunk, framed, sse

pytestmark = pytest.mark.slow

LIMITS = {
    "first": "first_chunk_timeout_ms = 300",
    "idle": "stream_idle_timeout_ms = 300",
    "whole": "timeout_ms = 600",
}
"""A name is made of each, on both workers; the settings have limits of five minutes."""

SILENT, BEGUN = "say nothing", "say something"


class Scene(NamedTuple):
    """A server with both workers behind it."""

    server: serving.Serve


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    rules = "".join(
        f'[models.{worker}-{name}]\nworker = "{worker}"\nmodel = "{model}"\n{limit}\n'
        for worker, model in (("codex", "gpt-5.5"), ("upstream", "m"))
        for name, limit in LIMITS.items()
    )
    turns = {
        SILENT: standin.Turn(deltas=0, ending="silent"),
        BEGUN: standin.Turn(deltas=1, ending="silent"),
    }
    with tempfile.TemporaryDirectory() as parent, upstreams.Hosted() as source:
        source.server.plans[SILENT] = [[STREAM_HEAD, "stall"]]
        source.server.plans[BEGUN] = [[STREAM_HEAD, framed(sse(chunk("token "))), "stall"]]
        codex = Path(parent, "codex")
        codex.mkdir()
        models = Path(parent, "turntape.toml")
        models.write_text(f"[models]\n{rules}")
        with serving.running(
            "--models-file",
            str(models),
            CODEX_BIN=str(standin.install(codex, standin.Scenario(turns=turns))),
            PROXY_UPSTREAM_URL=source.url,
        ) as server:
            yield Scene(server)


def code(scene: Scene, api: str, model: str, prompt: str, *, stream: bool) -> tuple[int, bool]:
    """The status of an answer, and whether the error of its limit is in it."""
    body = {"model": model, "stream": stream}
    if api == "chat":
        body["messages"] = [{"role": "user", "content": prompt}]
        answer = httpclient.ask(scene.server.url, "POST", "/chat/completions", body)
    else:
        answer = httpclient.ask(scene.server.url, "POST", "/responses", {**body, "input": prompt})
    expected = b"idle_timeout" if model.endswith("idle") else b"request_timeout"
    if api == "responses" and answer.status == 200:
        expected = b"response.failed"
    return answer.status, expected in answer.body


@pytest.mark.long(usual=("codex-chat", "upstream-responses"))
@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("worker", ["codex", "upstream"])
def test_no_output_in_the_time_of_a_name_is_a_504(scene: Scene, worker: str, api: str) -> None:
    for stream in (True, False):
        assert code(scene, api, f"{worker}-first", SILENT, stream=stream) == (504, True)
        assert code(scene, api, f"{worker}-whole", SILENT, stream=stream) == (504, True)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("worker", ["codex", "upstream"])
@pytest.mark.parametrize("limit", ["idle", "whole"])
def test_what_falls_silent_ends_with_an_error(
    scene: Scene, worker: str, api: str, limit: str
) -> None:
    assert code(scene, api, f"{worker}-{limit}", BEGUN, stream=True) == (200, True)
    assert code(scene, api, f"{worker}-{limit}", BEGUN, stream=False) == (504, True)
