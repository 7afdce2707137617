"""What a request passes before its endpoint: host, key, origin."""

from tests.server.plain import KEY, ask, chat
from tests.support.process import serving


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


def test_an_id_that_begins_as_one_that_is_made_here_is_replaced(keyed: serving.Serve) -> None:
    for given, is_kept in (("mine", True), ("st_mine", False), ("rj_1", False), ("wk_1", False)):
        answer = ask(keyed, "GET", "/v1/models", x_request_id=given)
        assert (answer.headers["x-request-id"] == given) is is_kept
