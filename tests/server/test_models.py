"""A file of models before real servers: names, defaults, and who stands in when a target fails."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest

from bench import standin
from machines import events
from tests.support.client import chatclient
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers import upstreams

pytestmark = pytest.mark.slow

FILE = """
[models.small]
worker = "upstream"
model = "qwen"
defaults = { temperature = 0.2, max_tokens = 512, stop = ["END"] }

[models.careful]
worker = "upstream"
model = "qwen"
fallback = "spare"

[models.spare]
effort = "low"
model = "codex-5-high"
defaults = { max_tokens = 64 }

[models.chain]
worker = "upstream"
model = "one"
fallback = "second"

[models.second]
worker = "upstream"
model = "two"
defaults = { top_p = 0.5 }

[models.home]
worker = "codex"
model = "gpt-5.5"
fallback = "small"

[models.tape]
worker = "scripted"
model = "text-short"
"""
"""`careful` goes from an upstream to Codex, `home` the other way, `chain` to another model."""

BUSY = upstreams.response(503, {"error": {"message": "try later"}})
"""Makes an upstream's target fail, after three tries."""

CODEX_SAYS = "token " * 8
"""What the stand-in for Codex answers."""

TURNS = {
    "die": standin.Turn(deltas=0, ending="exit"),
    "at length": standin.Turn(deltas=32, texts=("0123456789abcdef",), ending="endless"),
}
"""Prompts that the stand-in answers otherwise."""


class Scene(NamedTuple):
    """A server, the upstream behind it, and the files of its stand-in for Codex."""

    server: serving.Serve
    source: upstreams.Hosted
    codex: Path

    def ask(self, model: str, text: str, **fields: Any) -> chatclient.Answer:
        """The answer to a prompt, which has one terminal record that knows its bytes."""
        answer = chatclient.ask(self.server, text, model=model, **fields)
        serverlog.recorded(self.server, answer)
        return answer

    def turns(self, text: str) -> list[Any]:
        """The turns that Codex was given with that prompt."""
        found: list[Any] = []
        threads: set[str] = set()  # whose turn has not begun: another process has the same ids
        lines: list[Any] = [*standin.received(self.codex)]
        for line in lines:
            method, params = line.get("method"), line.get("params", {})
            if method == "thread/inject_items" and json.dumps(text) in json.dumps(params):
                threads.add(params["threadId"])
            elif method == "turn/start" and params["threadId"] in threads:
                threads.remove(params["threadId"])
                found.append(params)
        return found

    def told(self, answer: chatclient.Answer) -> list[Any]:
        """What the log says of its fallbacks."""
        kinds = events.FallbackTaken | events.FallbackSkipped
        story = serverlog.story(self.server, answer.request_id)
        return [event for event in story if isinstance(event, kinds)]


@contextlib.contextmanager
def running(
    *arguments: str, text: str = FILE, url: str | None = None, **environ: str
) -> Iterator[Scene]:
    """A ready server with a models file; at its end all was well with it."""
    with tempfile.TemporaryDirectory() as parent, upstreams.Hosted() as source:
        codex = Path(parent) / "codex"
        codex.mkdir()
        models = Path(parent) / "turntape.toml"
        models.write_text(text)
        settings = {
            "CODEX_BIN": str(standin.install(codex, standin.Scenario(turns=TURNS))),
            "PROXY_UPSTREAM_URL": url or source.url,
            "PROXY_EVENT_LOG": "full",
            "WORKER_BACKOFF_INITIAL_MS": "50",
            "WORKER_BACKOFF_MAX_MS": "50",
            **environ,
        }
        data_dir = Path(parent) / "data"
        arguments = ("--models-file", str(models), *arguments)
        with serving.running(*arguments, data_dir=data_dir, **settings) as server:
            yield Scene(server, source, codex)
            serverlog.audit(server)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running() as up:
        yield up


TAKEN = events.FallbackTaken("gpt-5.5", "codex", "upstream_error")
"""The record of `careful` going to Codex, for its upstream answered with a 5xx."""


# --- Names ---


def test_the_names_of_the_file_are_listed_first(scene: Scene) -> None:
    status, listing = scene.server.get("/v1/models")
    names = [model["id"] for model in listing["data"]]
    mine = ["small", "careful", "spare", "chain", "second", "home", "tape"]
    assert (status, names[: len(mine)]) == (200, mine)
    assert "codex-5" in names[len(mine) :]
    assert len(names) == len(set(names))
    assert scene.server.get("/v1/models/tape")[1]["owned_by"] == "turntape"
    assert scene.server.get("/v1/models/small")[0] == 200
    assert scene.server.get("/v1/models/qwen")[0] == 404


def test_a_name_leads_to_its_worker_and_stays_the_name(scene: Scene) -> None:
    prompt = scene.source.prompt(upstreams.PLAIN)
    answer = scene.ask("small", prompt)
    assert answer.body["model"] == "small"
    assert scene.source.request_for(prompt).body["model"] == "qwen"
    tape = scene.ask("tape", "anything")
    assert (tape.body["model"], tape.status) == ("tape", 200)
    assert tape.text != CODEX_SAYS
    first = serverlog.story(scene.server, tape.request_id)[0]
    assert isinstance(first, events.Opened)
    assert (first.model, first.worker, first.target) == ("tape", "scripted", "text-short")


def test_other_names_are_the_default_workers(scene: Scene) -> None:
    assert scene.ask("codex-5", "not in the file").text == CODEX_SAYS
    answer = chatclient.ask(scene.server, "nobody's", model="qwen")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


def test_defaults_are_for_fields_that_a_request_leaves_out(scene: Scene) -> None:
    prompt = scene.source.prompt(upstreams.PLAIN)
    scene.ask("small", prompt, temperature=0, stop=None)
    scene.ask("small", prompt, max_completion_tokens=7)
    first, second = (request.body for request in scene.source.requests_for(prompt))
    assert (first["temperature"], first["max_tokens"], first["stop"]) == (0, 512, ["END"])
    assert second["temperature"] == 0.2
    assert (second["max_completion_tokens"], "max_tokens" in second) == (7, False)


def test_the_log_has_the_request_as_it_came(scene: Scene) -> None:
    prompt = scene.source.prompt(upstreams.PLAIN)
    first = serverlog.story(scene.server, scene.ask("small", prompt).request_id)[0]
    assert isinstance(first, events.Opened)
    assert "temperature" not in json.loads(bytes(first.request))


def test_effort_is_the_requests_or_the_files(scene: Scene) -> None:
    scene.ask("spare", "how hard")
    scene.ask("spare", "how very hard", reasoning_effort="medium")
    scene.ask("codex-5-high", "how hard indeed")
    efforts = [
        scene.turns(text)[0]["effort"] for text in ("how hard", "how very hard", "how hard indeed")
    ]
    assert efforts == ["low", "medium", "high"]


def test_a_default_that_codex_does_not_have_is_kept_here(scene: Scene) -> None:
    answer = scene.ask("spare", "at length")
    assert (len(answer.text), answer.finish_reason) == (64 * 4, "length")
    asked = scene.ask("spare", "as long as that", max_completion_tokens=2)
    assert (asked.text, asked.finish_reason) == ("token to", "length")


def test_a_wrong_field_is_named_whatever_the_model(scene: Scene) -> None:
    for model in ("spare", "small", "nobody"):
        answer = chatclient.ask(scene.server, "x", model=model, n="many")
        assert (answer.status, answer.error["param"]) == (400, "n"), model
    assert chatclient.ask(scene.server, "x", model=7).error["param"] == "model"
    # An upstream may take what Codex cannot.
    assert chatclient.ask(scene.server, "x", model="spare", temperature=9).status == 400
    assert chatclient.ask(scene.server, "x", model="small", temperature=9).status == 200


def test_health_knows_every_worker(scene: Scene) -> None:
    health = scene.server.get("/healthz")[1]
    assert health["worker"] == {"kind": "codex", "state": "ready"}
    machinetime.until(
        lambda: (
            scene.server.get("/healthz")[1]["workers"]
            == {"codex": "ready", "upstream": "ready", "scripted": "ready"}
        )
    )
    assert scene.server.get("/healthz")[1]["status"] == "ok"


# --- Who stands in ---


@pytest.mark.parametrize("stream", [False, True])
def test_where_an_upstream_fails_codex_answers(scene: Scene, stream: bool) -> None:
    prompt = scene.source.prompt(BUSY)
    answer = scene.ask("careful", prompt, stream=stream)
    assert (answer.status, answer.text, answer.finish_reason) == (200, CODEX_SAYS, "stop")
    assert answer.headers["x-turntape-fallback"] == "spare"
    if not stream:
        assert answer.body["model"] == "careful"
    assert scene.told(answer) == [TAKEN]
    assert len(scene.source.requests_for(prompt)) == 3
    (turn,) = scene.turns(prompt)
    assert turn["effort"] == "low"
    machinetime.until(lambda: answer.request_id in _told_of_fallbacks(scene))


def _told_of_fallbacks(scene: Scene) -> list[str]:
    """The requests that lines about a target that stands in name."""
    lines = list(scene.server.lines)
    return [line["req_id"] for line in lines if line.get("event") == "fallback_taken"]


@pytest.mark.parametrize("status", [401, 402, 404, 408, 429])
def test_a_refusal_that_is_not_about_the_request_is_passed_over(scene: Scene, status: int) -> None:
    refused = upstreams.response(status, {"error": {"message": "no", "code": "no"}})
    answer = scene.ask("careful", scene.source.prompt(refused))
    assert (answer.status, answer.text) == (200, CODEX_SAYS)
    assert [event.code for event in scene.told(answer)] == ["no"]


@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_a_request_at_fault_is_at_fault_everywhere(scene: Scene, status: int) -> None:
    prompt = scene.source.prompt(upstreams.response(status, {"error": {"message": "bad"}}))
    answer = scene.ask("careful", prompt)
    assert (answer.status, answer.error["message"]) == (status, "bad")
    assert (scene.told(answer), scene.turns(prompt)) == ([], [])
    assert "x-turntape-fallback" not in answer.headers


def test_after_the_first_output_nobody_stands_in(scene: Scene) -> None:
    said = upstreams.framed(upstreams.sse(upstreams.chunk("Hel")))
    prompt = scene.source.prompt([upstreams.STREAM_HEAD, said, "reset"])
    answer = scene.ask("careful", prompt, stream=True)
    assert (answer.text, answer.error["code"]) == ("Hel", "upstream_disconnected")
    assert (scene.told(answer), scene.turns(prompt)) == ([], [])


def test_one_that_stands_in_may_fail_too(scene: Scene) -> None:
    bad = upstreams.response(400, {"error": {"message": "bad"}})
    prompt = scene.source.prompt(BUSY, BUSY, BUSY, bad)
    answer = scene.ask("chain", prompt)
    assert (answer.status, answer.error["message"]) == (400, "bad")
    assert scene.told(answer) == [events.FallbackTaken("two", "upstream", "upstream_error")]
    bodies = [request.body for request in scene.source.requests_for(prompt)]
    assert [body["model"] for body in bodies] == ["one", "one", "one", "two"]
    assert ["top_p" in body for body in bodies] == [False, False, False, True]


def test_one_that_cannot_take_the_request_is_skipped(scene: Scene) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.net/x.png"}}
    prompt = scene.source.prompt(BUSY)
    messages = [{"role": "user", "content": [image]}, {"role": "user", "content": prompt}]
    answer = scene.ask("careful", prompt, messages=messages)
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert scene.told(answer) == [
        events.FallbackSkipped("gpt-5.5", "codex", "unsupported_content")
    ]
    wrong = scene.ask("careful", prompt, logprobs=True)
    assert (wrong.status, wrong.error["code"]) == (502, "upstream_error")
    assert [event.code for event in scene.told(wrong)] == ["unsupported_parameter"]


@pytest.mark.parametrize("stream", [False, True])
def test_limits_are_kept_for_a_worker_that_has_none(scene: Scene, stream: bool) -> None:
    prompt = scene.source.prompt(BUSY)
    answer = scene.ask("careful", prompt, max_tokens=2, stream=stream)
    assert (answer.text, answer.finish_reason) == ("token to", "length")
    stop = scene.ask("careful", scene.source.prompt(BUSY), stop=["n tok"], stream=stream)
    assert (stop.text, stop.finish_reason) == ("toke", "stop")


def test_every_choice_goes_along(scene: Scene) -> None:
    prompt = scene.source.prompt(BUSY)
    answer = scene.ask("careful", prompt, n=2)
    said = [choice["message"]["content"] for choice in answer.body["choices"]]
    assert said == [CODEX_SAYS, CODEX_SAYS]
    assert len(scene.turns(prompt)) == 2


def test_where_codex_fails_an_upstream_answers(scene: Scene) -> None:
    answer = scene.ask("home", "die", n=2)
    assert answer.status == 200
    assert scene.told(answer) == [events.FallbackTaken("qwen", "upstream", "worker_exited")]
    (request,) = scene.source.requests_for("die")
    assert (request.body["n"], request.body["temperature"]) == (2, 0.2)
    scene.server.wait_ready()


def test_somebody_stands_in_for_a_response_too(scene: Scene) -> None:
    with openai.OpenAI(base_url=scene.server.url, api_key="unused", max_retries=0) as client:
        prompt = scene.source.prompt(BUSY)
        answer = client.responses.with_raw_response.create(model="careful", input=prompt)
    assert answer.headers["x-turntape-fallback"] == "spare"
    response = answer.parse()
    assert (response.model, response.output_text) == ("careful", CODEX_SAYS)
    (turn,) = scene.turns(prompt)
    assert turn["effort"] == "low"


@pytest.mark.parametrize("head_hold", ["30000", "50"])
def test_one_that_says_nothing_in_time_is_left(head_hold: str) -> None:
    environ = {"PROXY_FIRST_CHUNK_TIMEOUT_MS": "300", "PROXY_HEAD_HOLD_MS": head_hold}
    with running(**environ) as up:
        prompt = up.source.prompt([upstreams.STREAM_HEAD, "stall"])
        answer = up.ask("careful", prompt, stream=True)
        assert (answer.status, answer.text) == (200, CODEX_SAYS)
        assert up.told(answer) == [events.FallbackTaken("gpt-5.5", "codex", "request_timeout")]
        # The name of who stands in is told as long as there is a head to tell it in.
        assert ("x-turntape-fallback" in answer.headers) == (head_hold == "30000")
        machinetime.until(lambda: up.source.request_for(prompt).left.is_set())
        silent = up.ask("chain", up.source.prompt([upstreams.STREAM_HEAD, "stall"]))
        assert (silent.status, silent.error["code"]) == (504, "request_timeout")


def test_one_that_cannot_be_reached_is_left_at_once(tmp_path: Path) -> None:
    with upstreams.Hosted() as gone:
        url = gone.url
    with running(url=url) as up:
        answer = up.ask("careful", "anybody")
        assert (answer.status, answer.text) == (200, CODEX_SAYS)
        codes = [event.code for event in up.told(answer)]
        assert codes == ["upstream_unreachable"]
        health = up.server.get("/healthz")[1]
        assert (health["status"], health["workers"]["upstream"]) == ("degraded", "unreachable")
        assert up.server.get("/readyz")[0] == 200


def test_one_that_is_switched_off_is_left_at_once() -> None:
    text = '[models.home]\nfallback = "tape"\n[models.tape]\nworker = "scripted"\n'
    text += 'model = "text-short"\n'
    text = text.replace("[models.home]\n", '[models.home]\nmodel = "codex-5"\n')
    with tempfile.TemporaryDirectory() as parent:
        models = Path(parent) / "turntape.toml"
        models.write_text(text)
        data = Path(parent) / "data"
        environ = {"PROXY_USE_APP_SERVER": "false", "PROXY_EVENT_LOG": "full"}
        server = serving.Serve(data, ("--models-file", str(models)), environ)
        try:
            answer = chatclient.ask(server, "x", model="home")
            assert (answer.status, answer.headers["x-turntape-fallback"]) == (200, "tape")
            serverlog.recorded(server, answer)
            off = chatclient.ask(server, "x", model="codex-5")
            assert (off.status, off.error["code"]) == (503, "app_server_disabled")
            serverlog.audit(server)
        finally:
            server.stop()


def test_a_masked_log_of_a_fallback_replays() -> None:
    with running(PROXY_EVENT_LOG="masked") as up:
        answer = chatclient.ask(up.server, up.source.prompt(BUSY), model="careful", stop="n tok")
        assert (answer.text, answer.finish_reason) == ("toke", "stop")
        assert up.told(answer) == [TAKEN]
