"""Reads the configuration again while the server runs: on SIGHUP, whole or not at all.

What is read is judged before anything is touched. If any of it is wrong, the server goes on with
what it has, and says why. If all is right, one assignment puts it in force: a request keeps the
configuration that it came in under, and so does its stream.
"""

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from engine import containment, slices
from server.config import changes
from server.config.load import ConfigError, check
from server.config.settings import Config

_log = structlog.get_logger(component="config")

NAMES: Final = 32
"""Names of changes that the last line of a reload repeats."""

Read = Callable[[], tuple[Config, list[str]]]
"""Reads flags, environment and files as the start did: the settings, and warnings."""

Apply = Callable[[Config], Awaitable[None]]
"""Puts a configuration in force, or raises ConfigError and changes nothing."""


class Counts(msgspec.Struct):
    """The reloads since the start.

    Attributes:
        last_successful: also before the first one, for the start was.
    """

    reloads: int = 0
    failures: int = 0
    last_successful: bool = True


class _Work(enum.Enum):
    """How far a reload is."""

    IDLE = enum.auto()
    READING = enum.auto()
    ASKED_AGAIN = enum.auto()
    """Files may have changed after they were read: they are read once more."""


class Reloading:
    """Reads the configuration of one server again, as often as that is asked for.

    Args:
        read: called on a thread, for a file may be on a disk that does not answer.
        running: returns the configuration in force.
        apply: called on the loop.
        counts: of the reloads, kept up here.
    """

    def __init__(
        self, read: Read, running: Callable[[], Config], apply: Apply, counts: Counts
    ) -> None:
        self.counts = counts
        self._read = read
        self._running = running
        self._apply = apply
        self._work = _Work.IDLE
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Read it again; asked while it is read, once more after that."""
        if self._work is not _Work.IDLE:
            self._work = _Work.ASKED_AGAIN
            return
        self._work = _Work.READING
        self._task = asyncio.get_running_loop().create_task(self._reload())

    def close(self) -> None:
        """Put nothing in force any more."""
        if self._task is not None:
            self._task.cancel()

    async def _reload(self) -> None:
        while self._work is not _Work.IDLE:
            self._work = _Work.READING
            try:
                read, warnings = await asyncio.to_thread(self._read)
                await self._put(read, warnings)
            except ConfigError as error:
                self._failed(error.name, error.problem)
            except Exception as error:
                containment.report(containment.Boundary.TASK, error, step="reload")
                self._failed("server", "a defect of it")
            if self._work is _Work.READING:
                self._work = _Work.IDLE

    async def _put(self, read: Config, warnings: list[str]) -> None:
        before = self._running()
        merged = changes.merge(before, read)
        # Each half may be right by itself: an address that waits for a restart, without its key.
        check(merged)
        # An env file that is half written lacks its end. Without keys, whoever reaches a loopback
        # address, a proxy in front of it for one, would be let in.
        if before.needs_key and not merged.needs_key:
            raise ConfigError("PROXY_API_KEY", "no key would be needed: only a restart does that")
        # Told apart first: whatever fails from here to `_apply` has changed nothing.
        found = await asyncio.to_thread(lambda: list(changes.changes(before, read)))
        await self._apply(merged)
        own = slices.Slice()
        for change in found:
            if own.spent:  # thousands of keys may have changed
                await own.pause()
            _log.info(
                "config_changed",
                name=change.name,
                before=change.before,
                after=change.after,
                effect="restart" if change.needs_restart else "now",
            )
        for warning in warnings:
            _log.warning("config_warning", problem=warning)
        self.counts.reloads += 1
        self.counts.last_successful = True
        waiting = [change.name for change in found if change.needs_restart]
        changed = [change.name for change in found if not change.needs_restart]
        _log.info("config_reloaded", changed=_some(changed), needs_restart=_some(waiting))

    def _failed(self, name: str, problem: str) -> None:
        self.counts.failures += 1
        self.counts.last_successful = False
        advice = "the configuration before it stays in force; `turntape config --check` tells more"
        _log.error("config_reload_failed", name=name, problem=problem, advice=advice)


def _some(names: list[str]) -> list[str]:
    """Return the first names: each has its own line, and a file of keys may have thousands."""
    more = len(names) - NAMES
    return names if more <= 0 else [*names[:NAMES], f"and {more} more"]
