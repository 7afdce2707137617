"""The link at which somebody logs the server in: made once, and told as the operator wants it."""

import asyncio
from typing import Any

import msgspec

from bench import appframes
from engine.codex import loginlink
from engine.codex.protocol.channel import Channel
from engine.codex.turns.dispatcher import Dispatcher
from machines import events
from tests.support.machines import virtualtime

OWN = "https://intranet.example/login?to=codex"
LINK = "https://auth.example/authorize?state=x"
CODE = "worker_unauthorized"


class Process:
    """An app-server that gives links.

    Attributes:
        asked: how often it was asked for one.
    """

    def __init__(self, gives: bool = True) -> None:
        self.asked = 0
        self._gives = gives
        self.channel = Channel(self._read, Dispatcher(lambda _: None), 10.0)

    def _read(self, raw: bytes) -> None:
        line = msgspec.json.decode(raw)
        assert (line["method"], line["params"]) == ("account/login/start", {"type": "chatgpt"})
        self.asked += 1
        result = {"type": "chatgpt", "loginId": "1", "authUrl": f"{LINK}{self.asked}"}
        reply: Any = appframes.reply(line["id"], result)
        if not self._gives:
            reply = appframes.refusal(line["id"], -1, "no port")
        asyncio.get_running_loop().call_soon(self.channel.feed, reply)


def link(**offer: Any) -> loginlink.LoginLink:
    """A link as an operator wants it."""
    return loginlink.LoginLink(loginlink.Offer(**offer), asyncio.get_running_loop().time)


def url_of(its: loginlink.LoginLink) -> str | None:
    """The link as it is now."""
    return its.url


def test_no_link_is_told_unless_the_operator_wants_one() -> None:
    async def scene() -> None:
        none, process = link(), Process()
        none.want()
        await none.begin(process.channel)
        assert (process.asked, none.is_wanted, none.url) == (0, False, None)
        assert none.told(CODE, "No login.") == ("No login.", events.NO_MEMBERS)

    virtualtime.run(scene())


def test_a_link_of_the_operator_s_is_told_and_codex_is_not_asked() -> None:
    async def scene() -> None:
        own, process = link(url=OWN, from_codex=True), Process()
        await own.begin(process.channel)
        assert (process.asked, own.url) == (0, OWN)

    virtualtime.run(scene())


def test_a_link_is_told_in_the_members_that_the_operator_has_chosen() -> None:
    async def scene() -> None:
        in_message = link(url=OWN)
        said = f"No login. To log in, open {OWN}"
        assert in_message.told(CODE, "No login.") == (said, events.NO_MEMBERS)
        in_code = link(url=OWN, in_code=True, in_message=False)
        message, members = in_code.told(CODE, "No login.")
        assert message == "No login."
        assert msgspec.json.decode(members) == {"code": f"{CODE} | login_url={OWN}"}
        message, members = link(url=OWN, in_code=True).told(CODE, "No login.")
        assert (message, b"login_url" in bytes(members)) == (said, True)

    virtualtime.run(scene())


def test_one_link_is_told_as_long_as_codex_waits_behind_it() -> None:
    async def scene() -> None:
        its, process = link(from_codex=True), Process()
        await its.begin(process.channel)
        await its.begin(process.channel)
        its.want()
        assert (process.asked, its.url, its.is_wanted) == (1, f"{LINK}1", False)
        await asyncio.sleep(loginlink.LASTS_S)
        assert url_of(its) is None
        assert its.is_wanted
        await its.begin(process.channel)
        assert (process.asked, url_of(its)) == (2, f"{LINK}2")

    virtualtime.run(scene())


def test_a_login_that_another_has_cancelled_is_not_begun_again_at_once() -> None:
    async def scene() -> None:
        its, process = link(from_codex=True), Process()
        await its.begin(process.channel)
        its.ended(Process().channel)
        assert its.url == f"{LINK}1"
        its.ended(process.channel)
        assert url_of(its) is None
        await its.begin(process.channel)
        assert process.asked == 1, "it would cancel the other"
        await asyncio.sleep(loginlink.LASTS_S)
        await its.begin(process.channel)
        assert process.asked == 2

    virtualtime.run(scene())


def test_the_link_of_a_process_that_has_gone_is_replaced() -> None:
    async def scene() -> None:
        its, process, other = link(from_codex=True), Process(), Process()
        await its.begin(process.channel)
        process.channel.close()
        assert url_of(its) is None
        await its.begin(other.channel)
        assert (other.asked, url_of(its)) == (1, f"{LINK}1")

    virtualtime.run(scene())


def test_codex_that_gives_no_link_leaves_none() -> None:
    async def scene() -> None:
        its, process = link(from_codex=True), Process(gives=False)
        await its.begin(process.channel)
        assert process.asked == 1
        assert url_of(its) is None
        await its.begin(process.channel)
        assert process.asked == 1

    virtualtime.run(scene())
