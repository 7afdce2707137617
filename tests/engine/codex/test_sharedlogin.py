"""The login that all processes share: its file is watched, its quota asked for when it is old."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog.testing

from bench import appframes
from engine.codex import loginfile, loginlink, sharedlogin
from engine.codex.loginfile import Kind
from engine.codex.protocol import notifications
from engine.codex.protocol.channel import Channel
from engine.codex.turns import verdicts
from engine.codex.turns.dispatcher import Dispatcher
from tests.support.machines import virtualtime
from tests.support.process import machinetime

USED_UP = verdicts.NAMED["usageLimitExceeded"]


class Process:
    """A process with the login.

    Attributes:
        methods: what it was asked for.
        found: the logins that it was told of.
    """

    def __init__(self, quota: Any = None, is_logged_in: bool = True) -> None:
        self.methods: list[str] = []
        self.found: list[Kind] = []
        self.is_logged_in = is_logged_in
        self._quota = quota
        self.channel = Channel(self._read, Dispatcher(lambda _: None), 10.0)

    def login_on_file(self, found: loginfile.Login, written: bool) -> None:
        self.found.append(found.kind)

    def reach(self, is_logged_in: bool) -> Channel | None:
        return self.channel if self.is_logged_in is is_logged_in else None

    def _read(self, raw: bytes) -> None:
        line = msgspec.json.decode(raw)
        self.methods.append(line["method"])
        if line["method"] == "account/login/start":
            answer = {"type": "chatgpt", "loginId": "1", "authUrl": "https://auth.example"}
            reply = appframes.reply(line["id"], answer)
        elif self._quota is None:
            reply = appframes.refusal(line["id"], -32600, "no quota at https://host.example/x")
        else:
            reply = appframes.reply(line["id"], {"rateLimits": self._quota})
        asyncio.get_running_loop().call_soon(self.channel.feed, reply)


def shared(home: Path | None = None, **offer: Any) -> sharedlogin.SharedLogin:
    """A login with ChatGPT."""
    made = sharedlogin.SharedLogin(home, loginlink.Offer(**offer))
    made.account.found(Kind.CHATGPT)
    return made


def news(used: float | None) -> notifications.RateLimitSnapshot:
    """News of the short window, or none of any."""
    window = None if used is None else {"usedPercent": used, "resetsAt": 1 << 39}
    return msgspec.convert({"primary": window}, notifications.RateLimitSnapshot)


async def following(its: sharedlogin.SharedLogin, process: Process, seconds: float) -> int:
    """Follow the quota for a while; how often it was asked for."""
    task = asyncio.ensure_future(its.follow_quota([process]))
    await asyncio.sleep(seconds)
    task.cancel()
    return process.methods.count("account/rateLimits/read")


def test_the_quota_is_asked_for_once_and_again_where_nothing_is_heard_of_it() -> None:
    async def scene() -> None:
        its, process = shared(), Process({"primary": {"usedPercent": 42}})
        assert await following(its, process, 5) == 1
        assert its.account.windows(0)[0].used == 0.42
        assert await following(its, process, sharedlogin.QUIET_S) == 2

    virtualtime.run(scene())


def test_news_of_the_quota_save_a_question_and_empty_ones_do_not() -> None:
    async def scene() -> None:
        its, process = shared(), Process({"primary": {"usedPercent": 42}})
        its.quota_told(news(7))
        assert await following(its, process, 5) == 1, "news are not all of it"
        for _ in range(4):
            await asyncio.sleep(sharedlogin.QUIET_S / 2)
            its.quota_told(news(43))
        assert await following(its, process, 5) == 1
        await asyncio.sleep(sharedlogin.QUIET_S)
        its.quota_told(news(None))
        assert await following(its, process, 5) == 2

    virtualtime.run(scene())


def test_a_quota_that_cannot_be_read_is_said_once() -> None:
    async def scene() -> None:
        its, process = shared(), Process(None)
        assert await following(its, process, 3 * sharedlogin.QUIET_S) >= 2

    with structlog.testing.capture_logs() as lines:
        virtualtime.run(scene())
    assert [line["event"] for line in lines] == ["codex_quota_unread"]
    assert "host.example" not in str(lines)


def test_a_key_has_no_quota_and_nobody_logged_in_is_not_asked() -> None:
    async def scene() -> None:
        its, process = shared(), Process({"primary": {"usedPercent": 42}})
        its.account.found(Kind.API_KEY)
        assert await following(its, process, 5) == 0
        its.account.found(Kind.CHATGPT)
        process.is_logged_in = False
        assert await following(its, process, 5) == 0

    virtualtime.run(scene())


def test_a_used_up_quota_says_when_it_is_whole_and_is_asked_for_where_it_does_not() -> None:
    async def scene() -> None:
        its, process = shared(), Process({"primary": {"usedPercent": 100, "resetsAt": 1 << 39}})
        assert its.with_reset(USED_UP) == USED_UP
        its.quota_told(news(100))
        failure = its.with_reset(USED_UP)
        assert failure.retry_after is not None
        assert failure.retry_after > 1e9
        assert its.with_reset(failure) is failure
        assert await following(its, process, 5) == 1
        its.quota_told(news(50))
        assert its.with_reset(USED_UP).retry_after is None
        assert await following(its, process, sharedlogin.PAUSE_S) == 2, "the news were old"

    virtualtime.run(scene())


def test_a_login_beside_the_server_is_told_to_its_processes(tmp_path: Path) -> None:
    async def scene() -> None:
        its, process = shared(tmp_path), Process()
        its.quota_told(news(42))
        await its.look()
        caring = asyncio.ensure_future(its.care([process]))
        (tmp_path / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": "sk-secret"}))
        while Kind.API_KEY not in process.found:  # noqa: ASYNC110 - it looks when it looks
            await asyncio.sleep(0.01)
        assert (its.account.login, its.account.windows(0)) == (Kind.API_KEY, ())
        caring.cancel()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(scene())
    (line,) = lines
    assert (line["event"], line["login"]) == ("codex_login_changed", "api_key")


def test_a_process_that_cannot_be_told_of_a_login_keeps_it_from_no_other(tmp_path: Path) -> None:
    class Broken(Process):
        def login_on_file(self, found: loginfile.Login, written: bool) -> None:
            raise RuntimeError("planted")

    async def scene() -> None:
        its, process = shared(tmp_path), Process()
        caring = asyncio.ensure_future(its.care([Broken(), process]))
        (tmp_path / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": "sk-secret"}))
        await until(lambda: Kind.API_KEY in process.found)
        assert not caring.done()
        caring.cancel()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(scene())
    defects = [line["boundary"] for line in lines if line["event"] == "defect"]
    assert set(defects) == {"process"}


@pytest.mark.long
def test_a_login_that_cannot_be_read_is_said_once_until_it_can_be(tmp_path: Path) -> None:
    place = tmp_path / "auth.json"

    async def scene() -> None:
        its, process = shared(tmp_path), Process()
        await its.look()
        place.mkdir()
        caring = asyncio.ensure_future(its.care([process]))
        await until(lambda: len(lines) == 1)
        seen = len(process.found)
        await until(lambda: len(process.found) > seen + 1)
        place.rmdir()
        place.write_text(json.dumps({"OPENAI_API_KEY": "sk-secret"}))
        await until(lambda: len(lines) == 2)
        place.write_text('{"OPENAI_API_KEY": "sk-sec')
        await until(lambda: len(lines) == 3)
        caring.cancel()

    with structlog.testing.capture_logs() as lines:
        asyncio.run(scene())
    unreadable = "codex_login_unreadable"
    assert [each["event"] for each in lines] == [unreadable, "codex_login_changed", unreadable]
    assert [lines[index]["problem"] for index in (0, 2)] == ["Is a directory", "is no JSON"]
    assert lines[0]["path"] == str(place)
    assert "sk-sec" not in str(lines)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so: it looks at the file when it looks."""
    async with asyncio.timeout(machinetime.HANG_S):
        while not is_so():  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)


def test_a_link_that_was_missed_is_made_soon(tmp_path: Path) -> None:
    async def scene() -> None:
        its, process = shared(None, from_codex=True), Process(is_logged_in=False)
        caring = asyncio.ensure_future(its.care([process]))
        await asyncio.sleep(5)
        assert process.methods == []
        its.link.want()
        await asyncio.sleep(5)
        assert (process.methods, its.link.url) == (["account/login/start"], "https://auth.example")
        caring.cancel()

    virtualtime.run(scene())


def test_a_failure_by_a_bad_login_says_where_to_log_in() -> None:
    async def scene() -> None:
        its, process = shared(None, from_codex=True, in_code=True), Process(is_logged_in=False)
        failure = await its.with_link(verdicts.NAMED["unauthorized"], process.channel)
        assert failure.code == "worker_unauthorized"
        assert failure.message.endswith("To log in, open https://auth.example")
        code = "worker_unauthorized | login_url=https://auth.example"
        assert msgspec.json.decode(failure.members) == {"code": code}

    virtualtime.run(scene())


def test_a_defect_of_the_first_look_costs_no_start(tmp_path: Path) -> None:
    async def scene() -> None:
        its = shared(tmp_path)

        def fail() -> bool:
            raise RuntimeError("planted")

        its._watch.look = fail  # type: ignore[union-attr, method-assign]  # it is planted
        await its.begin()

    with structlog.testing.capture_logs() as lines:
        virtualtime.run(scene())
    assert [(line["event"], line["task"]) for line in lines] == [("defect", "login")]
