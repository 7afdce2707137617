"""The doctor's look at what stands behind the server: real sockets, and each way they fail."""

import email.utils
import socket
import threading
import time
from pathlib import Path

import pytest

from server.cli.checks import reach
from server.cli.checks.findings import Finding, Status
from tests.server.cli.checks import checking
from tests.support.process import serving
from tests.support.providers import upstreams
from tests.support.providers.provider import Provider

KEY = "sk-upstream-0123456789"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def look(tmp_path: Path, url: str, **environ: str) -> dict[str, Finding]:
    """The findings about an upstream."""
    named = {"PROXY_WORKER": "upstream", "PROXY_UPSTREAM_URL": url, **environ}
    return checking.by_name(reach.check(checking.config(tmp_path, **named)))


def test_an_upstream_is_asked_for_its_models_with_the_key(tmp_path: Path) -> None:
    with upstreams.Hosted() as upstream:
        headers = {"PROXY_UPSTREAM_HEADERS": "X-Team: blue"}
        report = look(tmp_path, upstream.url, PROXY_UPSTREAM_API_KEY=KEY, **headers)
        (asked,) = upstream.server.listings
    assert asked.path == "GET /v1/models"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.headers["x-team"] == "blue"
    assert report["upstream"] == (
        "upstream",
        Status.OK,
        f"{upstream.url} answers, status 200 for its models",
        "",
    )


@pytest.mark.parametrize(
    ("code", "status", "advice"),
    [
        (401, Status.FAIL, "Check PROXY_UPSTREAM_API_KEY: it refuses the key."),
        (403, Status.FAIL, "Check PROXY_UPSTREAM_API_KEY: it refuses the key."),
        (500, Status.FAIL, "Look at its own log: it fails by itself."),
        (404, Status.WARN, "PROXY_UPSTREAM_URL has the wrong path."),
        (302, Status.WARN, "Is PROXY_UPSTREAM_URL the address of an API, with /v1?"),
    ],
)
def test_what_an_upstream_says_is_judged(
    tmp_path: Path, code: int, status: Status, advice: str
) -> None:
    with upstreams.Hosted() as upstream:
        upstream.server.models = upstreams.response(code, {})
        found = look(tmp_path, upstream.url)["upstream"]
    assert found.status is status
    assert f"status {code}" in found.found
    assert found.advice.endswith(advice)


def test_nobody_listening_is_a_failure(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{serving.free_port()}/v1"
    found = look(tmp_path, url)["upstream"]
    assert (found.status, found.found) == (Status.FAIL, f"{url}: refused")
    assert found.advice == "Start what should listen there, or correct PROXY_UPSTREAM_URL."


def test_a_name_that_is_nobodys_is_a_failure(tmp_path: Path) -> None:
    found = look(tmp_path, "http://nobody.invalid/v1")["upstream"]
    assert found.status is Status.FAIL
    assert found.found.endswith("the name nobody.invalid cannot be resolved")
    assert "getent hosts nobody.invalid" in found.advice


def test_plain_http_where_tls_is_expected_is_a_failure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def serve() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        found = look(tmp_path, f"https://127.0.0.1:{plain.getsockname()[1]}/v1")["upstream"]
        thread.join()
    assert found.status is Status.FAIL
    assert "TLS failed" in found.found
    assert "scheme in PROXY_UPSTREAM_URL" in found.advice


def test_who_accepts_and_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        target = reach.Target("upstream", f"http://127.0.0.1:{mute.getsockname()[1]}/v1", "URL")
        with pytest.raises(reach.Unreached, match="no answer within 1 s"):
            reach.ask(target, 1.0)


@pytest.mark.parametrize(
    ("ahead", "status", "said"),
    [
        (0, Status.OK, "s to the clock of the upstream"),
        (600, Status.WARN, "s behind that of the upstream"),
        (-600, Status.WARN, "s ahead of that of the upstream"),
    ],
)
def test_a_clock_that_is_wrong_is_a_warning(
    tmp_path: Path, ahead: int, status: Status, said: str
) -> None:
    date = email.utils.formatdate(time.time() + ahead, usegmt=True)
    with upstreams.Hosted() as upstream:
        upstream.server.models = upstreams.response(200, {}, f"date: {date}")
        found = look(tmp_path, upstream.url)["skew"]
    assert found.status is status
    assert said in found.found


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_without_a_time_there_is_no_skew(tmp_path: Path, date: str) -> None:
    with upstreams.Hosted() as upstream:
        header = (f"date: {date}",) if date else ()
        upstream.server.models = upstreams.response(200, {}, *header)
        assert "skew" not in look(tmp_path, upstream.url)


def test_a_proxy_of_the_environment_is_used_and_its_login_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with upstreams.Hosted() as proxy:
        address = proxy.url.removeprefix("http://").partition("/")[0]
        monkeypatch.setenv("http_proxy", f"http://user:passwd@{address}")
        found = look(tmp_path, "http://nobody.invalid/v1")["upstream"]
        (asked,) = proxy.server.listings
    assert asked.line.startswith("GET http://nobody.invalid/v1/models ")
    assert f"through the proxy {address}," in found.found
    assert "passwd" not in found.found
    assert asked.headers["proxy-authorization"] == "Basic dXNlcjpwYXNzd2Q="  # user:passwd


def test_a_provider_is_reached_without_its_key(tmp_path: Path) -> None:
    with Provider() as provider:
        config = checking.config(
            tmp_path,
            PROXY_WORKER="codex",
            PROXY_CODEX_BASE_URL=provider.url,
            PROXY_CODEX_API_KEY=KEY,
        )
        report = checking.by_name(reach.check(config))
        assert provider.strays == ["GET /v1/models"]
    assert report["provider"].status is Status.OK
    assert report["provider"].found == f"{provider.url} answers"


def test_the_providers_of_codex_by_its_login(tmp_path: Path) -> None:
    def urls(**environ: str) -> list[str]:
        config = checking.config(tmp_path, PROXY_WORKER="codex", **environ)
        return [target.url for target in reach.targets(config)]

    assert urls() == [reach.CHATGPT]
    assert urls(PROXY_CODEX_API_KEY=KEY) == [reach.OPENAI]
    assert urls(PROXY_USE_APP_SERVER="false") == []
    (tmp_path / "config.toml").write_text('model_provider = "own"')
    assert urls(CODEX_HOME=str(tmp_path)) == []


@pytest.mark.parametrize("url", ["http://[x/v1", "http://host:port/v1", "http://a..b/v1"])
def test_a_url_that_leads_nowhere_is_a_failure(tmp_path: Path, url: str) -> None:
    found = look(tmp_path, url)["upstream"]
    assert found.status is Status.FAIL
    assert "PROXY_UPSTREAM_URL" in found.advice
