"""The paths that there are, and their methods, on a real server."""

from pathlib import Path

import pytest

from server import router
from tests.server.plain import ask, chat
from tests.support.process import serving


def test_an_unknown_path_is_a_json_404(keyless: serving.Serve) -> None:
    paths = ("/", "/v1/embeddings", "/v1/models/", "/v1/chat/completions/", *router.ABSENT)
    for path in paths:
        answer = ask(keyless, "GET", path)
        assert (answer.status, answer.error["code"]) == (404, "not_found"), path


@pytest.mark.parametrize("route", router.ROUTES, ids=lambda route: route.path)
def test_a_wrong_method_names_the_right_ones(keyless: serving.Serve, route: router.Route) -> None:
    answer = ask(keyless, "PATCH", route.path.format(id="codex-5"))
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == ", ".join((*route.methods, "OPTIONS"))


@pytest.mark.parametrize("route", router.ROUTES, ids=lambda route: route.path)
def test_head_is_answered_without_a_body(keyless: serving.Serve, route: router.Route) -> None:
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
