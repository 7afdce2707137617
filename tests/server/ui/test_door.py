"""Who is let in: the browser that brings the token first, on a loopback name, for itself."""

from typing import Any

import pytest

from server.http.errors import ApiError
from server.http.exchange import Headers, Request
from server.ui import door


def asked(method: str = "GET", /, **headers: str) -> Request:
    async def no_body() -> bytes:
        return b""

    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(method, "/", Headers(pairs), "127.0.0.1", no_body)


def test_the_token_is_good_once() -> None:
    gate = door.Door(8000)
    ((name, cookie),) = gate.open(asked(), gate.token)
    assert name == "set-cookie"
    assert cookie.split("; ")[1:] == ["HttpOnly", "SameSite=Strict", "Path=/"]
    with pytest.raises(ApiError, match="used before"):
        gate.open(asked(), gate.token)


def test_who_only_looks_at_the_link_does_not_use_it_up() -> None:
    gate = door.Door(8000)
    assert gate.open(asked("HEAD"), gate.token) == []
    assert gate.open(asked(), gate.token) != []
    with pytest.raises(ApiError, match="used before"):
        gate.open(asked("HEAD"), gate.token)


def test_the_browser_that_is_in_may_open_the_link_again() -> None:
    gate = door.Door(8000)
    cookie = gate.open(asked(), gate.token)[0][1].partition(";")[0]
    assert gate.open(asked(cookie=cookie), gate.token) == []
    with pytest.raises(ApiError, match="used before"):
        gate.open(asked(cookie=cookie[:-1]), gate.token)


def test_another_token_opens_nothing_and_uses_nothing_up() -> None:
    gate = door.Door(8000)
    for wrong in ("", "x", gate.token[:-1], gate.token + "x", "\u2603"):
        with pytest.raises(ApiError):
            gate.open(asked(), wrong)
    assert gate.open(asked(), gate.token)


def test_only_the_cookie_of_this_run_is_let_in() -> None:
    gate = door.Door(8000)
    cookie = gate.open(asked(), gate.token)[0][1].partition(";")[0]
    gate.check(asked(cookie=f"theme=dark; {cookie}"))
    assert cookie.startswith("turntape_ui_8000=")
    other = door.Door(8000)
    wrong: list[dict[str, Any]] = [
        {},
        {"cookie": ""},
        {"cookie": cookie[:-1]},
        {"cookie": f"x{cookie}"},
        {"cookie": "turntape_ui_8000="},
        {"cookie": other.open(asked(), other.token)[0][1].partition(";")[0]},
    ]
    for headers in wrong:
        with pytest.raises(ApiError) as refused:
            gate.check(asked(**headers))
        assert refused.value.status == 401


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost", "LOCALHOST:9", "[::1]:8000"])
def test_a_loopback_name_is_served(host: str) -> None:
    door.check_origin(asked(host=host))


@pytest.mark.parametrize(
    "host", ["evil.test", "127.0.0.1.evil.test", "10.0.0.1:80", "0.0.0.0", ""]
)
def test_any_other_name_is_refused(host: str) -> None:
    with pytest.raises(ApiError) as refused:
        door.check_origin(asked(host=host))
    assert refused.value.status == 403


def test_a_request_that_names_no_host_is_refused() -> None:
    with pytest.raises(ApiError):
        door.check_origin(asked())


@pytest.mark.parametrize(
    ("site", "mode", "served"),
    [
        ("same-origin", "cors", True),
        ("none", "navigate", True),
        ("cross-site", "navigate", True),
        ("cross-site", "cors", False),
        ("same-site", "no-cors", False),
    ],
)
def test_the_page_of_another_origin_asks_for_nothing(site: str, mode: str, served: bool) -> None:
    request = asked(host="localhost", sec_fetch_site=site, sec_fetch_mode=mode)
    if served:
        door.check_origin(request)
        return
    with pytest.raises(ApiError, match="Only the page itself"):
        door.check_origin(request)
