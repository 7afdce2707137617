"""In maintenance new work is refused with a hint, and everything else goes on: a real server."""

import contextlib
import datetime
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from server import maintenance, router
from tests.server import plain
from tests.support.client import chatclient, responsesclient
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import STREAM_HEAD, chunk, framed, sse

ADMIN = "adminKey0123456789admin"
CLIENT = "clientKey0123456789client"

WORK = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
"""Routes that have models work."""

Json = dict[str, Any]


def put(server: serving.Serve, key: str = ADMIN, **asked: object) -> plain.Answer:
    """A change that an operator asks for."""
    return plain.ask(
        server,
        "PUT",
        "/admin/maintenance",
        asked,
        authorization=f"Bearer {key}",
        content_type="application/json",
    )


def status(server: serving.Serve) -> Json:
    """What an operator is told of the maintenance."""
    answer = plain.ask(server, "GET", "/admin/maintenance", authorization=f"Bearer {ADMIN}")
    assert answer.status == 200
    found: Json = json.loads(answer.body)
    return found


def changes(server: serving.Serve) -> list[Json]:
    """The lines of the diagnostics that say what changed."""
    return [line for line in server.lines if line.get("event") == "maintenance_changed"]


@contextlib.contextmanager
def opened(data_dir: Path | None = None, **environ: str) -> Iterator[serving.Serve]:
    """A server on transcripts that operators may steer."""
    settings = {"PROXY_SCRIPTED_SPEED": "0", "PROXY_ADMIN_KEY": ADMIN, **environ}
    with serving.running("--worker", "scripted", data_dir=data_dir, **settings) as server:
        yield server


@pytest.fixture(scope="module")
def steered() -> Iterator[serving.Serve]:
    with opened() as server:
        yield server


@pytest.fixture
def server(steered: serving.Serve) -> Iterator[serving.Serve]:
    """The same server for every test, open again after each."""
    yield steered
    assert put(steered, enabled=False).status == 200


def test_s35_new_work_is_refused_with_the_operators_words_and_hint(server: serving.Serve) -> None:
    put(server, enabled=True, message="New disks until noon.", retry_after_s=90)
    for path in WORK:
        body = {"model": "gpt-5.5", "messages": [], "input": "Hello"}
        answer = plain.ask(server, "POST", path, body, content_type="application/json")
        assert (answer.status, answer.headers["retry-after"]) == (503, "90")
        assert answer.error == {
            "message": "New disks until noon.",
            "type": "server_error",
            "param": None,
            "code": "maintenance",
        }
    put(server, enabled=False)
    assert plain.chat(server).status == 200


def test_s35_every_other_route_goes_on(server: serving.Serve) -> None:
    client = responsesclient.Client(server)
    made = client.made("Hello", model="codex-5")["id"]
    put(server, enabled=True)
    tried = set()
    for route in router.ROUTES:
        for method in route.methods:
            if route.path in WORK and method == "POST":
                continue
            if route in (*router.ADMIN, *router.TESTS, *router.RESPONSES) and method != "HEAD":
                continue
            told = made if route.key is router.KeyNeed.OWNER else "codex-5"
            answer = plain.ask(server, method, route.path.format(id=told))
            assert answer.status == 200, (method, route.path)
            tried.add(route.path)
    assert {"/readyz", "/healthz", "/livez", "/v1/models", *WORK} <= tried
    assert client.get(made).status == 200
    assert client.input_items(made).status == 200
    assert client.cancel(made).problem[:1] == (400,), "it is not one of the background"
    assert client.delete(made).status == 200
    assert client.create("Hello", background=True).problem[:2] == (503, "maintenance")


def test_s35_the_sdk_sees_the_hint_on_both_apis(server: serving.Serve) -> None:
    put(server, enabled=True, message="Back at noon.", retry_after_s=7)
    with openai.OpenAI(base_url=server.url, api_key="unused", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError, match="Back at noon") as chat:
            client.chat.completions.create(
                model="gpt-5.5", messages=[{"role": "user", "content": "Hello"}], stream=True
            )
        with pytest.raises(openai.InternalServerError, match="Back at noon") as response:
            client.responses.create(model="gpt-5.5", input="Hello")
    for error in (chat.value, response.value):
        assert (error.status_code, error.code) == (503, "maintenance")
        assert error.response.headers["retry-after"] == "7"


def test_s35_the_sdk_does_not_try_again_where_the_wait_is_long(server: serving.Serve) -> None:
    put(server, enabled=True, retry_after_s=121)
    sent = {"x-request-id": "long-wait"}
    with (
        openai.OpenAI(base_url=server.url, api_key="unused", max_retries=2) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.responses.create(model="gpt-5.5", input="Hello", extra_headers=sent)

    def tried() -> list[dict[str, Any]]:
        return [each for each in server.records() if each.get("request_id") == "long-wait"]

    machinetime.until(lambda: bool(tried()))  # the record is written behind the answer
    assert [each["event"] for each in tried()] == ["request_rejected"]


def test_s35_results_of_tools_are_new_work(server: serving.Serve) -> None:
    """A turn that waits for them goes on waiting; the client has the conversation."""
    put(server, enabled=True)
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]
    answer = plain.chat(server, {"model": "gpt-5.5", "messages": messages})
    assert (answer.status, answer.error["code"]) == (503, "maintenance")


def test_s35_health_and_the_operator_are_told_the_same(server: serving.Serve) -> None:
    off = {"enabled": False, "since": None, "until": None, "message": None}
    assert server.get("/healthz")[1]["maintenance"] == off
    put(server, enabled=True, until=_ahead(3600))
    told = status(server)
    assert told["enabled"] is True
    assert told["message"] == maintenance.MESSAGE
    assert server.get("/healthz")[1]["maintenance"] == {name: told[name] for name in off}
    assert server.get("/readyz") == (200, {"status": "ready"})
    wait = int(plain.chat(server).headers["retry-after"])
    assert 3000 < wait <= 3600


def _ahead(seconds: float) -> str:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return then.isoformat()


def test_s35_a_zone_is_understood(server: serving.Serve) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    then = datetime.datetime.now(zone).replace(microsecond=0) + datetime.timedelta(hours=1)
    put(server, enabled=True, until=then.isoformat())
    assert datetime.datetime.fromisoformat(status(server)["until"]) == then


def test_s35_it_ends_by_itself(server: serving.Serve) -> None:
    assert put(server, enabled=True, until=_ahead(3 * machinetime.slowness())).status == 200
    machinetime.until(lambda: changes(server)[-1]["cause"] == "until")
    assert plain.chat(server).status == 200
    assert status(server)["enabled"] is False


def test_s35_a_change_has_a_line_with_its_author(server: serving.Serve) -> None:
    put(server, enabled=True, message="Disks.")
    machinetime.until(lambda: changes(server)[-1]["message"] == "Disks.")
    line = changes(server)[-1]
    assert (line["severity"], line["component"], line["cause"]) == (
        "warning",
        "maintenance",
        "admin",
    )
    assert (line["enabled"], line["message"]) == (True, "Disks.")
    assert (line["key"], line["client"]) == ("PROXY_ADMIN_KEY", "127.0.0.1")
    assert line["req_id"].startswith("req_")
    refused = plain.chat(server, x_request_id="mine")
    assert refused.status == 503
    machinetime.until(lambda: any(line.get("req_id") == "mine" for line in server.lines))
    (access,) = (line for line in server.lines if line.get("req_id") == "mine")
    assert (access["severity"], access["code"]) == ("warning", "maintenance")
    (record,) = (each for each in server.records() if each.get("request_id") == "mine")
    assert (record["event"], record["code"]) == ("request_rejected", "maintenance")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "enabled"),
        ({"enabled": "yes"}, "enabled"),
        ({"enabled": None}, "enabled"),
        ({"enabled": True, "message": ""}, "message"),
        ({"enabled": True, "message": "x" * 501}, "message"),
        ({"enabled": True, "message": 5}, "message"),
        ({"enabled": True, "retry_after_s": 0}, "retry_after_s"),
        ({"enabled": True, "retry_after_s": 86_401}, "retry_after_s"),
        ({"enabled": True, "retry_after_s": 1.5}, "retry_after_s"),
        ({"enabled": True, "until": "noon"}, "until"),
        ({"enabled": True, "until": "2126-01-31T12:00:00"}, "until"),
        ({"enabled": True, "until": "2126-01-31T12:00:00Z"}, "until"),
        ({"enabled": True, "until": "2020-01-31T12:00:00Z"}, "until"),
        ({"enabled": True, "until": "0001-01-01T00:00:00+14:00"}, "until"),
        ({"enabled": True, "until": 1_800_000_000}, "until"),
        ({"enabled": True, "persist": 1}, "persist"),
        ({"enabled": True, "retry_after": 5}, "retry_after"),
        ({"enabled": False, "message": "x"}, "message"),
        ({"enabled": False, "persist": True}, "persist"),
    ],
)
def test_s35_what_is_wrong_is_named_and_changes_nothing(
    server: serving.Serve, asked: Json, param: str
) -> None:
    before = status(server)
    answer = put(server, **asked)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert answer.error["type"] == "invalid_request_error"
    assert status(server) == before


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{", "application/json", "invalid_json"),
        (b"[]", "application/json", "invalid_json"),
        (b'{"enabled":true}', "text/plain", "unsupported_media_type"),
        (
            b'{"enabled":true,"message":"%b"}' % (b"x" * 20_000),
            "application/json",
            "request_too_large",
        ),
    ],
)
def test_s35_a_body_that_is_none_is_refused(
    server: serving.Serve, body: bytes, content_type: str, code: str
) -> None:
    answer = plain.ask(
        server,
        "PUT",
        "/admin/maintenance",
        body,
        authorization=f"Bearer {ADMIN}",
        content_type=content_type,
    )
    assert answer.error["code"] == code
    assert status(server)["enabled"] is False


def test_s35_what_cannot_be_kept_is_said_and_changes_nothing(server: serving.Serve) -> None:
    draft = server.data_dir / f"{maintenance.FILE}.new"
    draft.mkdir()
    try:
        answer = put(server, enabled=True, persist=True)
        assert (answer.status, answer.error["code"]) == (503, "maintenance_not_kept")
        assert status(server)["enabled"] is False
        assert put(server, enabled=True).status == 200
    finally:
        draft.rmdir()


def test_s35_a_message_holds_no_key_of_ours(server: serving.Serve) -> None:
    put(server, enabled=True, message=f"Ask with {ADMIN} at noon.")
    assert plain.chat(server).error["message"] == "Ask with ******** at noon."


def test_s35_without_an_admin_key_there_is_no_such_route(keyed: serving.Serve) -> None:
    for path in ("/admin/maintenance", "/admin/nothing"):
        for method in ("GET", "PUT", "PATCH"):
            answer = plain.ask(keyed, method, path, authorization=f"Bearer {plain.KEY}")
            assert (answer.status, answer.error["code"]) == (404, "not_found")
            assert answer.error["message"].startswith(f"Unknown request URL: {path}.")


def test_s35_each_key_opens_its_own_routes_only() -> None:
    with opened(PROXY_API_KEY=CLIENT) as server:
        for key in (CLIENT, "wrong", ADMIN[:-1]):
            answer = put(server, key=key, enabled=True)
            assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        nothing = plain.ask(server, "GET", "/admin/maintenance")
        assert nothing.status == 401
        assert plain.chat(server, authorization=f"Bearer {ADMIN}").status == 401
        assert plain.chat(server, authorization=f"Bearer {CLIENT}").status == 200
        put(server, enabled=True)
        # Who has no key is told that, and nothing of the maintenance.
        assert plain.chat(server, authorization="Bearer wrong").status == 401
        assert plain.chat(server, authorization=f"Bearer {CLIENT}").status == 503
        assert server.stop() == 0
        left = [json.dumps(server.lines).encode()]
        left += [path.read_bytes() for path in server.data_dir.rglob("*") if path.is_file()]
        assert not any(key.encode() in text for key in (ADMIN, CLIENT) for text in left)


def test_s35_a_restart_keeps_what_shall_persist_and_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path) as server:
        put(server, enabled=True, message="Disks.", persist=True)
        assert (tmp_path / maintenance.FILE).stat().st_mode & 0o777 == 0o600
        told = status(server)
        server.stop(signal.SIGKILL)
    with opened(tmp_path) as server:
        assert status(server) == told
        assert plain.chat(server).error["message"] == "Disks."
        machinetime.until(lambda: len(changes(server)) == 1)
        (line,) = changes(server)
        assert line["cause"] == "start"
        put(server, enabled=True, message="Not for long.")
        assert server.stop() == 0
    with opened(tmp_path) as server:
        assert status(server)["enabled"] is False
        assert plain.chat(server).status == 200


def test_s35_the_setting_begins_it_without_an_admin_key() -> None:
    with serving.running("--worker", "scripted", PROXY_MAINTENANCE_MODE="true") as server:
        answer = plain.chat(server)
        assert (answer.status, answer.headers["retry-after"]) == (503, "30")
        assert answer.error["message"] == maintenance.MESSAGE
        assert server.get("/readyz")[0] == 200
        assert server.get("/healthz")[1]["maintenance"]["enabled"] is True


def test_s35_a_server_that_leaves_and_drains_is_still_in_maintenance() -> None:
    with opened(PROXY_DRAIN_DELAY_MS="600000") as server:
        put(server, enabled=True)
        server.process.terminate()
        machinetime.until(lambda: server.get("/readyz")[0] == 503)
        assert plain.chat(server).error["code"] == "maintenance"
        assert server.stop() == 0


@pytest.fixture
def source() -> Iterator[upstreams.Hosted]:
    with upstreams.Hosted() as hosted:
        yield hosted


def test_s35_answers_that_run_come_to_their_end(source: upstreams.Hosted) -> None:
    gate = scripted.Gate()
    rest = framed(sse(chunk(" world", finish="stop"), "[DONE]"))
    prompt = source.prompt([STREAM_HEAD, framed(sse(chunk("Hello"))), gate, rest, "close"])
    environ = {"PROXY_UPSTREAM_URL": source.url, "PROXY_ADMIN_KEY": ADMIN}
    with serving.running("--worker", "upstream", data_dir=None, **environ) as server:
        responses = responsesclient.Client(server)
        with (
            chatclient.LiveChat(server, prompt, stream=True) as chat,
            chatclient.LiveChat(server, prompt) as whole,
            responses.creating(prompt) as response,
        ):
            chat.next("content")
            response.event("response.output_text.delta")
            made = responses.made(prompt, background=True)["id"]
            machinetime.until(lambda: len(source.requests_for(prompt)) == 4)
            put(server, enabled=True)
            assert plain.chat(server).status == 503
            assert responses.get(made).body["status"] == "in_progress"
            gate.open()
            assert (chat.answer().text, chat.answer().outline[-1]) == ("Hello world", "done")
            assert whole.answer().text == "Hello world"
            assert response.reply().told[-1]["type"] == "response.completed"
            machinetime.until(lambda: responses.get(made).body["status"] == "completed")
            assert server.get("/healthz")[1]["streams"] == 0
