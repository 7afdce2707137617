"""Maintenance: new work for models is refused for a while, and everything else goes on.

Theory of operation. A `Window` is a value: what an operator asked for, or None while there is no
maintenance. `Maintenance` has the one that is in force. It is no state of the server's life
(`machines.lifecycle`): a server may start in maintenance, and drain in it.

`until` is a time of the wall clock, which may be set while a window is in force. So a window ends
when the wall clock says so, or when as much time has passed as was left when it began, whichever
comes first: a clock that is put back keeps nothing closed for longer than was asked for. It is
looked at whenever somebody asks for the window, and by a timer, so that its end has a line at its
time.

With `persist` the window is also in a file. That is written before the window is in force, and
read by the next start. A file that cannot be read is no maintenance: it is not known until when it
was meant to last, and nobody would be told why a server refuses everything.
`PROXY_MAINTENANCE_MODE` is for whoever must be sure.
"""

import asyncio
import datetime
import enum
import math
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import structlog
from msgspec import Meta

from engine import regular

FILE: Final = "maintenance.json"
"""The file of a window that outlives a restart, in `PROXY_DATA_DIR`."""

FILE_BYTES: Final = 1 << 16
"""Bytes of it that are read; a window has a few hundred."""

MESSAGE: Final = "The server is in maintenance."
"""The message to clients where the operator has none."""

MESSAGE_CHARACTERS: Final = 500
"""Longest message of an operator: some sentences for people."""

RETRY_AFTER_MAX_S: Final = 86_400
"""Largest `retry_after_s`: a day."""

LONGEST: Final = datetime.timedelta(days=366)
"""How far ahead an end may be: one that is further was mistyped."""

LOOK_S: Final = 60.0
"""How often the timer looks at the wall clock, which may have been put forward."""

Message = Annotated[str, Meta(min_length=1, max_length=MESSAGE_CHARACTERS)]
RetryAfter = Annotated[int, Meta(ge=1, le=RETRY_AFTER_MAX_S)]
Instant = Annotated[datetime.datetime, Meta(tz=True)]

_log = structlog.get_logger(component="maintenance")


class Window(msgspec.Struct, frozen=True):
    """A maintenance, as an operator asked for it.

    Attributes:
        since: when maintenance began; a change of the rest leaves it.
        message: for the clients that are refused.
        retry_after_s: their `Retry-After`; None: the time that is left, if there is an `until`.
        until: when it ends by itself; None: when somebody ends it.
        persist: whether a restart leaves it in force.
    """

    since: Instant
    message: Message = MESSAGE
    retry_after_s: RetryAfter | None = None
    until: Instant | None = None
    persist: bool = False


class Cause(enum.Enum):
    """Why a maintenance began, changed or ended; the value is the `cause` of its line."""

    START = "start"
    ADMIN = "admin"
    UNTIL = "until"


class Maintenance:
    """The maintenance of one server.

    Args:
        path: of the file that outlives a restart.
        now: seconds since the epoch, by a clock that may be set.
        elapsed: seconds by a clock that may not.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._now = now
        self._elapsed = elapsed
        self._window: Window | None = None
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, asked_for: bool) -> None:
        """Begin as the file has it, or as the configuration does.

        Args:
            asked_for: whether `PROXY_MAINTENANCE_MODE` is on: then there is one in any case.
        """
        window, now = self._kept(), self.instant()
        if window is not None and window.until is not None and window.until <= now:
            window = None
            self._in_order(self._forget())
        if window is None and asked_for:
            window = Window(now)
        if window is not None:
            self._put(window, Cause.START)

    def instant(self) -> datetime.datetime:
        """The present time, in whole seconds."""
        return datetime.datetime.fromtimestamp(int(self._now()), datetime.UTC)

    def current(self) -> Window | None:
        """Return the window in force, None without one; one whose time has passed ends here."""
        if self._window is not None and self._left() <= 0:
            persisted = self._window.persist
            self._put(None, Cause.UNTIL)
            if persisted:
                self._in_order(self._forget())
        return self._window

    def retry_after(self) -> int | None:
        """Return the seconds that a refused client is told to wait; None: the usual."""
        window = self.current()
        if window is not None and window.retry_after_s is not None:
            return window.retry_after_s
        left = self._left()
        return None if left == math.inf else max(1, math.ceil(left))

    def status(self) -> dict[str, Any]:
        """Return the maintenance as JSON has it: `enabled`, and the members of `Window`."""
        return _status(self.current())

    async def change(self, window: Window | None, **author: str) -> None:
        """Put another window in force, or end the one that is.

        What has begun is brought to its end, whoever stops waiting for it: file and server must
        not differ.

        Args:
            author: who asked for it, for the line: the name of the key, address, `req_id`.

        Raises:
            OSError: it cannot be kept; nothing was changed.
        """
        await asyncio.shield(self._in_order(self._change(window, author)))

    async def close(self) -> None:
        """Bring to its end what has begun."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _in_order(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Do something behind what has been begun before."""

        async def alone() -> None:
            async with self._changing:
                await work

        task = asyncio.get_running_loop().create_task(alone())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # is for whoever asked for it, if they still wait

    async def _change(self, window: Window | None, author: dict[str, str]) -> None:
        before = self.current()
        if window is not None and before is not None:
            window = msgspec.structs.replace(window, since=before.since)
        if window is not None and window.persist:
            await asyncio.to_thread(regular.replace, self._path, msgspec.json.encode(window))
        else:
            await self._delete()
        self._put(window, Cause.ADMIN, author)

    def _put(
        self, window: Window | None, cause: Cause, author: dict[str, str] | None = None
    ) -> None:
        before, self._window = self._window, window
        self._deadline = math.inf
        if window is not None and window.until is not None:
            self._deadline = self._elapsed() + window.until.timestamp() - self._now()
        self._look_later()
        now, then = _status(window), _status(before)
        changed = [name for name in now if now[name] != then[name]]
        _log.warning(
            "maintenance_changed", cause=cause.value, changed=changed, **now, **(author or {})
        )

    def _left(self) -> float:
        """Seconds to the end of the window in force."""
        window = self._window
        if window is None or window.until is None:
            return math.inf
        return min(window.until.timestamp() - self._now(), self._deadline - self._elapsed())

    def _look_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if (left := self._left()) != math.inf:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(max(0.0, left), LOOK_S), self._wake)

    def _wake(self) -> None:
        self._timer = None
        if self.current() is not None:
            self._look_later()

    def _kept(self) -> Window | None:
        """Return the window of the file, None without one."""
        try:
            with regular.reader(self._path) as file:
                return msgspec.json.decode(file.read(FILE_BYTES), type=Window)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("maintenance_unreadable", path=str(self._path), problem=str(error))
            return None

    async def _forget(self) -> None:
        """Delete the file of a window that is over, unless another has taken its place."""
        if self._window is None or not self._window.persist:
            await self._delete()

    async def _delete(self) -> None:
        try:
            await asyncio.to_thread(self._path.unlink, missing_ok=True)
        except OSError as error:  # no reason to keep a server closed
            _log.warning("maintenance_file_left", path=str(self._path), problem=str(error))


def _status(window: Window | None) -> dict[str, Any]:
    members = dict.fromkeys(Window.__struct_fields__)
    if window is not None:
        members = msgspec.to_builtins(window)
    return {"enabled": window is not None, **members, "persist": bool(members["persist"])}
