"""How the event log keeps the contents of a stream: as configured, or for a while otherwise.

`PROXY_EVENT_LOG` says how all streams are kept. An operator who looks for the cause of a client's
trouble may have the streams of that client's key kept otherwise for some minutes: whole, or masked
where the rest is whole. A stream is kept to its end as it was when it began, and its first record
says how. A restart ends the override.
"""

import asyncio
import datetime
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
import structlog
from msgspec import Meta

from engine.log.content import mask

MINUTES_MAX: Final = 1_440
"""Longest time that an operator may ask for: a day. Whole contents are not to be forgotten."""

Kept = Literal["full", "masked"]
Minutes = Annotated[int, Meta(ge=1, le=MINUTES_MAX)]

_log = structlog.get_logger(component="log_content")


class Override(msgspec.Struct, frozen=True):
    """An operator's word on how some streams are kept, whatever the configuration says.

    Attributes:
        key: name of the key whose streams they are; None: all streams.
    """

    content: Kept
    key: str | None
    minutes: Minutes


class LogContent:
    """The way that the streams of one server are kept.

    Args:
        usual: `PROXY_EVENT_LOG`.
        now: seconds since the epoch.
    """

    def __init__(self, usual: mask.Content, now: Callable[[], float]) -> None:
        self.usual = usual
        self._now = now
        self._override: Override | None = None
        self._until: datetime.datetime | None = None
        self._timer: asyncio.TimerHandle | None = None

    def of(self, key: str | None) -> mask.Content:
        """Return how a stream that begins now is kept, by the name of its key."""
        override = self._override
        if override is None or override.key not in (None, key):
            return self.usual
        return override.content

    def status(self) -> dict[str, Any]:
        """Return the override in force as JSON has it; without one `content` is the usual."""
        override = self._override
        if override is None:
            return {"content": self.usual, "key": None, "until": None}
        until = msgspec.to_builtins(self._until)
        return {"content": override.content, "key": override.key, "until": until}

    def change(self, override: Override | None, **author: str) -> None:
        """Put another override in place of the one in force, or end that.

        Args:
            author: who asked for it, for the line: the name of the key, address, `req_id`.
        """
        self.close()
        self._override = override
        if override is not None:
            seconds = override.minutes * 60
            end = datetime.datetime.fromtimestamp(int(self._now()), datetime.UTC)
            self._until = end + datetime.timedelta(seconds=seconds)
            # The loop's clock: whoever sets the machine's changes nothing.
            self._timer = asyncio.get_running_loop().call_later(seconds, self._end)
        self._say("admin", author)

    def close(self) -> None:
        """Let no timer remain."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._override = self._until = self._timer = None
        self._say("until", {})

    def _say(self, cause: str, author: dict[str, str]) -> None:
        status = self.status()
        of_key = status.pop("key")  # in a line `key` is that of whoever asks
        _log.warning("log_content_changed", cause=cause, of_key=of_key, **status, **author)
