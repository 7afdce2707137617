"""Sources that a conversation's new threads are forked from, so that all have one cache key.

A provider's cache is found by the key that Codex sends, which is the thread's own: where no thread
can go on with a conversation, as behind an edit, a new one finds nothing of it. A fork of a
persisted thread sends the key of that, its *source*. So from its second request on that no thread
goes on with, a conversation has forks of one source. What is sent on a fork is the whole history,
as on a new thread.

Codex reads a source from a file, and all that has to be in it is an id. So no thread is persisted:
the file is written for a fork, with an id that is a keyed digest of whose conversation it is and
how that begins, and removed when the fork is there. Where Codex persists threads itself, in its
`sessions`, it takes 15 ms longer to begin any thread (0.163).

A fork has no raw events, and the functions of its source: only turns without functions
whose answer needs none of those events are answered on one. Whatever fails here, the turn has a
new thread.
"""

import asyncio
import collections
import contextlib
import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine import worker
from engine.codex.protocol import appserver
from engine.codex.protocol.channel import OVERLOADED, RpcError
from engine.codex.request import history
from engine.codex.turns.thread import Seat
from machines import events

PAUSE_S: Final = 60.0
"""Seconds for which none is asked for behind a refusal: it would cost each request time."""

NAMES_MAX: Final = 4096
"""Names of conversations, which clients have given them, that are remembered."""

LONG_AGO: Final = "1970-01-01T00:00:00.000Z"
"""The time at which every source was made: Codex wants one, and tells nobody (0.163)."""


class ForkCounts(msgspec.Struct):
    """Counts for metrics.

    Attributes:
        forked: turns that began on a fork.
        unforked: turns that should have, and began on a new thread.
    """

    forked: int = 0
    unforked: int = 0


class Fork(msgspec.Struct, frozen=True, eq=False):
    """A turn's way to a thread with its conversation's key.

    Attributes:
        source_id: what becomes the key.
        path: of the source's file.
    """

    source_id: str
    path: Path
    sources: "ForkSources"

    @contextlib.contextmanager
    def source(self, anew: appserver.ThreadStartParams) -> Iterator[appserver.ThreadForkParams]:
        """Have the source's file lie there, and yield what asks for a thread that is like a new
        one but for its key.

        Raises:
            OSError: the file cannot be written.
        """
        try:
            self.path.write_bytes(_session(self.source_id, anew.cwd))
            yield appserver.ThreadForkParams(
                thread_id=self.source_id,
                path=str(self.path),
                model=anew.model,
                cwd=anew.cwd,
                approval_policy=anew.approval_policy,
                sandbox=anew.sandbox,
                base_instructions=anew.base_instructions,
                config=anew.config,
            )
        finally:
            with contextlib.suppress(OSError):  # else it goes with the next start
                self.path.unlink(missing_ok=True)

    def made(self, thread_id: str, choice: int) -> events.ThreadForked:
        """Take note that the turn has its thread; the event that tells of it."""
        self.sources.counts.forked += 1
        return events.ThreadForked(thread_id, choice)

    def failed(self, error: RpcError | OSError) -> None:
        """Take note that it has none."""
        self.sources.failed(error)


class ForkSources:
    """Knows which turns of a worker are to have a fork.

    Args:
        directory: of the sources' files; None: there is no fork.
    """

    def __init__(self, directory: Path | None) -> None:
        self.counts = ForkCounts()
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._named: collections.OrderedDict[bytes, None] = collections.OrderedDict()
        self._paused_until = 0.0

    def find(self, turn: worker.Turn, asked: history.History | None, seat: Seat) -> Fork | None:
        """Return the way to a fork for a turn that no thread goes on with; None where it is to
        have a new thread.

        Args:
            asked: None where nothing is known of its conversation.
            seat: of the turn.
        """
        if self._directory is None or asked is None or not self._pays(turn, asked):
            return None
        # A fork cannot be told to have no environment. What another version makes of that, such
        # as tools of its own, is not known.
        if not seat.tested:
            return None
        if self._loop.time() < self._paused_until:
            return None
        source_id = uuid.UUID(bytes=asked.opening, version=4)
        # Two turns may be on their way at once, and each removes its own file.
        path = self._directory / f"{source_id}-{next(self._numbers)}.jsonl"
        return Fork(str(source_id), path, self)

    def failed(self, error: RpcError | OSError) -> None:
        """Take note of a turn that has a new thread after all."""
        self.counts.unforked += 1
        if not isinstance(error, RpcError) or error.code != OVERLOADED:
            self._paused_until = self._loop.time() + PAUSE_S

    def _pays(self, turn: worker.Turn, asked: history.History) -> bool:
        """Whether a cache may have something of a turn, and a fork can answer it."""
        if turn.tools or turn.needs_raw_items:
            return False
        if asked.goal is not None:
            return True
        # A conversation's first request, or the next that its client gives the same name.
        if not turn.conversation:
            return False
        again = asked.opening in self._named
        self._named[asked.opening] = None
        self._named.move_to_end(asked.opening)
        if len(self._named) > NAMES_MAX:
            self._named.popitem(last=False)
        return again


def _session(source_id: str, cwd: str) -> bytes:
    """Return the least that Codex takes for a thread on disk: what its first line must say."""
    said = {
        "id": source_id,
        "timestamp": LONG_AGO,
        "cwd": cwd,
        "originator": "turntape",
        "cli_version": appserver.SCHEMA_PIN,
        "multi_agent_version": "disabled",  # a fork has tools for it otherwise, whatever is set
    }
    line = {"timestamp": LONG_AGO, "type": "session_meta", "payload": said}
    return msgspec.json.encode(line) + b"\n"
