"""Keeps what each key has used of its tokens a day over a restart.

Windows of a minute begin anew with the server, and little is lost. A day is long: whoever is near
the end of its tokens would have all of them again. So they are written to a file every few seconds
while they change, and at the end. After a kill the last of them are missing.
"""

import asyncio
from pathlib import Path
from typing import Final

import msgspec
import structlog

from engine import regular
from server.keys.account import DAY_S, Accounts

FILE: Final = "key-tokens.json"
"""The file, in `PROXY_DATA_DIR`."""

SAVE_S: Final = 5.0
"""How often it is written, while there is something new."""

FILE_BYTES: Final = 1 << 24
"""Most that is read of it."""

_log = structlog.get_logger(component="keys")


class _Day(msgspec.Struct, frozen=True):
    """The file: a day since the epoch, and the tokens that keys have used in it."""

    day: int
    tokens: dict[str, int]


class DailyTokens:
    """The tokens of the day, on file.

    Args:
        path: of the file.
        accounts: that they are of.
    """

    def __init__(self, path: Path, accounts: Accounts) -> None:
        self._path = path
        self._accounts = accounts
        self._kept = _Day(0, {})
        self._problem: str | None = None

    def restore(self, now: float) -> None:
        """Put what is on file into the accounts; where that cannot be used they begin anew.

        Args:
            now: seconds since the epoch.
        """
        try:
            with regular.reader(self._path) as file:
                kept = msgspec.json.decode(file.read(FILE_BYTES), type=_Day)
        except FileNotFoundError:
            return
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            self._say(str(error))
            return
        if kept.day > now // DAY_S:
            # Written by a clock that was ahead: it would refuse until that day is over.
            self._say("it is of a day that has not come yet")
            return
        self._kept = kept
        for name, tokens in kept.tokens.items():
            self._accounts.of(name).restore(kept.day, tokens)

    async def keep(self) -> None:
        """Write them as they change, for as long as the server runs."""
        while True:
            await asyncio.sleep(SAVE_S)
            await self.save()

    async def save(self) -> None:
        """Write them now, if they have changed."""
        used = {
            name: each
            for name, each in self._accounts.named().items()
            if each.is_daily and each.day_tokens
        }
        day = max((each.day for each in used.values()), default=0)
        tokens = {name: each.day_tokens for name, each in used.items() if each.day == day}
        now = _Day(day, tokens)
        if not tokens or now == self._kept:
            return
        try:
            await asyncio.to_thread(regular.replace, self._path, msgspec.json.encode(now))
        except OSError as error:
            self._say(str(error))
        else:
            self._kept, self._problem = now, None

    def _say(self, problem: str) -> None:
        """Log a problem once: it comes again every few seconds."""
        if problem != self._problem:
            self._problem = problem
            _log.warning("key_tokens_not_kept", path=str(self._path), problem=problem)
