"""Plays transcripts as a worker: the embedded default, and the deterministic worker of tests."""

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine import containment, failures, slices, worker, workerkinds
from engine.log.read import segments
from machines import events

EVENTS_A_WAKEUP: Final = 64
"""Events that are played at once before other streams have their turn."""

PLAYED: Final = (
    events.TextDelta,
    events.ReasoningDelta,
    events.ReasoningPartStarted,
    events.ReasoningCompleted,
    events.MessageStarted,
    events.MessageCompleted,
    events.RefusalDelta,
    events.ExtraMembers,
    events.ToolCalled,
    events.ToolCallDelta,
    events.TurnFinished,
    events.ChoiceMissing,
    events.TokensCounted,
    events.TurnFailed,
    events.ItemStarted,
)
"""The events of a worker that are played. The rest of a transcript is the server's own, and
happens anew."""

_ENDS: Final = (events.TurnFinished, events.ChoiceMissing, events.TurnFailed)

DEFAULT: Final = "text-short"
"""The transcript behind the aliases."""


class Cue(msgspec.Struct, frozen=True):
    """One event, and the microseconds between the stream's opening and it."""

    at_us: int
    event: events.StreamInput


class TranscriptError(Exception):
    """Raised for a transcript that cannot be played."""


class Transcript(msgspec.Struct, frozen=True):
    """A recorded stream: what was asked, and what the worker said.

    Attributes:
        name: of its file, or in a log its request id.
        choices: the cues of each choice.
    """

    name: str
    opened: events.Opened
    choices: tuple[tuple[Cue, ...], ...]


def load_cues(path: Path) -> tuple[tuple[Cue, ...], ...]:
    """Read the worker's events of a transcript, by choice.

    Raises:
        TranscriptError: for a file that is no intact log, or of more than one stream.
    """
    return load_file(path).choices


def load_file(path: Path) -> Transcript:
    """Read the one stream of a file.

    Raises:
        TranscriptError: for a file that is no intact log, or of more than one stream.
        OSError: it cannot be read.
    """
    reading = segments.read(path)
    records = list(reading)
    if reading.problems:
        raise TranscriptError(str(reading.problems[0]))
    openings = [record for record in records if record.event == "opened"]
    if len(openings) != 1:
        raise TranscriptError(f"{path}: {len(openings)} streams begin in it, not one")
    first = openings[0].stream
    whole = [record for record in records if record.stream == first]
    return Transcript(path.stem, _opened(whole), _choices(whole))


def load_log(directory: Path) -> list[Transcript]:
    """Read every whole stream of a log, in the order of their ends. A server may be writing on.

    Raises:
        TranscriptError: for a log that is not intact.
    """
    reading = segments.read(directory)
    running: dict[str, list[segments.Record]] = {}
    found = []
    for record in reading:
        if record.event == "opened":
            running[record.stream] = []
        elif record.stream not in running:  # a worker's life, or a stream whose beginning is gone
            continue
        running[record.stream].append(record)
        if record.event == "terminal":
            whole = running.pop(record.stream)
            opened = _opened(whole)
            found.append(Transcript(opened.request_id, opened, _choices(whole)))
    for problem in reading.problems:
        if problem.kind == "corrupt":
            raise TranscriptError(str(problem))
    return found


def load_all(directory: Path) -> list[Transcript]:
    """Everything in a directory that can be played: files `NAME.jsonl` by name, then a log.

    Raises:
        TranscriptError: for a file that is no transcript, and a log that is not intact.
        OSError: the directory cannot be read.
    """
    logged = {segment.path for segment in segments.list_segments(directory)}
    files = [path for path in sorted(directory.glob("*.jsonl")) if path not in logged]
    return [*map(load_file, files), *(load_log(directory) if logged else ())]


def load(directory: Path) -> dict[str, tuple[tuple[Cue, ...], ...]]:
    """Everything in a directory that can be played, by name; of the same name the last.

    Raises:
        TranscriptError: for a file that is no transcript, and a log that is not intact.
        OSError: the directory cannot be read.
    """
    return {each.name: each.choices for each in load_all(directory)}


def joined(cues: Iterable[Cue]) -> tuple[Cue, ...]:
    """Join the messages, and the parts of the thinking, of an answer whose items are told apart: a
    client of Chat Completions has one text of each."""
    found: list[Cue] = []
    told: set[type] = set()
    begun: dict[type, bool] = {}
    for cue in cues:
        kind: type = type(cue.event)
        match cue.event:
            case events.MessageCompleted():
                continue
            case events.MessageStarted(phase):
                begun[events.ReasoningDelta if phase == "commentary" else events.TextDelta] = True
                continue
            case events.ReasoningPartStarted() | events.ReasoningCompleted():
                begun[events.ReasoningDelta] = True
                continue
            case events.TextDelta(text) | events.ReasoningDelta(text) if text:
                before = worker.PARAGRAPH if begun.get(kind) and kind in told else ""
                told.add(kind)
                begun[kind] = False
                if before:
                    event = msgspec.structs.replace(cue.event, text=before + text)
                    cue = Cue(cue.at_us, event)
        found.append(cue)
    return tuple(found)


def _opened(records: list[segments.Record]) -> events.Opened:
    opened = records[0].load()
    assert isinstance(opened, events.Opened)
    return opened


def _choices(records: list[segments.Record]) -> tuple[tuple[Cue, ...], ...]:
    """The cues of one stream's records."""
    choices: list[list[Cue]] = [[] for _ in range(_opened(records).n)]
    reasons: tuple[str | None, ...] = ()
    since = 0
    for record in records:
        since = record.t - records[0].t
        event = record.load()
        if isinstance(event, PLAYED):
            choices[event.choice].append(Cue(since, event))
        elif isinstance(event, events.Terminal):
            reasons = event.finish_reasons
    ended = itertools.zip_longest(choices, reasons)
    return tuple((*cues, *_ending(cues, reason, since)) for cues, reason in ended)


def _ending(cues: list[Cue], reason: str | None, at_us: int) -> tuple[Cue, ...]:
    """What is missing where the worker did not come to its own end.

    An answer that was cut here ends as it was cut. Of one whose client left, who plays it back
    stays, and is owed an ending.
    """
    if cues and isinstance(cues[-1].event, _ENDS):
        return ()
    if reason is None:
        return (Cue(at_us, failures.LOST.event(0)),)
    return (Cue(at_us, events.TurnFinished(reason, cut_short=True)),)


class Playback:
    """One transcript in motion.

    Args:
        speed: 1 for the recorded timing, 2 for twice as fast, 0 for as fast as it goes.
    """

    def __init__(
        self, cues: tuple[Cue, ...], turn: worker.Turn, feed: worker.Feed, speed: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._cues = self._timed(cues, speed)
        self._turn = turn
        self._feed = feed
        self._next = next(self._cues, None)
        self._handle: asyncio.Handle = self._loop.call_soon(self._play)

    def cancel(self) -> None:
        """Say nothing more."""
        self._handle.cancel()
        self._next = None

    def pause(self) -> None:
        """A transcript has its own time."""

    def resume(self) -> None:
        """It never paused."""

    def keep(self) -> None:
        """A transcript waits for nothing."""
        self.cancel()

    def _timed(
        self, cues: tuple[Cue, ...], speed: float
    ) -> Iterator[tuple[float, events.StreamInput]]:
        for cue in cues:
            yield (self._began + cue.at_us / 1e6 / speed if speed else self._began), cue.event

    def _play(self) -> None:
        try:
            self._play_due()
        except Exception as error:
            ids = {"req_id": self._turn.request_id, "stream": self._turn.stream_id}
            containment.report(containment.Boundary.TURN, error, **ids)
            self._feed.event(failures.DEFECT.event(self._turn.choice))

    def _play_due(self) -> None:
        now = self._loop.time()
        for _ in range(EVENTS_A_WAKEUP):
            if self._next is None or self._next[0] > now:
                break
            event = self._next[1]
            self._next = next(self._cues, None)
            self._feed.event(msgspec.structs.replace(event, choice=self._turn.choice))
        if self._next is not None:
            self._handle = self._loop.call_at(max(now, self._next[0]), self._play)


class Lent(msgspec.Struct, frozen=True):
    """A transcript that is played for a while beside those of the directory.

    Attributes:
        speed: as of `Playback`.
    """

    choices: tuple[tuple[Cue, ...], ...]
    speed: float


class ScriptedWorker:
    """Answers turns from a directory of transcripts, `NAME.jsonl` each, or a log.

    A turn's transcript is the one it names, else the one that answers everything, else the one
    its target names. Further choices than it has begin again with its first.

    Args:
        everything: the transcript of every turn that names none.

    Attributes:
        accepts: the names of models that it takes.
        lent: transcripts that are no file of the directory, by the name that a turn has for each.

    Raises:
        TranscriptError: the directory holds no playable transcript, or not that one.
    """

    kind = workerkinds.SCRIPTED

    def __init__(self, directory: Path, speed: float, everything: str | None = None) -> None:
        self._speed = speed
        self._everything = everything
        self._transcripts = load(directory)
        self.lent: dict[str, Lent] = {}
        if not self._transcripts:
            raise TranscriptError(f"{directory}: no transcripts")
        if everything is not None and everything not in self._transcripts:
            raise TranscriptError(f"{directory}: no transcript {everything!r}")
        self.accepts: worker.AnyModel | worker.ListedModels = (
            worker.ListedModels(self.models()[0]) if everything is None else worker.AnyModel()
        )

    def accept_any(self) -> None:
        """Take every model's name from now on: transcripts are chosen by what else is asked."""
        self.accepts = worker.AnyModel()

    async def start(self) -> None:
        """Do nothing: the worker was ready when it was made."""

    async def stop(self) -> None:
        """Do nothing: playbacks are cancelled with their streams."""

    def health(self) -> worker.Health:
        """Always ready."""
        return worker.Health(True, "ready")

    def versions(self) -> dict[str, str]:
        """No version but the server's own."""
        return {}

    def models(self) -> tuple[str, ...]:
        """The transcripts' names, the default first."""
        first = [name for name in (DEFAULT,) if name in self._transcripts]
        return tuple(dict.fromkeys(itertools.chain(first, self._transcripts)))

    def describe(self, model: str) -> worker.ModelCard:
        """Return nothing: nobody says more of it."""
        return worker.ModelCard()

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        """Refuse a transcript that is not there."""
        yield
        self._script(turn)
        return self

    def run(self, turn: worker.Turn, feed: worker.Feed) -> Playback:
        """Begin to play, with joined texts where the client is not told of each item."""
        script = self._script(turn)
        cues = script.choices[turn.choice % len(script.choices)]
        return Playback(cues if turn.separate_items else joined(cues), turn, feed, script.speed)

    def _script(self, turn: worker.Turn) -> Lent:
        name = turn.transcript or self._everything or turn.target
        if name in self.lent:
            return self.lent[name]
        if name not in self._transcripts:
            raise worker.TurnRefused("model_not_found", f"There is no transcript {name[:100]!r}.")
        return Lent(self._transcripts[name], self._speed)
