"""The link at which somebody logs the server's Codex in, as clients are told of it.

It is the operator's own, or one that Codex makes. Codex waits behind its link for ten minutes, on
port 1455 of this machine, and has one such login at a time: another one, also of another process,
cancels it. So a link is told again and again while it lasts, and none is made in place of one that
was cancelled: an operator's `turntape login` would be cancelled by that in turn.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.codex.protocol import appserver
from engine.codex.protocol.channel import Channel
from machines import events

LASTS_S: Final = 600.0
"""How long Codex waits for somebody to come back from a link, and so how long it is until another
is made. Source: `LOGIN_CHATGPT_TIMEOUT` of its app-server."""

PATIENCE_S: Final = 1.0
"""How long a failed answer waits for a link: Codex makes one in milliseconds, and takes 0.2 s to
cancel that of another process."""


class Offer(msgspec.Struct, frozen=True):
    """The operator's decisions about the link.

    Attributes:
        url: that is told; None for Codex's own, where that is wanted.
        from_codex: whether Codex is asked for one.
        in_code, in_message: the members of an error that it is told in.
    """

    url: str | None = None
    from_codex: bool = False
    in_code: bool = False
    in_message: bool = True


class LoginLink:
    """The link of a worker.

    Args:
        now: seconds of a clock that never steps back.
    """

    def __init__(self, offer: Offer, now: Callable[[], float]) -> None:
        self._offer = offer
        self._now = now
        self._channel: Channel | None = None
        self._url: str | None = None
        self._begun: float | None = None
        self._wanted = False

    @property
    def url(self) -> str | None:
        """The link; None where there is none now."""
        if self._offer.url is not None:
            return self._offer.url
        lasts = self._channel is not None and not self._channel.closed and not self._is_over
        return self._url if lasts else None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody was not told a link, and one may be made."""
        return self._wanted and self._may_begin

    def want(self) -> None:
        """Have a link made soon, where Codex makes them."""
        self._wanted = True

    async def begin(self, channel: Channel) -> None:
        """Ask a process for a link, unless there is one or none may be made."""
        if not self._may_begin:
            return
        self._begun = self._now()
        self._wanted = False
        self._url = None
        call = channel.send("account/login/start", appserver.ChatgptLogin(), PATIENCE_S)
        call.reply.add_done_callback(functools.partial(self._replied, channel))
        await asyncio.wait({call.reply})  # who waits may be cancelled, and the link is kept

    def _replied(self, channel: Channel, reply: asyncio.Future[Any]) -> None:
        if not reply.cancelled() and reply.exception() is None:
            self._channel, self._url = channel, reply.result().auth_url

    def ended(self, channel: Channel | None) -> None:
        """Take the end of a login: behind its link nobody waits any more."""
        if channel is not None and channel is self._channel:
            self._channel = self._url = None

    def told(self, code: str, message: str) -> tuple[str, msgspec.Raw]:
        """Return the message of an error with the link, and the members that go with it."""
        url = self.url
        if url is None:
            return message, events.NO_MEMBERS
        if self._offer.in_message:
            message = f"{message} To log in, open {url}"
        if not self._offer.in_code:
            return message, events.NO_MEMBERS
        member = {"code": f"{code} | login_url={url}"}
        return message, msgspec.Raw(msgspec.json.encode(member))

    @property
    def _is_over(self) -> bool:
        return self._begun is None or self._now() - self._begun >= LASTS_S

    @property
    def _may_begin(self) -> bool:
        died = self._channel is not None and self._channel.closed
        return self._offer.url is None and self._offer.from_codex and (self._is_over or died)
