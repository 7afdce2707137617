"""The way to an upstream as the environment has it: found out once, and kept until it changes."""

import asyncio
import base64
import os
import threading
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
import uvloop

from engine.upstream import client as upstreamclient, environment
from tests.support.providers import upstreams

OK: upstreams.Answer = [upstreams.head(200, "content-length: 2", kind="application/json") + b"{}"]

BODY = b'{"messages":[]}'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator without a netrc file or a proxy."""
    for name in ("NETRC", "http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode('latin-1')).decode()}"


def put(path: Path, file: str) -> None:
    """Have this in place of what is there; without a text no file."""
    path.unlink(missing_ok=True)
    if file:
        path.write_text(file)


def rewrite(path: Path, old: str, new: str) -> None:
    """Change a file so that only a look into it shows that."""
    before = path.stat()
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def post(client: upstreamclient.Client) -> None:
    response = await client.complete(BODY)
    assert response.status == 200
    await response.read()
    response.close()


def sent(*files: str, path: Path, url: str = "", **options: Any) -> list[str | None]:
    """The `authorization` of a request with each of these netrc files, one after another."""

    async def main() -> list[str | None]:
        async with upstreams.serving([OK]) as source:
            where = url.format(source.port) if url else source.url
            client = upstreamclient.Client(upstreamclient.Options(url=where, **options))
            for file in files:
                put(path, file)
                await post(client)
            await client.close()
            return [request.headers.get("authorization") for request in source.requests]

    return uvloop.run(main())


def test_a_login_of_the_file_is_sent_and_a_changed_one_from_the_next_request_on(
    home: Path,
) -> None:
    files = (
        "",
        "machine 127.0.0.1 login me password one",
        "machine 127.0.0.1 login me password other",
        "machine elsewhere login me password one",
        "default login any password w\u00f6rd",
        "machine 127.0.0.1 account paid password x",
        "",
    )
    assert sent(*files, path=home / ".netrc") == [
        None,
        basic("me:one"),
        basic("me:other"),
        None,
        basic("any:w\u00f6rd"),
        basic("paid:x"),
        None,
    ]


def test_the_file_may_be_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "logins"
    monkeypatch.setenv("NETRC", str(named))
    file = "machine 127.0.0.1 login me password one"
    assert sent(file, path=named) == [basic("me:one")]


def test_a_login_that_is_configured_comes_first(home: Path) -> None:
    file, path = "default login me password one", home / ".netrc"
    assert sent(file, path=path, api_key="sk-1") == ["Bearer sk-1"]
    headers = (("Authorization", "Token t"),)
    assert sent(file, path=path, headers=headers) == ["Token t"]
    assert sent(file, path=path, url="http://us:er@127.0.0.1:{}/v1") == [basic("us:er")]


def test_a_file_that_cannot_be_read_is_named_once_and_nothing_of_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with structlog.testing.capture_logs() as lines:
        assert sent("machine", path=home / ".netrc") == [None]
        path = home / "none"
        monkeypatch.setenv("NETRC", str(path))
        assert sent("", "", path=path) == [None, None]
    assert [(line["event"], line["why"]) for line in lines] == [
        ("netrc_unreadable", "NetrcParseError"),
        ("netrc_unreadable", "FileNotFoundError"),
    ]


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(home: Path) -> None:
    async def main() -> None:
        os.mkfifo(home / ".netrc")
        async with upstreams.serving([OK]) as source:
            client = upstreamclient.Client(upstreamclient.Options(url=source.url))
            await asyncio.gather(post(client), post(client))
            await client.close()
            found = [request.headers.get("authorization") for request in source.requests]
        assert found == [None, None]

    with structlog.testing.capture_logs() as lines:
        uvloop.run(main())
    assert [(line["event"], line["why"]) for line in lines] == [("netrc_unreadable", "OSError")]


def test_a_file_is_read_up_to_a_size_and_once_for_all_that_wait(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(file: str) -> list[str | None]:
        (home / ".netrc").write_text(file)
        async with upstreams.serving([OK]) as source:
            client = upstreamclient.Client(upstreamclient.Options(url=source.url))
            await asyncio.gather(*(post(client) for _ in range(4)))
            await client.close()
            return [request.headers.get("authorization") for request in source.requests]

    file = "default login me password one\n"
    monkeypatch.setattr(environment, "NETRC_BYTES", 2 * len(file))
    assert uvloop.run(main(file)) == [basic("me:one")] * 4
    with structlog.testing.capture_logs() as lines:
        assert uvloop.run(main(3 * file)) == [None] * 4
    assert len(lines) == 1


def test_no_request_starts_a_thread_or_reads_an_unchanged_file_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    usual = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        started.append(thread.name)
        usual(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setenv("http_proxy", "http://nowhere.invalid:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert sent("", "", "", path=home / ".netrc") == [None] * 3
    assert started == []

    async def main() -> None:
        (home / ".netrc").write_text("default login me password one")
        async with upstreams.serving([OK]) as source:
            client = upstreamclient.Client(upstreamclient.Options(url=source.url))
            await post(client)
            (home / ".netrc").chmod(0)  # who reads it again now is refused
            for _ in range(3):
                await post(client)
            await client.close()
            found = [request.headers.get("authorization") for request in source.requests]
            assert found == [basic("me:one")] * 4
        assert len(started) == 1

    uvloop.run(main())


@pytest.mark.parametrize("user", ["", "its:own@"])
def test_a_proxy_is_given_its_login(
    home: Path, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> str:
        (home / ".netrc").write_text("machine 127.0.0.1 login me password p:w@rd/%")
        async with upstreams.serving([OK]) as proxy:
            monkeypatch.setenv("http_proxy", f"http://{user}127.0.0.1:{proxy.port}")
            options = upstreamclient.Options(url="http://llm.invalid/v1", api_key="sk-1")
            client = upstreamclient.Client(options)
            await post(client)
            await client.close()
            assert proxy.requests[0].line.startswith("POST http://llm.invalid/v1/")
            assert proxy.requests[0].headers["authorization"] == "Bearer sk-1"
            return proxy.requests[0].headers["proxy-authorization"]

    assert uvloop.run(main()) == basic("its:own" if user else "me:p:w@rd/%")


@pytest.mark.parametrize("proxy", ["https://127.0.0.1:1", "WSS://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_spoken_to_is_named_and_not_used(
    home: Path, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with structlog.testing.capture_logs() as lines:
        assert sent("", path=home / ".netrc") == [None]
    assert [line["event"] for line in lines] == ["proxy_not_supported"]


def test_a_proxy_without_an_address_fails_requests_and_not_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        monkeypatch.setenv("http_proxy", "http://[")
        client = upstreamclient.Client(upstreamclient.Options(url="http://llm.invalid/v1"))
        with pytest.raises((ValueError, upstreamclient.Unanswered, aiohttp.ClientError)):
            await post(client)
        await client.close()

    uvloop.run(main())
