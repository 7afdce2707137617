"""Every call of a logger is declared, every declaration is used, real lines keep the schema."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # its types are a package of their own
import pytest

from bench import standin
from server.logschema import fields, lines
from server.logschema.declared import Event
from tests.server.plain import BODY, ask, chat
from tests.support.client import httpclient
from tests.support.logs import linecheck
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.tools import emitters, redraw, sources

EMITTERS = emitters.found()
DECLARED = {event.name: event for event in lines.EVENTS}
CHAT = "/v1/chat/completions"

each_emitter = pytest.mark.parametrize("emitter", EMITTERS, ids=lambda each: each.where)
each_event = pytest.mark.parametrize("event", lines.EVENTS, ids=lambda each: each.name)


@each_emitter
def test_a_call_of_a_logger_is_declared(emitter: emitters.Emitter) -> None:
    assert emitter.events, f"{emitter.where}: an event's name is a plain text"
    for name in emitter.events:
        event = DECLARED.get(name)
        assert event is not None, f"{emitter.where}: declare {name!r} in server/logschema"
        assert emitter.component == event.component, emitter.where
        if emitter.method == "log":
            assert len(event.severities) > 1, f"{emitter.where}: which severities?"
        else:
            assert emitter.method in event.severities, emitter.where
        named = {each for each in emitter.fields if each != "exc_info"}
        assert named <= {*event.all_fields(), *fields.COMMON}, emitter.where


def test_every_way_to_a_logger_is_seen() -> None:
    """A module makes its loggers in the usual form, so that no call of one is overlooked."""
    for module in sources.PRODUCT:
        made = module.source.count("structlog.get_logger(")
        named = module.source.count("structlog.get_logger(component=")
        if module.name == "server.diagnostics":
            made -= 1  # the example in its docstring is of a component too
            named -= 1
        assert made == named, f"{module.name}: a logger has a component"
        if made:
            found = [each for each in EMITTERS if each.where.startswith(_path(module))]
            assert found, f"{module.name}: its logger is never called, as far as can be seen"


def _path(module: sources.Module) -> str:
    return f"{module.path.relative_to(sources.ROOT)}:"


@each_event
def test_an_event_is_of_one_form(event: Event) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", event.name)
    assert event.name in {name for each in EMITTERS for name in each.events}, "nobody says it"
    assert event.component in fields.COMPONENTS
    assert event.meaning
    assert not set(event.all_fields()) & set(fields.COMMON)
    unknown = set(event.all_fields()) - fields.FIELDS.keys()
    assert unknown == set(), "declare it in server/logschema/fields.py"


def test_nothing_is_declared_twice_or_in_vain() -> None:
    assert len(DECLARED) == len(lines.EVENTS)
    used = {name for event in lines.EVENTS for name in event.all_fields()}
    assert fields.FIELDS.keys() == used
    assert {event.component for event in lines.EVENTS} == fields.COMPONENTS.keys()


def test_the_shipped_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(lines.schema())


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"event": "made_up"}, "no such event"),
        ({"component": "pump"}, "'server' was expected"),
        ({"severity": "error"}, "not one of"),
        ({"timestamp": "yesterday"}, "does not match"),
        ({"streams": "3"}, "not of type 'integer'"),
        ({"more": 1}, "Additional properties"),
    ],
)
def test_a_line_that_is_not_as_declared_is_found(changed: dict[str, Any], problem: str) -> None:
    line = {
        "timestamp": "2026-01-31T12:00:00.000250Z",
        "severity": "info",
        "component": "server",
        "event": "stop_asked",
        "streams": 3,
    }
    assert linecheck.unlike([line]) == []
    (found,) = linecheck.unlike([line | changed])
    assert problem in found


def test_the_example_of_the_page_keeps_the_schema() -> None:
    page = (redraw.DOCS / "diagnostics.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"(?s)```json\n(.*?)```", page)
    assert linecheck.unlike([json.loads(example)]) == []


@pytest.fixture(scope="module")
def troubled() -> Iterator[serving.Serve]:
    """A server before an upstream that fails in many ways, told of in every line."""
    settings = {"PROXY_LOG_LEVEL": "debug", "PROXY_ENV": "dev", "PROXY_ADMIN_KEY": "a" * 20}
    with upstreams.stage([upstreams.PLAIN], PROXY_LATENCY_BUDGET_MS="1", **settings) as stage:
        _trouble(stage)
        stage.server.stop()
        yield stage.server


def _trouble(stage: upstreams.Stage) -> None:
    """Ask for answers that end well, fail, are cut, are left; and for what is refused."""
    server = stage.server
    hello = upstreams.STREAM_HEAD + upstreams.framed(upstreams.sse(upstreams.chunk("Hello")))
    refused = upstreams.response(402, {"error": {"message": "No.", "code": "no credit here"}})
    answers: list[upstreams.Answer] = [upstreams.PLAIN, [hello, "close"], ["reset"], refused]
    for answer in (*answers, upstreams.stream()):
        for stream in (True, False):
            body = _request(stage, answer, stream=stream)
            with httpclient.begin(server.url, "POST", "/chat/completions", body) as asked:
                asked.response_or_part()
    leaving = _request(stage, [hello, scripted.Gate()], stream=True)
    with httpclient.begin(server.url, "POST", "/chat/completions", leaving) as asked:
        asked.until(b"Hello")
        asked.leave()
    for wrong in ({"model": 1}, b"{", {**BODY, "n": 0}):
        chat(server, wrong)
    for path in ("/nowhere", "/healthz", "/metrics", "/v1/models"):
        ask(server, "GET", path)
    _in_background(stage)
    own = {"authorization": f"Bearer {'a' * 20}", "content_type": "application/json"}
    ask(server, "PUT", "/admin/maintenance", {"enabled": True, "message": "Soon."}, **own)
    ask(server, "PUT", "/admin/maintenance", {"enabled": False}, **own)
    override = {"content": "masked", "minutes": 1}
    ask(server, "PUT", "/admin/logging", override, **own)
    machinetime.until(lambda: any(each.get("kind") == "client_gone" for each in server.lines))


def _in_background(stage: upstreams.Stage) -> None:
    gate = scripted.Gate()
    rest = upstreams.sse(upstreams.chunk(finish="stop")) + upstreams.DONE
    prompt = stage.upstream.prompt([upstreams.STREAM_HEAD, gate, upstreams.framed(rest)])
    made = {"model": "m", "input": prompt, "background": True}
    ask(stage.server, "POST", "/v1/responses", made, content_type="application/json")
    gate.open()
    machinetime.until(lambda: any(x.get("event") == "stream_ended" for x in stage.server.lines))


def test_lines_of_a_server_in_trouble_keep_the_schema(troubled: serving.Serve) -> None:
    assert linecheck.unlike(troubled.lines) == []
    seen = {line["event"] for line in troubled.lines if "event" in line}
    assert seen >= {
        *("listening", "lifecycle", "stop_asked", "stopped"),
        *("request_ended", "request_over_latency_budget", "stream_ended", "turn_failed"),
        *("maintenance_changed", "log_content_changed", "upstream_changed"),
    }
    assert {line.get("env") for line in troubled.lines} == {"dev"}


def test_a_failure_of_the_server_s_side_has_the_worker_s_state(troubled: serving.Serve) -> None:
    access = [line for line in troubled.lines if line.get("component") == "access"]
    failed = [line for line in access if line["severity"] == "error"]
    assert failed
    assert {line["worker_state"] for line in failed} == {"ready"}
    assert all("worker_state" not in line for line in access if line not in failed)


def test_lines_of_a_server_whose_codex_fails_keep_the_schema(tmp_path: Path) -> None:
    scenario = standin.Scenario()
    program = standin.install(tmp_path, scenario)
    with serving.running(
        PROXY_LOG_LEVEL="debug", CODEX_BIN=str(program), WORKER_BACKOFF_INITIAL_MS="10"
    ) as server:
        _kill_codex(server)
        machinetime.until(lambda: len(_spawned(server)) > 1)
        server.wait_ready()
        chat(server, {**BODY, "stream": True})
        server.stop()
    assert linecheck.unlike(server.lines) == []
    assert {"worker_state", "worker_lost"} <= {line.get("event") for line in server.lines}
    (lost,) = [line for line in server.lines if line.get("event") == "worker_lost"][:1]
    assert lost["worker_state"]


def _spawned(server: serving.Serve) -> list[dict[str, Any]]:
    return [line for line in list(server.lines) if line.get("trigger") == "spawned"]


def _kill_codex(server: serving.Serve) -> None:
    os.kill(_spawned(server)[-1]["pid"], signal.SIGKILL)


def _request(stage: upstreams.Stage, *answers: upstreams.Answer, **members: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": stage.upstream.prompt(*answers)}]
    return {"model": "upstream-model", "messages": messages, **members}
