"""Scopes: what one test has of a mock, apart from all other tests.

A scope has recordings, a way to match them, faults, and a journal of the requests that came below
its part of the address. So one process serves a whole test suite, and no test sees another's.
"""

import asyncio
import enum
from pathlib import Path
from typing import Final

import msgspec

from engine import scripted
from server.http import exchange as http
from server.mock import faults
from server.mock.library import Library, Recording
from server.mock.matching import Asked, Match

JOURNALED: Final = 1_000
"""Requests that the journal of a scope has, the newest: a test that sends more looks at those."""

SETTLED_S: Final = 6.0
"""How long a question about a scope waits for recordings: a little longer than one that has ended
can take (`server.mock.recorder`)."""

UNSHOWN: Final = ("authorization", "cookie", "key", "token", "secret")
"""Parts of the names of headers that no journal has: somebody's real key may be in them."""


class OnMiss(enum.Enum):
    """The ways to answer a request that no recording answers."""

    FAIL = "fail"
    """It is refused, and the refusal says what was near."""
    PASSTHROUGH = "passthrough"
    """A real provider answers it."""
    RECORD = "record"
    """A real provider answers it, and the answer is a recording from then on."""


class ScopeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a scope.

    Attributes:
        transcripts: directories, or files, of recordings.
        record_to: the directory of new ones; None: the first of `transcripts`.
        transcript: a bundled one that answers what no recording does; empty: none does.
        speed: times the recorded speed; 0: without pauses.
        fault: as in a request's header; empty: none.
    """

    transcripts: tuple[str, ...] = ()
    match: Match = Match.MESSAGE
    on_miss: OnMiss = OnMiss.FAIL
    record_to: str | None = None
    transcript: str = ""
    speed: float = 0
    fault: str = ""


class Outcome(enum.Enum):
    """The answerer of a request."""

    OTHER = "other"
    """It asked for no answer of a model, or had no body that could be matched."""
    RECORDING = "recording"
    UPSTREAM = "upstream"
    MISSED = "missed"


class Entry(msgspec.Struct):
    """One request of a scope's journal.

    Attributes:
        body: as it came, where it is JSON.
        recording: the one that answered.
        status: of the answer; None: none was sent.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: msgspec.Raw = msgspec.Raw(b"null")
    outcome: Outcome = Outcome.OTHER
    recording: str | None = None
    status: int | None = None


class Journal(msgspec.Struct):
    """The memory of a scope.

    Attributes:
        misses: a text for each request that nothing answered.
        notes: why an answer of the provider is no recording.
        recorded: files that were written.
    """

    requests: list[Entry] = []
    misses: list[str] = []
    notes: list[str] = []
    recorded: list[str] = []


class Scope:
    """One scope.

    Args:
        name: its part of the address.
        worker: plays its recordings.
        handler: answers its requests once they are matched.

    Raises:
        FaultRefused: the options name a fault that there is not.
        TranscriptError, OSError: its recordings cannot be read.
    """

    def __init__(
        self,
        name: str,
        options: ScopeOptions,
        worker: scripted.ScriptedWorker,
        handler: http.Handler,
    ) -> None:
        self.name = name
        self.journal = Journal()
        self.pending: set[asyncio.Task[None]] = set()
        self._worker = worker
        self._handler = handler
        self.options = ScopeOptions()
        self.library = Library(())
        self.change(options)

    def change(self, options: ScopeOptions) -> None:
        """Put other options in force.

        Recordings that have answered stay so, unless others take their place. A fault counts anew.
        """
        fault = faults.parse(options.fault) if options.fault else None
        if options.transcripts != self.options.transcripts:
            self.library = Library(map(Path, options.transcripts))
        self.options = options
        self._injector = faults.Injector(self._handler, fault)
        for recording in self.library.recordings:
            self._lend(recording)

    async def answer(self, exchange: http.Exchange) -> None:
        """Answer a request, with the fault of the scope where it names none itself."""
        await self._injector.handle(exchange)

    async def pass_on(self, exchange: http.Exchange, handler: http.Handler) -> None:
        """Have somebody else answer a request, with the same faults."""
        await self._injector.answer(exchange, handler)

    def choose(self, asked: Asked) -> Recording | None:
        """Return the recording that answers; None: none does."""
        options = self.options
        may_repeat = options.on_miss is not OnMiss.RECORD
        return self.library.choose(asked, options.match, may_repeat=may_repeat)

    def add(self, recording: Recording) -> None:
        """Have one more recording; the request that it is of was its first."""
        recording.is_used = True
        self.library.recordings.append(recording)
        self._lend(recording)

    async def close(self) -> None:
        """Wait for what is being recorded, and take everything back."""
        await self.settled()
        for recording in self.library.recordings:
            self._worker.lent.pop(self.script_of(recording), None)

    async def settled(self) -> None:
        """Wait for what is being recorded, but not for ever: an answer may still be read."""
        if self.pending:
            await asyncio.wait(self.pending, timeout=SETTLED_S)

    def note(self, exchange: http.Exchange) -> Entry:
        """Begin a request's entry in the journal."""
        headers = exchange.request.headers
        names = (name for name in headers.names() if not any(part in name for part in UNSHOWN))
        shown = {name: headers.get(name) or "" for name in names}
        entry = Entry(exchange.request.method, exchange.request.path, shown)
        self.journal.requests.append(entry)
        del self.journal.requests[:-JOURNALED]
        return entry

    def script_of(self, recording: Recording) -> str:
        """Return the name by which the worker knows a recording."""
        return f"{self.name}/{id(recording)}"

    def _lend(self, recording: Recording) -> None:
        lent = scripted.Lent(recording.choices, self.options.speed)
        self._worker.lent[self.script_of(recording)] = lent
