"""What every request meets before its endpoint, on a real server: routes, gates, errors."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from server import router as routes
from tests.support.client import httpclient, httpwire
from tests.support.process import machinetime, serving

KEY = "sk-client-1234567890"
BODY = {"model": "codex-5", "messages": [{"role": "user", "content": "Hello"}]}


class Answer(NamedTuple):
    """Status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error of the envelope, which has all four keys."""
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert sorted(error) == ["code", "message", "param", "type"]
        assert self.headers["content-type"] == "application/json"
        return error


@pytest.fixture(scope="module")
def keyless() -> Iterator[serving.Serve]:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        yield server


@pytest.fixture(scope="module")
def keyed() -> Iterator[serving.Serve]:
    with serving.running(
        "--worker",
        "scripted",
        PROXY_SCRIPTED_SPEED="0",
        PROXY_API_KEY=KEY,
        PROXY_PROTECT_MODELS="true",
        PROXY_CORS_ALLOWED_ORIGINS="app://obsidian.md,https://ok.example",
    ) as server:
        yield server


def ask(
    server: serving.Serve,
    method: str,
    path: str,
    body: object = None,
    **headers: str,
) -> Answer:
    """One request; header names are given with `_` for `-`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = httpwire.request(method, path, data, sent)
    with httpclient.Exchange(httpclient.connect(server.base), request, method) as exchange:
        return Answer(*exchange.response()[:3])


def chat(server: serving.Serve, body: object = BODY, **headers: str) -> Answer:
    return ask(
        server,
        "POST",
        "/v1/chat/completions",
        body,
        **{"content_type": "application/json", **headers},
    )


def test_an_unknown_path_is_a_json_404(keyless: serving.Serve) -> None:
    paths = ("/", "/v1/embeddings", "/v1/models/", "/v1/chat/completions/", *routes.ABSENT)
    for path in paths:
        answer = ask(keyless, "GET", path)
        assert (answer.status, answer.error["code"]) == (404, "not_found"), path


@pytest.mark.parametrize("route", routes.ROUTES, ids=lambda route: route.path)
def test_a_wrong_method_names_the_right_ones(keyless: serving.Serve, route: routes.Route) -> None:
    answer = ask(keyless, "PATCH", route.path.format(id="codex-5"))
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == ", ".join((*route.methods, "OPTIONS"))


@pytest.mark.parametrize("route", routes.ROUTES, ids=lambda route: route.path)
def test_head_is_answered_without_a_body(keyless: serving.Serve, route: routes.Route) -> None:
    answer = ask(keyless, "HEAD", route.path.format(id="codex-5"))
    assert (answer.status, answer.body) == (200 if "HEAD" in route.methods else 405, b"")


def test_the_request_id_is_kept_if_it_is_fit_and_made_anew_if_not(
    keyless: serving.Serve,
) -> None:
    assert ask(keyless, "GET", "/livez", x_request_id="me:1.a-b").headers["x-request-id"] == (
        "me:1.a-b"
    )
    for unfit in ("a b", "x" * 129, "<script>", "é"):
        made = ask(keyless, "GET", "/nowhere", x_request_id=unfit).headers["x-request-id"]
        assert made.startswith("req_")
        assert made != unfit


def test_a_key_is_asked_for_before_the_body_is_read(keyed: serving.Serve) -> None:
    for headers in ({}, {"authorization": "Basic abc"}, {"authorization": "Bearer "}):
        answer = chat(keyed, b"not json at all", **headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
    wrong = chat(keyed, authorization="Bearer wrong")
    assert (wrong.status, wrong.error["message"]) == (401, "Incorrect API key provided.")
    assert KEY.encode() not in wrong.body


def test_the_right_key_opens_every_route(keyed: serving.Serve) -> None:
    assert chat(keyed, authorization=f"Bearer {KEY}").status == 200
    assert ask(keyed, "GET", "/v1/models").status == 401
    assert ask(keyed, "GET", "/v1/models", authorization=f"Bearer {KEY}").status == 200
    for path in ("/healthz", "/readyz", "/livez"):
        assert ask(keyed, "GET", path).status == 200


def test_without_a_key_only_loopback_hosts_are_served(
    keyless: serving.Serve, keyed: serving.Serve
) -> None:
    rebound = ask(keyless, "GET", "/v1/models", host="evil.example")
    assert (rebound.status, rebound.error["code"]) == (403, "host_not_allowed")
    for host in ("localhost:1", "127.0.0.1", "[::1]:80"):
        assert ask(keyless, "GET", "/livez", host=host).status == 200, host
    assert ask(keyed, "GET", "/livez", host="turntape.example").status == 200


def test_an_allowed_origin_may_read_and_any_other_may_not(keyed: serving.Serve) -> None:
    allowed = ask(keyed, "GET", "/livez", origin="https://ok.example")
    assert allowed.headers["access-control-allow-origin"] == "https://ok.example"
    assert allowed.headers["access-control-allow-credentials"] == "true"
    assert "x-request-id" in allowed.headers["access-control-expose-headers"]
    other = ask(keyed, "GET", "/livez", origin="https://evil.example")
    assert "access-control-allow-origin" not in other.headers
    assert other.headers["vary"] == "origin"
    refused = chat(keyed, origin="https://ok.example")
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://ok.example"


def test_a_preflight_needs_no_key(keyed: serving.Serve) -> None:
    answer = ask(
        keyed,
        "OPTIONS",
        "/v1/chat/completions",
        origin="app://obsidian.md",
        access_control_request_method="POST",
        access_control_request_headers="authorization, content-type, x-stainless-lang",
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "app://obsidian.md"
    assert answer.headers["access-control-allow-methods"] == "POST, HEAD, OPTIONS"
    assert "x-stainless-lang" in answer.headers["access-control-allow-headers"]


def test_a_body_of_another_media_type_is_refused(keyless: serving.Serve) -> None:
    answer = chat(keyless, content_type="text/plain")
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    assert chat(keyless, content_type="application/json; charset=utf-8").status == 200


def test_a_body_over_the_limit_is_refused() -> None:
    with serving.running("--worker", "scripted", PROXY_MAX_BODY_BYTES="1KiB") as server:
        answer = chat(server, {**BODY, "user": "x" * 2000})
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert chat(server).status == 200


def test_models_are_listed_and_found_by_their_encoded_name(keyless: serving.Serve) -> None:
    listed = json.loads(ask(keyless, "GET", "/v1/models").body)
    assert listed["object"] == "list"
    names = [model["id"] for model in listed["data"]]
    assert {"text-short", "codex-5", "codex-5-high", "codev-5"} <= set(names)
    for model in listed["data"]:
        assert sorted(model) == ["created", "id", "object", "owned_by"]
    found = json.loads(ask(keyless, "GET", "/v1/models/codex%2D5").body)
    assert (found["id"], found["object"]) == ("codex-5", "model")
    missing = ask(keyless, "GET", "/v1/models/org%2Fm")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")
    assert "org/m" in missing.error["message"]


def test_an_unknown_model_is_a_404_of_its_own(keyless: serving.Serve) -> None:
    answer = chat(keyless, {**BODY, "model": "gpt-2"})
    assert (answer.status, answer.error["param"]) == (404, "model")


def test_what_is_not_honoured_is_named(keyless: serving.Serve) -> None:
    answer = chat(
        keyless,
        {**BODY, "temperature": 0.5, "seed": None, "made_up": 1, "response_format": None},
    )
    assert answer.headers["x-turntape-ignored"] == "temperature, made_up"
    assert "x-turntape-emulated" not in answer.headers
    emulated = chat(keyless, {**BODY, "response_format": {"type": "json_object"}})
    assert emulated.headers["x-turntape-emulated"] == "response_format"


def test_too_many_choices_and_too_long_a_prompt_are_refused() -> None:
    with serving.running(
        "--worker", "scripted", PROXY_MAX_CHAT_CHOICES="2", PROXY_MAX_PROMPT_TOKENS="50"
    ) as server:
        many = chat(server, {**BODY, "n": 3})
        assert (many.status, many.error["param"]) == (400, "n")
        long = chat(server, {**BODY, "user": "x" * 300})
        assert (long.status, long.error["code"]) == (400, "context_length_exceeded")


def test_health_tells_no_pids_and_no_paths(keyless: serving.Serve) -> None:
    body = ask(keyless, "GET", "/healthz").body
    assert json.loads(body)["worker"] == {"kind": "scripted", "state": "ready"}
    assert str(keyless.process.pid).encode() not in body
    assert b"/" not in body


def test_health_tells_how_late_the_loop_is(keyless: serving.Serve) -> None:
    lag = json.loads(ask(keyless, "GET", "/healthz").body)["loop_lag_ms"]
    assert set(lag) == {"p99", "max"}
    assert 0 <= lag["p99"] <= lag["max"]
    machinetime.until(lambda: health_lag(keyless) > 0)


def test_health_tells_of_the_store(keyless: serving.Serve) -> None:
    store = json.loads(ask(keyless, "GET", "/healthz").body)["store"]
    assert store == {"state": "working", "failures": 0, "files_lost": 0}
    with serving.running("--worker", "scripted", PROXY_STORE="off") as server:
        assert server.get("/healthz")[1]["store"] == {"state": "off"}


def health_lag(server: serving.Serve) -> float:
    return float(server.get("/healthz")[1]["loop_lag_ms"]["max"])


def test_with_codex_switched_off_every_turn_is_refused(tmp_path: Path) -> None:
    server = serving.Serve(tmp_path, (), {"PROXY_USE_APP_SERVER": "false"})
    try:
        answer = chat(server)
        assert (answer.status, answer.error["code"]) == (503, "app_server_disabled")
        assert answer.headers["retry-after"] == "30"
        assert ask(server, "GET", "/readyz").status == 503
        assert ask(server, "GET", "/livez").status == 200
    finally:
        server.stop()
