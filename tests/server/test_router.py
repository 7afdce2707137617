"""The paths that there are, and their methods, on a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server import router
from tests.server.plain import KEY, ask, chat
from tests.support.process import serving


def test_an_unknown_path_is_a_json_404(keyless: serving.Serve) -> None:
    paths = ("/v1", "/v1/embeddings", "/v1/models/", "/v1/chat/completions/")
    for path in paths:
        answer = ask(keyless, "GET", path)
        assert (answer.status, answer.error["code"]) == (404, "not_found"), path


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("//v1/chat/completions", "/v1/chat/completions"),
        ("/v1//chat///completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/responses", "/v1/responses"),
        ("/models/", "/v1/models"),
        ("/v1/responses/input_tokens/", "/v1/responses/input_tokens"),
        ("/v1/responses//compact", "/v1/responses/compact"),
    ],
)
def test_k51_a_404_names_the_path_that_was_meant(
    keyless: serving.Serve, path: str, meant: str
) -> None:
    error = ask(keyless, "POST", path, {}).error
    assert error["message"] == f"Unknown request URL: {path}. Did you mean {meant}?"


def test_only_the_id_of_a_model_holds_slashes(keyless: serving.Serve) -> None:
    for path in ("/v1/responses/resp_1/", "/v1/responses/resp_1/cancel/", "/v1/streams/st_1/x"):
        assert ask(keyless, "GET", path).error["code"] == "not_found", path
    assert ask(keyless, "GET", "/v1/models/a/b").error["code"] == "model_not_found"


@pytest.mark.parametrize("path", ["/v1", "/v1/wp", "/wp-login.php", "/" + "v1/" * 9999])
def test_k51_a_404_of_anything_else_names_the_models(keyless: serving.Serve, path: str) -> None:
    message = ask(keyless, "GET", path).error["message"]
    assert message.endswith(" GET /v1/models lists the models.")
    assert len(message) < 300


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/files/f_1", "/v1/conversations"])
def test_a_404_says_that_a_part_of_the_api_is_not_offered(
    keyless: serving.Serve, path: str
) -> None:
    error = ask(keyless, "POST", path, {}).error
    part = path.split("/")[2]
    assert error["message"].endswith(f" This server offers no such part of the API ('{part}').")


def test_k50_a_preflight_is_answered_on_any_path(keyed: serving.Serve) -> None:
    answer = ask(keyed, "OPTIONS", "/nowhere", origin="https://ok.example")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "https://ok.example"


def test_k50_an_upgrade_needs_the_key_the_origin_and_a_handshake(keyed: serving.Serve) -> None:
    path, key = "/v1/responses", f"Bearer {KEY}"
    upgrade = {"upgrade": "websocket", "connection": "Upgrade", "sec_websocket_version": "13"}
    assert ask(keyed, "GET", path, **upgrade).status == 401
    page = ask(keyed, "GET", path, authorization=key, origin="https://evil.example", **upgrade)
    assert (page.status, page.error["code"]) == (403, "origin_not_allowed")
    answer = ask(keyed, "GET", path, authorization=key, **upgrade)
    assert (answer.status, answer.error["code"]) == (400, "bad_http")
    older = ask(keyed, "GET", path, authorization=key, **upgrade | {"sec_websocket_version": "8"})
    assert (older.status, older.error["code"]) == (426, "upgrade_required")
    assert older.headers["sec-websocket-version"] == "13"
    assert ask(keyed, "GET", path, authorization=key).status == 405


@pytest.mark.parametrize("host", ["localhost:", "127.0.0.1:", "[::1]:"])
def test_k50_a_port_may_be_empty(keyless: serving.Serve, host: str) -> None:
    assert ask(keyless, "GET", "/livez", host=host).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_k50_a_compressed_body_is_415(keyless: serving.Serve, encoding: str) -> None:
    answer = chat(keyless, content_encoding=encoding)
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    assert answer.headers["accept-encoding"] == "identity"
    assert chat(keyless, content_encoding="identity").status == 200


@pytest.fixture(scope="module")
def whole() -> Iterator[serving.Serve]:
    """A server that has every route, and needs no client's key."""
    environ = {"PROXY_ADMIN_KEY": KEY, "PROXY_TEST_ENDPOINTS": "true", "PROXY_SCRIPTED_SPEED": "0"}
    with serving.running("--worker", "scripted", data_dir=None, **environ) as server:
        yield server


@pytest.mark.parametrize("route", router.ROUTES, ids=lambda route: route.path)
def test_a_wrong_method_names_the_right_ones(whole: serving.Serve, route: router.Route) -> None:
    answer = ask(whole, "PATCH", route.path.format(id="codex-5"))
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == ", ".join((*route.methods, "OPTIONS"))


@pytest.mark.parametrize("route", router.ROUTES, ids=lambda route: route.path)
def test_head_is_answered_without_a_body(whole: serving.Serve, route: router.Route) -> None:
    answer = ask(whole, "HEAD", route.path.format(id="codex-5"))
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
