"""The tenant of an app-server process, when a part of what it does breaks."""

import asyncio
from typing import Any

import msgspec
import pytest
import structlog.testing

from bench import appframes
from engine import redaction, rpcfigures
from engine.codex import loginfile, loginlink, sharedlogin, tenant
from engine.codex.protocol import appserver
from engine.codex.protocol.channel import Channel, ChannelClosed
from engine.codex.turns.dispatcher import Dispatcher
from machines import supervisor
from tests.support.machines import virtualtime


def raising(*_: Any, **__: Any) -> Any:
    raise RuntimeError("planted")


@pytest.mark.parametrize(
    ("owner", "part"), [(Channel, "finish_lines"), (Dispatcher, "lost"), (Channel, "close")]
)
def test_a_bug_met_while_a_process_is_lost_stops_no_other_part(
    owner: Any, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene() -> None:
        options: Any = _Options()
        shared = sharedlogin.SharedLogin(None, loginlink.Offer())
        server = tenant.AppServer(
            "codex-0",
            options,
            lambda: None,
            lambda feed, data: feed(data),
            lambda *_: None,
            rpcfigures.RpcFigures(),
            shared,
        )
        server.connected(lambda _: None)
        assert server.channel is not None
        call = server.channel.send("turn/start", appserver.ThreadUnsubscribeParams("t"))
        lost: list[str] = []
        monkeypatch.setattr(Dispatcher, "lost", lambda _: lost.append("lost"))
        monkeypatch.setattr(owner, part, raising)
        with pytest.raises(RuntimeError):
            server.lost("exited")
        assert lost == ([] if part == "lost" else ["lost"])
        assert server.channel.closed is (part != "close")
        monkeypatch.undo()
        server.lost("exited")  # it is tried again, and may be
        with pytest.raises(ChannelClosed):
            await call.reply

    virtualtime.run(scene())


class _Options:
    request_timeout = 1.0
    known = redaction.NONE


LOGIN = loginfile.Login(loginfile.Kind.CHATGPT, "a")
OTHER = loginfile.Login(loginfile.Kind.CHATGPT, "b")


class Process:
    """A supervised process that runs.

    Attributes:
        outdated_by: why it is to be replaced.
    """

    def __init__(self) -> None:
        self.state = supervisor.READY
        self.outdated_by: list[str] = []
        self.restarts = 0

    def outdated(self, message: str) -> None:
        self.outdated_by.append(message)

    def emptied(self) -> None:
        assert self.outdated_by


class Scene:
    """A process that is logged in, as far as it is asked."""

    def __init__(self, account: Any = None, error: str = "") -> None:
        options: Any = _Options()
        self.shared = sharedlogin.SharedLogin(None, loginlink.Offer())
        read: Any = lambda feed, data: feed(data)  # noqa: E731 - the protocol is a callable
        self.server = tenant.AppServer(
            "codex-0",
            options,
            lambda: None,
            read,
            lambda *_: None,
            rpcfigures.RpcFigures(),
            self.shared,
        )
        self._account = account
        self._error = error
        self.server.connected(self._write)
        self.process = Process()
        its_process: Any = self.process
        self.server.process = its_process

    async def log_in(self) -> None:
        """Have the process asked who is logged in."""
        assert self.server.channel is not None
        await self.server._read_account(self.server.channel)

    def say(self, method: str, **params: Any) -> None:
        """Write a notification."""
        self.server.received(appframes.notification(method, params))

    def _write(self, raw: bytes) -> None:
        line = msgspec.json.decode(raw)
        result = {"account": self._account, "requiresOpenaiAuth": True}
        reply = appframes.reply(line["id"], result)
        if self._error:
            reply = appframes.refusal(line["id"], -32603, self._error)
        asyncio.get_running_loop().call_soon(self.server.received, reply)


CHATGPT = {"type": "chatgpt", "email": "x@example.org", "planType": "plus"}


def test_a_login_that_was_changed_beside_it_replaces_a_process_at_the_second_look() -> None:
    async def scene() -> None:
        its = Scene(CHATGPT)
        await its.log_in()
        assert its.shared.account.plan == "plus"
        its.server._login_mark = LOGIN.mark
        for _ in range(3):
            its.server.login_on_file(LOGIN, written=True)
        assert its.process.outdated_by == []
        its.server.login_on_file(OTHER, written=True)
        assert its.process.outdated_by == []
        its.server.login_on_file(OTHER, written=False)
        assert its.process.outdated_by == ["its login was changed"]
        assert its.server.login.is_good, "turns that run go on with it"

    virtualtime.run(scene())


def test_a_login_that_has_gone_is_no_login_at_once() -> None:
    async def scene() -> None:
        its = Scene(CHATGPT)
        await its.log_in()
        its.server._login_mark = LOGIN.mark
        its.server.login_on_file(loginfile.NOBODY, written=True)
        assert its.process.outdated_by == ["its login was changed"]
        assert not its.server.login.is_there
        assert its.server.health().state == "logged_out"

    virtualtime.run(scene())


def test_a_login_that_was_no_good_and_is_written_again_replaces_the_process() -> None:
    async def scene() -> None:
        its = Scene(CHATGPT)
        await its.log_in()
        its.server._login_mark = LOGIN.mark
        its.server.login.refused()
        its.server.login_on_file(LOGIN, written=True)
        its.server.login_on_file(LOGIN, written=False)
        assert its.process.outdated_by == ["its login was changed"]

    virtualtime.run(scene())


def test_a_login_at_its_own_link_needs_no_other_process() -> None:
    async def scene() -> None:
        its = Scene(None)
        await its.log_in()
        assert its.server.reach(is_logged_in=False) is its.server.channel
        its.server.login_on_file(LOGIN, written=True)
        its._account = CHATGPT
        its.say("account/updated", authMode="chatgpt", planType="plus")
        assert its.server.login.is_good
        await asyncio.sleep(1)
        its.server.login_on_file(LOGIN, written=False)
        its.server.login_on_file(LOGIN, written=False)
        assert its.process.outdated_by == []
        assert its.shared.account.plan == "plus"
        its.say("account/updated", authMode=None, planType=None)
        assert not its.server.login.is_there

    virtualtime.run(scene())


def test_a_bug_met_while_it_is_asked_who_has_logged_in_is_said_and_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        its = Scene(CHATGPT)
        with monkeypatch.context() as planted:
            planted.setattr(its.shared.account, "found", raising)
            its.say("account/updated", authMode="chatgpt", planType="plus")
            await asyncio.sleep(0.5)
        await asyncio.sleep(1)
        assert its.shared.account.plan == "plus"

    with structlog.testing.capture_logs() as lines:
        virtualtime.run(scene())
    assert [(line["event"], line["task"]) for line in lines] == [("defect", "read_account")]


def test_an_account_that_chatgpt_does_not_tell_of_is_a_login_all_the_same() -> None:
    async def scene() -> None:
        its = Scene(error="workspace routing discovery failed at https://host.example")
        with structlog.testing.capture_logs() as lines:
            await its.log_in()
        assert its.server.login.is_good
        assert [line["event"] for line in lines] == ["codex_account_unread"]
        assert "host.example" not in str(lines)

    virtualtime.run(scene())
