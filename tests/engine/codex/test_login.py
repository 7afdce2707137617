"""A login with ChatGPT, against an app-server that is written here by hand."""

import asyncio
import gc
from typing import Any

import msgspec
import pytest

from engine.codex import login
from engine.codex.child import process
from tests.support.machines import virtualtime

LINK = "https://auth.example/authorize"
TIMEOUT_S = 10.0


class _Options(msgspec.Struct):
    request_timeout: float = TIMEOUT_S
    client_version: str = "1"


class AppServer:
    """The process of a login: takes requests and answers them."""

    def __init__(self) -> None:
        self._requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        options: Any = _Options()
        self.login = login.Login(options)
        self.login.connected(lambda line: self._requests.put_nowait(msgspec.json.decode(line)))

    def write(self, **line: Any) -> None:
        """Write a line."""
        self.login.received(msgspec.json.encode(line) + b"\n")

    async def answer(self, method: str, **line: Any) -> Any:
        """Wait for a request and answer it; gives its params."""
        while (request := await self._requests.get())["method"] != method:
            pass
        self.write(id=request["id"], **line)
        return request["params"]

    def end(self, **params: Any) -> None:
        """Say that the login has ended."""
        self.write(method="account/login/completed", params=params)

    async def offered(self) -> str:
        """The link, of a process that is ready and offers one."""
        self.login.ready()
        waiting = asyncio.ensure_future(self.login.link())
        result = {"type": "chatgpt", "loginId": "1", "authUrl": LINK}
        params = await self.answer("account/login/start", result=result)
        assert params == {"type": "chatgpt"}
        return await waiting


def test_a_link_is_offered_and_somebody_logs_in() -> None:
    async def scene() -> None:
        server = AppServer()
        handshake = asyncio.ensure_future(server.login.handshake())
        result = {"userAgent": "codex/1", "codexHome": "/home"}
        await server.answer("initialize", result=result)
        assert await handshake == "codex/1"
        assert await server.offered() == LINK
        waiting = asyncio.ensure_future(server.login.completed())
        server.end(success=True, loginId="1", error=None)
        await waiting

    virtualtime.run(scene())


@pytest.mark.parametrize(
    ("error", "reason"),
    [("access denied", "access denied"), (None, "the login was not completed")],
)
def test_a_login_that_is_not_completed_fails_with_codex_s_reason(
    error: str | None, reason: str
) -> None:
    async def scene() -> None:
        server = AppServer()
        await server.offered()
        server.end(success=False, loginId="1", error=error)
        server.end(success=True, loginId="1", error=None)  # the first word counts
        with pytest.raises(login.LoginFailed, match=f"^{reason}$"):
            await server.login.completed()

    virtualtime.run(scene())


def test_codex_that_offers_no_link_fails_the_login() -> None:
    async def scene() -> None:
        server = AppServer()
        server.login.ready()
        waiting = asyncio.ensure_future(server.login.link())
        await server.answer("account/login/start", error={"code": -1, "message": "port is taken"})
        with pytest.raises(login.LoginFailed, match="port is taken"):
            await waiting

    virtualtime.run(scene())


def test_codex_that_answers_nothing_fails_the_login_in_time() -> None:
    async def scene() -> float:
        server = AppServer()
        server.login.ready()
        with pytest.raises(login.LoginFailed):
            await server.login.link()
        return asyncio.get_running_loop().time()

    assert virtualtime.run(scene()) == pytest.approx(TIMEOUT_S)


def test_a_handshake_that_is_refused_is_told_to_the_supervisor() -> None:
    async def scene() -> None:
        server = AppServer()
        waiting = asyncio.ensure_future(server.login.handshake())
        await server.answer("initialize", error={"code": -1, "message": "too old"})
        with pytest.raises(process.HandshakeRefused, match="too old"):
            await waiting

    virtualtime.run(scene())


@pytest.mark.parametrize("is_ready", [False, True])
def test_a_process_that_is_lost_ends_who_waits(is_ready: bool) -> None:
    async def scene() -> None:
        server = AppServer()
        if is_ready:
            await server.offered()
        waiting = asyncio.ensure_future(
            server.login.completed() if is_ready else server.login.link()
        )
        await asyncio.sleep(0)
        server.login.lost("has ended")
        server.login.lost("has ended again")
        with pytest.raises(login.LoginFailed, match=r"^Codex has ended$"):
            await waiting

    virtualtime.run(scene())


def test_a_process_that_is_lost_after_its_login_was_given_up_reports_nothing() -> None:
    reported: list[dict[str, Any]] = []

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, report: reported.append(report))
        server = AppServer()
        server.login.lost("asked to stop")
        del server
        gc.collect()

    virtualtime.run(scene())
    assert reported == []
