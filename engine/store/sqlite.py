"""Keeps responses in one SQLite file: the embedded engine of `engine.store.store`.

Everything that touches the file is done by one thread, one thing after the other, so the event
loop never waits for a disk. Puts that wait together are committed together, with one fsync: the
first asks the thread for a commit, and the others join it until it begins.

A commit is on the disk when it returns (write-ahead log, `synchronous=FULL`), so neither a kill
nor a power cut takes it back.
"""

import asyncio
import contextlib
import functools
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import msgspec
import structlog

from engine import containment, regular
from engine.store import file as responsefile, store as responsestore
from engine.store.store import (
    ConversationTooLarge,
    Limits,
    ResponseMissing,
    StoreCounts,
    StoredResponse,
    StoreError,
)
from machines import parse

GROUP_BYTES: Final = 4 << 20
"""Most bytes of one commit, but for a response that is larger alone."""

LOOK_S: Final = 1.0
"""Seconds between two looks whether the files are still those that are open."""

LOOKING_SHARE: Final = 10
"""The time to the next look is at least so many times that of the last one, so that a slow disk is
not kept busy by looking."""

_PRIMARY: Final = 0xFF
"""The bits of an extended SQLite error code that hold the primary one."""

_P = ParamSpec("_P")
_T = TypeVar("_T")

_log = structlog.get_logger(component="response_store")


class _Group:
    """Puts that are committed together.

    Attributes:
        size: bytes of the responses.
        committed: done when they are on the disk; what failed of each that is not, by position.
    """

    committed: asyncio.Future[dict[int, Exception]]

    def __init__(self) -> None:
        self.size = 0
        self.responses: list[StoredResponse] = []


class SqliteStore:
    """A `responsestore.ResponseStore` in one file. Its methods are for the loop's thread.

    Args:
        path: of the file; it and what SQLite puts beside it are readable by their owner only.
        now: wall time in seconds since the epoch.
        clock: seconds that no one sets.

    Attributes:
        counts: for metrics.
        health: whether what was last asked to be kept is.
    """

    def __init__(
        self,
        path: Path,
        limits: Limits,
        now: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = StoreCounts()
        self._path = path
        self._limits = limits
        self._now = now
        self._clock = clock
        self._look_at = -math.inf
        self._is_damaged = False
        self._is_locked = False
        self._thread = ThreadPoolExecutor(1, "response-store")
        self._file: responsefile.ResponseFile | None = None
        self.health = responsestore.Health.WORKING
        self._said = StoreCounts()
        self._guard = threading.Lock()
        self._group: _Group | None = None

    async def open(self) -> None:
        """Open the file, or make it. A store that is closed cannot be opened again.

        Raises:
            StoreError: it is another process's, another program's, a newer version's, or broken.
        """
        try:
            self._file = await self._submit(responsefile.ResponseFile, self._path)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    async def close(self) -> None:
        """Finish what was asked, and let another process have the file."""
        file, self._file = self._file, None
        if file is not None:
            try:
                await self._submit(file.close)
            finally:
                self._thread.shutdown(wait=False)

    async def put(self, response: StoredResponse) -> None:
        """Keep a response, in the place of one with its id; returns once that is committed.

        Raises:
            ParseError: an item is not an object with an `id`.
            StoreError: it is not kept; or it is larger than the store may be.
        """
        try:
            if 0 < self._limits.max_bytes < response.size:
                raise StoreError(f"{response.response_id} is larger than the whole store may be")
            self._refuse_locked()
            group, position = self._join(response)
            refused = await asyncio.shield(group.committed)  # for it is the others' too
            if position in refused:
                raise refused[position]
        except (StoreError, asyncio.CancelledError):  # or nobody waits for it any longer
            self._count_failure()
            raise

    async def get(self, response_id: str, key_id: str) -> StoredResponse | None:
        """Return a response with its own items; None if this key has no such response."""
        return await self._submit(self._opened.get, response_id, key_id)

    async def conversation(self, response_id: str, key_id: str) -> tuple[msgspec.Raw, ...]:
        """Return all items of a response and those it goes on from, oldest first.

        Raises:
            ResponseMissing: one of them is not there.
            ConversationTooLarge: it is longer than `Limits.conversation_bytes`.
        """
        most = self._limits.conversation_bytes
        return await self._submit(self._opened.conversation, response_id, key_id, most)

    async def items(self, item_ids: tuple[str, ...], key_id: str) -> dict[str, msgspec.Raw]:
        """Return those of some items that are there, by id."""
        return await self._submit(self._opened.items, item_ids, key_id)

    async def delete(self, response_id: str, key_id: str) -> bool:
        """Delete a response and its items; return whether it was there."""
        self._end_group()
        return await self._submit(self._opened.delete, response_id, key_id)

    async def interrupted(self) -> int:
        """Mark all unfinished responses as failed; return how many there were."""
        self._end_group()
        return await self._submit(self._opened.fail_unfinished)

    async def adopt(self, former: str, key_id: str) -> int:
        """Have what belonged to `former` belong to another owner; return how many responses."""
        self._end_group()
        return await self._submit(self._opened.adopt, former, key_id)

    async def prune(self) -> None:
        """Apply the limits, in steps that let other calls pass between them."""
        with contextlib.suppress(StoreError):  # which was said and counted
            if self._limits.ttl_s:
                below: responsefile.Place | None = (int(self._now()) - self._limits.ttl_s, 0)
                while below is not None:
                    below = await self._submit(self._expire, self._opened, below)
            if self._limits.max_bytes:
                while await self._submit(self._shrink, self._opened):
                    pass
            while await self._submit(self._opened.compact):
                pass
            await self._submit(self._opened.checkpoint)
        count = self.counts.responses_pruned - self._said.responses_pruned
        if count:
            size = self.counts.bytes_pruned - self._said.bytes_pruned
            _log.info("responses_pruned", count=count, bytes=size)
            self._said = msgspec.structs.replace(self.counts)

    async def check(self) -> None:
        """Look after the files, and try again what failed, though nobody asks for anything."""
        if self._file is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._check)

    @property
    def _opened(self) -> responsefile.ResponseFile:
        if self._file is None:
            raise StoreError(f"{self._path}: the store is not open")
        return self._file

    def _join(self, response: StoredResponse) -> tuple[_Group, int]:
        """Put a response into the commit that comes next, or into a new one behind it."""
        file = self._opened
        with self._guard:
            group = self._group
            if group is None or group.size + response.size > GROUP_BYTES:
                group = self._group = _Group()
                loop = asyncio.get_running_loop()
                group.committed = loop.run_in_executor(self._thread, self._commit, file, group)
            group.responses.append(response)
            group.size += response.size
            return group, len(group.responses) - 1

    def _refuse_locked(self) -> None:
        """Refuse at once while another program has the file locked, until `check` finds it free.

        Raises:
            StoreError: another program has it locked.
        """
        if self._is_locked:
            raise StoreError(f"{self._path}: database is locked")

    def _count_failure(self) -> None:
        with self._guard:  # both threads count
            self.counts.failures += 1

    def _end_group(self) -> None:
        """Make later puts come after the call that is made now."""
        with self._guard:
            self._group = None

    def _submit(
        self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_T]:
        """Run a call in the thread, after all calls before it."""
        attempt = functools.partial(self._attempt, call, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self._thread, attempt)

    # What follows is done by the thread.

    def _attempt(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return self._try(call, *args, **kwargs)
        except StoreError:
            self._count_failure()
            raise

    def _try(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """As `_attempt`; who waits for it counts what fails."""
        try:
            self._look_after_file()
            return call(*args, **kwargs)
        except (ResponseMissing, ConversationTooLarge):
            raise
        except Exception as error:
            raise self._failed(error) from error
        finally:
            if self._file is not None:
                self._file.files.note_size()

    def _look_after_file(self) -> None:
        """Open the file anew where it is no longer the one that is open."""
        file, begun = self._file, self._clock()
        if file is None or (begun < self._look_at and not file.files.is_cut):
            return
        self._look_at = begun + LOOK_S
        try:
            self._begin_anew(file)
        finally:  # to look through a large file takes long
            took = self._clock() - begun
            self._look_at = max(self._look_at, begun + LOOKING_SHARE * took)

    def _begin_anew(self, file: responsefile.ResponseFile) -> None:
        if file.is_open and not self._is_damaged:
            lost = file.files.lost()
            if lost is None:
                return
            self._count_failure()
            self.counts.files_lost += 1
            name, problem = lost.file, lost.problem.value
            _log.error("response_store_lost", path=str(self._path), file=name, problem=problem)
        file.reopen()
        self._is_damaged = False

    def _failed(self, error: Exception) -> StoreError:
        """Report a failure, and return it as an error that names the store."""
        self._fail(error)
        where = error.filename if isinstance(error, regular.NotRegular) else self._path
        reason = error.strerror if isinstance(error, OSError) else error
        return StoreError(f"{where}: {reason}")

    def _fail(self, error: Exception) -> None:
        """Mark the store as failing; the first failure is logged."""
        if not isinstance(error, sqlite3.Error | OSError | StoreError):
            containment.report(containment.Boundary.STORE, error, path=str(self._path))
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
        self._is_locked = code & _PRIMARY == sqlite3.SQLITE_BUSY
        if type(error) is sqlite3.DatabaseError:  # of a file that makes no sense
            self._is_damaged = True
        if (
            self.health is responsestore.Health.WORKING and self._file is not None
        ):  # else the start says it
            _log.error("response_store_failing", path=str(self._path), error=str(error))
        self.health = responsestore.Health.FAILING

    def _recover(self) -> None:
        self._is_locked = False
        if self.health is responsestore.Health.FAILING:
            self.health = responsestore.Health.WORKING
            _log.warning("response_store_recovered", path=str(self._path))

    def _check(self) -> None:
        try:
            self._look_after_file()
            failing = self.health is responsestore.Health.FAILING
            if failing and self._file is not None and self._file.is_open:
                self._file.try_writing()
                self._recover()
        except Exception as error:
            self._fail(error)

    def _commit(self, file: responsefile.ResponseFile, group: _Group) -> dict[int, Exception]:
        with self._guard:  # first, for whoever joins a group that has failed would fail with it
            if self._group is group:
                self._group = None
        self._refuse_locked()
        return self._try(self._put, file, group)

    def _put(self, file: responsefile.ResponseFile, group: _Group) -> dict[int, Exception]:
        refused, pruned, unpruned = file.put(group.responses, self._limits.max_bytes)
        self._count(pruned)
        if unpruned is not None:
            self._count_failure()
            self._failed(unpruned)
        elif not refused:
            self._recover()
        return {
            position: error if isinstance(error, parse.ParseError) else self._failed(error)
            for position, error in refused.items()
        }

    def _expire(
        self, file: responsefile.ResponseFile, below: responsefile.Place
    ) -> responsefile.Place | None:
        gone, next_below = file.expire(below)
        self._count(gone)
        return next_below

    def _shrink(self, file: responsefile.ResponseFile) -> bool:
        gone = file.shrink(self._limits.max_bytes)
        self._count(gone)
        return bool(gone)

    def _count(self, gone: list[int]) -> None:
        self.counts.responses_pruned += len(gone)
        self.counts.bytes_pruned += sum(gone)
