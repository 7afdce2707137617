"""The login that all processes of a worker share, and what is kept true of it while they run.

Someone may log in or out beside the server, other clients use up the same account's quota, and its
windows end. So the login's file is looked at every `LOOK_S`, and ChatGPT is asked for the quota
where nothing has been heard of it for `QUIET_S`. Nothing here can fail a turn or a process.
"""

import asyncio
import operator
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from engine import containment, failures, redaction, worker
from engine.codex import account, loginfile, loginlink
from engine.codex.protocol import appserver, notifications
from engine.codex.protocol.channel import Channel, ChannelClosed, RpcError, RpcTimedOut

LOOK_S: Final = 1.0
"""Between two looks at the login's file: a change of it is to be seen within 5 s, the restart of a
process that follows included."""

QUIET_S: Final = 600.0
"""How old the last news of the quota may be. While turns run, each brings some."""

PAUSE_S: Final = 30.0
"""Least time between two questions for the quota, whoever wants to know it."""

USAGE_LIMIT: Final = "usage_limit_exceeded"
"""The code of a failure that a used up quota is to blame for."""

_log = structlog.get_logger(component="codex")


class Process(Protocol):
    """A process with the login, as far as this module needs it."""

    def login_on_file(self, found: loginfile.Login, written: bool) -> None:
        """Take the login that lies in the home now.

        Args:
            written: whether its file is another than at the last look.
        """

    def reach(self, is_logged_in: bool) -> Channel | None:
        """Return the channel to it, if it is well and its login as is asked."""


class SharedLogin:
    """The login of a worker.

    Args:
        home: where its file is; None where no file counts.
        known: the server's own secrets, which a process may repeat.

    Attributes:
        account: behind it.
        link: where somebody may log in.
        on_file: as it was found last.
    """

    def __init__(
        self,
        home: Path | None,
        offer: loginlink.Offer,
        known: redaction.Redaction = redaction.NONE,
    ) -> None:
        self._known = known
        self.account = account.Account()
        self.link = loginlink.LoginLink(offer, asyncio.get_running_loop().time)
        self._watch = None if home is None else loginfile.Watch(home)
        self._now = asyncio.get_running_loop().time
        self._heard: float | None = None
        self._asked: float | None = None
        self._is_readable = True
        self._problem = ""
        self._is_told = False

    @property
    def on_file(self) -> loginfile.Login:
        """The login that was found last."""
        return loginfile.NOBODY if self._watch is None else self._watch.login

    def health(self) -> worker.AccountHealth | None:
        """Return what may be shown of the account; None where a provider wants no login."""
        if self._watch is None and self.account.login is loginfile.Kind.NONE:
            return None
        return self.account.health(time.time())

    async def begin(self) -> None:
        """Look at the file for the first time; a defect of that costs no start, since the login is
        looked at again and again."""
        try:
            await self.look()
        except Exception as error:
            containment.report(containment.Boundary.TASK, error, task="login")

    async def look(self) -> bool:
        """Look at the file; whether it is another than before."""
        return self._watch is not None and await asyncio.to_thread(self._watch.look)

    async def care(self, processes: Sequence[Process]) -> None:
        """Look after the file and the link, for as long as the worker runs."""
        while True:
            await asyncio.sleep(LOOK_S)
            before = self.on_file
            written = await self.look()
            if self.on_file != before:
                self.account.changed(self.on_file.kind)
                self._heard = self._asked = None
                login = self.on_file.kind.value
                if self.on_file.mark:
                    _log.info("codex_login_changed", login=login)
                else:
                    _log.warning("codex_login_changed", login=login)
            if self._watch is not None:
                self._tell_of(self._watch)
                tell = operator.methodcaller("login_on_file", self.on_file, written)
                containment.each(containment.Boundary.PROCESS, tell, processes)
            if self.link.is_wanted and (channel := _reach(processes, is_logged_in=False)):
                await self.link.begin(channel)

    async def follow_quota(self, processes: Sequence[Process]) -> None:
        """Look after what is known of the quota, for as long as the worker runs."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._asks_now() and (channel := _reach(processes, is_logged_in=True)):
                await self._ask_for_quota(channel)

    def quota_told(self, its: notifications.RateLimitSnapshot) -> None:
        """Take news of the quota."""
        if its.primary is not None or its.secondary is not None:
            self._heard = self._now()
        self.account.updated(its)

    def with_reset(self, failure: failures.ProviderFailure) -> failures.ProviderFailure:
        """Add to a failure by a used up quota when that is whole again, where it is known."""
        if failure.retry_after is not None:
            return failure
        seconds = self.account.retry_after(time.time())
        if seconds is None:
            self._heard = None  # what is known of the quota is out of date
            return failure
        return msgspec.structs.replace(failure, retry_after=float(max(1, round(seconds))))

    async def with_link(
        self, failure: failures.ProviderFailure, channel: Channel
    ) -> failures.ProviderFailure:
        """Add to a failure by a login that is no good where somebody may log in."""
        await self.link.begin(channel)
        message, members = self.link.told(failure.code, failure.message)
        return msgspec.structs.replace(failure, message=message, members=members)

    def _tell_of(self, watch: loginfile.Watch) -> None:
        """Say once that the file cannot be read, from the second look on: the first may have
        come while it was written."""
        before, self._problem = self._problem, watch.problem
        if not watch.problem:
            self._is_told = False
        elif watch.problem == before and not self._is_told:
            self._is_told = True
            _log.warning("codex_login_unreadable", path=str(watch.path), problem=watch.problem)

    def _asks_now(self) -> bool:
        now = self._now()
        if self.account.login is not loginfile.Kind.CHATGPT:
            return False
        if self._asked is None:  # what is told beside an answer is not all of it
            return True
        is_fresh = self._heard is not None and now - self._heard < QUIET_S
        return not is_fresh and now - self._asked >= PAUSE_S

    async def _ask_for_quota(self, channel: Channel) -> None:
        self._asked = self._now()
        try:
            result = await channel.send("account/rateLimits/read", appserver.Empty()).reply
        except (RpcError, RpcTimedOut) as error:
            if self._is_readable:  # once: it is asked again and again
                detail = failures.safe(str(error), self._known)
                _log.warning("codex_quota_unread", detail=detail)
            self._is_readable = False
            self._heard = self._asked  # after a pause as long as after an answer
        except ChannelClosed:
            self._asked = None  # the next process is asked
        else:
            self._is_readable = True
            self._heard = self._now()
            self.account.read(result.rate_limits)


def _reach(processes: Iterable[Process], *, is_logged_in: bool) -> Channel | None:
    channels = (process.reach(is_logged_in) for process in processes)
    return next((channel for channel in channels if channel is not None), None)
