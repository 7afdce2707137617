"""A login with ChatGPT, against an app-server that is written here by hand."""

import asyncio
import gc
from typing import Any

import msgspec
import pytest

from engine.codex import login
from engine.codex.child import process
from engine.codex.protocol import appserver, notifications
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

    async def offered(self) -> login.Link:
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
        assert await server.offered() == login.Link(LINK)
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


def test_a_login_by_a_code_is_offered_for_a_browser_anywhere() -> None:
    async def scene() -> None:
        server = AppServer()
        server.login.ready()
        waiting = asyncio.ensure_future(server.login.device_link())
        result = {"type": "chatgptDeviceCode", "loginId": "1", "verificationUrl": LINK}
        params = await server.answer("account/login/start", result={**result, "userCode": "AB-1"})
        assert params == {"type": "chatgptDeviceCode"}
        assert await waiting == login.Link(LINK, "AB-1")

    virtualtime.run(scene())


def test_a_key_is_kept_when_codex_says_so() -> None:
    async def scene() -> None:
        server = AppServer()
        server.login.ready()
        waiting = asyncio.ensure_future(server.login.log_in("sk-secret"))
        params = await server.answer("account/login/start", result={"type": "apiKey"})
        assert params == {"type": "apiKey", "apiKey": "sk-secret"}
        server.end(success=True, loginId=None, error=None)
        await waiting

    virtualtime.run(scene())


def test_a_logout_is_over_when_codex_says_so_and_fails_where_it_does_not() -> None:
    async def scene() -> None:
        server = AppServer()
        server.login.ready()
        waiting = asyncio.ensure_future(server.login.log_out())
        await server.answer("account/logout", result={})
        await waiting
        waiting = asyncio.ensure_future(server.login.log_out())
        await server.answer("account/logout", error={"code": -1, "message": "read-only home"})
        with pytest.raises(login.LoginFailed, match="read-only home"):
            await waiting

    virtualtime.run(scene())


QUOTA = {"primary": {"usedPercent": 42}}


def test_the_standing_of_a_chatgpt_login_is_its_plan_its_quota_and_its_use() -> None:
    async def scene() -> None:
        server = AppServer()
        server.login.ready()
        waiting = asyncio.ensure_future(server.login.standing())
        account = {"type": "chatgpt", "email": "x@example.org", "planType": "plus"}
        read = {"account": account, "requiresOpenaiAuth": True}
        await server.answer("account/read", result=read)
        await server.answer("account/rateLimits/read", result={"rateLimits": QUOTA})
        await server.answer("account/usage/read", result={"summary": {"lifetimeTokens": 7}})
        its = await waiting
        assert (its.account, its.trouble) == (appserver.Account("chatgpt", "plus"), "")
        assert its.quota is not None
        assert its.quota.primary == notifications.RateLimitWindow(42)
        assert its.usage == appserver.UsageSummary(7)
        assert "example.org" not in repr(its)

    virtualtime.run(scene())


def test_what_of_the_standing_cannot_be_read_is_said_and_the_rest_is_told() -> None:
    async def scene() -> None:
        server = AppServer()
        server.login.ready()
        waiting = asyncio.ensure_future(server.login.standing())
        unread = {"code": -32603, "message": "routing failed"}
        await server.answer("account/read", error=unread)
        await server.answer("account/rateLimits/read", result={"rateLimits": QUOTA})
        await server.answer("account/usage/read", error={"code": -32603, "message": "no usage"})
        its = await waiting
        assert (its.account, its.trouble) == (appserver.Account(), "routing failed")
        assert (its.quota is not None, its.usage) == (True, None)

    virtualtime.run(scene())


@pytest.mark.parametrize("account", [None, {"type": "apiKey"}])
def test_of_a_key_and_of_nobody_no_quota_is_asked_for(account: Any) -> None:
    async def scene() -> None:
        server = AppServer()
        server.login.ready()
        waiting = asyncio.ensure_future(server.login.standing())
        read = {"account": account, "requiresOpenaiAuth": True}
        await server.answer("account/read", result=read)
        expected = appserver.Account("apiKey") if account else None
        assert await waiting == login.Standing(expected)

    virtualtime.run(scene())


def test_codex_that_answers_nothing_fails_the_login_in_time() -> None:
    async def scene() -> float:
        server = AppServer()
        server.login.ready()
        with pytest.raises(login.LoginFailed):
            await server.login.link()
        return asyncio.get_running_loop().time()

    assert virtualtime.run(scene()) == pytest.approx(login.NETWORK_S)


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
