"""Reads the answer of a Chat Completions upstream: events in, events of a stream out.

Theory of operation. Providers are sloppy, each in its own way, so nothing but the outermost
object has a type; `engine.upstream.chunkfields` finds what is meant. All choices of one chunk are
read before any of them is finished, and what a chunk says is told in one order: deltas, counts,
finishes. It comes in batches, because one event may hold a million calls: who reads them can let
others run between two.

Counts are for all choices together: the first choice is told them whole, the others the prompt
alone, so that the stream's sum is the upstream's. Some upstreams count on every chunk; what they
said so far is held until the answer ends, because a larger count may follow.

Output behind a finish, or of a choice that nobody asked for, cannot be brought to the client: its
answer fails, for without that part it would look whole. The sentinel therefore waits, behind the
finish, until the upstream has said that it is over, or the grace is.

Some upstreams repeat the whole message at the end of a stream. It is compared with what went out:
what continues that goes out too, and what contradicts it is a failure, for then a piece was lost.
"""

import enum
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from engine import failures, pieces, redaction, runningtext, slices
from engine.failures import ProviderFailure
from engine.upstream import chunkfields, errors as upstreamerrors
from engine.upstream.chunkfields import Batch, Batches, Form
from machines import events, parse
from machines.wire import eventsource

SENTINELS: Final = frozenset({b"[DONE]", b"DONE"})
"""The data that ends a stream in place of JSON. The second form is not in the API's reference;
some providers send it."""

SENTINEL_WORD: Final = "[DONE]"
"""The finish reason of an answer that only a sentinel ended; the log keeps it."""

FAILED_WORD: Final = "error"
"""The finish reason of an answer that broke off, as relays of several providers say it."""

GARBLED_BYTES: Final = 1024
"""Most bytes of an event that is not JSON that go on record."""

SENTINEL_BYTES: Final = max(map(len, SENTINELS))
"""Most bytes of a sentinel: no longer event is compared with one."""

SMALL_BYTES: Final = 1 << 16
"""Most bytes of an event that is read in one go."""


class UpstreamDecodeError(Exception):
    """Raised for an event that is not a JSON object.

    Args:
        data: the event's data; what `ChunkReader.garbled` looks at of it is kept.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__("not a JSON object")
        self.data = data[: GARBLED_BYTES + redaction.MAX_SECRET]


class _Mismatch(Exception):
    """Raised where a repeated message contradicts the parts of it that went out."""


class _Lost(Exception):
    """Raised where output has no place in the answer: it would be missing without a sign."""


class Stage(enum.IntEnum):
    """The progress of an answer.

    SILENT: no event came. BEGUN: events, but nothing to tell. SPEAKING: output went on.
    WHOLE: every choice has finished, and counts may follow. OVER: nothing may follow.
    FAILED: the answer will not become whole.
    """

    SILENT = enum.auto()
    BEGUN = enum.auto()
    SPEAKING = enum.auto()
    WHOLE = enum.auto()
    OVER = enum.auto()
    FAILED = enum.auto()


class Chunk(msgspec.Struct, gc=False):
    """The members of a chunk, or of a whole completion, that are read."""

    choices: Any = None
    usage: Any = None
    error: Any = None
    object: Any = None


_CHUNKS: Final = msgspec.json.Decoder(Chunk)


class ChunkReader:
    """Reads the events of one response.

    Args:
        choices: how many the request asked for.
        first: the number of the first of them.
        known: the server's own secrets, which an upstream may repeat.
    """

    def __init__(
        self, choices: int, first: int = 0, known: redaction.Redaction = redaction.NONE
    ) -> None:
        self._known = known
        self.stage = Stage.SILENT
        self._choices = range(first, first + choices)
        self._open = list(self._choices)
        self._usage: events.Usage | None = None
        self._texts = {number: runningtext.Texts() for number in self._choices}
        self._refusals: set[int] = set()
        self._called: set[int] = set()

    def take(self, event: eventsource.Event) -> Batches:
        """Yield the events of a stream that one event of the upstream makes.

        Raises:
            UpstreamDecodeError: it is not JSON.
        """
        data = event.data.strip()
        if not data or self.stage >= Stage.OVER:
            return
        if len(data) <= SENTINEL_BYTES and data in SENTINELS:
            yield self._end_open()
            return
        if len(data) > SMALL_BYTES and (yield from parse.scan_depth(data)):
            raise UpstreamDecodeError(data)
        chunk, error = _read(event.event, data, self._known)
        repeats = self.stage >= Stage.SPEAKING
        self._advance(Stage.BEGUN)
        finished: dict[int, str] = {}
        try:
            if isinstance(chunk.choices, list):
                yield from self._choices_of(chunk.choices, repeats, finished)
        except _Mismatch:
            yield self._break(failures.TEXT_MISMATCH)
            return
        except (_Lost, chunkfields.Unreadable):
            yield self._break(upstreamerrors.LOST)
            return
        counted = chunk.usage is not None and self._count(chunk.usage)
        if error is None and FAILED_WORD in finished.values():
            error = upstreamerrors.reported({}, self._known)
        if error is not None:
            yield self._break(error)
        elif finished or counted:
            yield self._finish(finished, counted)

    def take_body(self, body: bytes) -> Batches:
        """Yield the events of a whole completion, which came although a stream was asked for.

        Raises:
            UpstreamDecodeError: it is not JSON.
        """
        yield from self.take(eventsource.Event("message", body))
        speaking = self.stage >= Stage.SPEAKING
        yield self._end_open() if speaking else self.fail(upstreamerrors.NO_ANSWER)

    def close(self) -> Batch:
        """Return the events of an answer of which nothing more comes, although nothing broke."""
        if self.stage < Stage.WHOLE:
            silent = self.stage is Stage.SILENT
            return self.fail(upstreamerrors.EMPTY if silent else upstreamerrors.TRUNCATED)
        return self._emit_counts()

    def fail(self, failure: ProviderFailure) -> Batch:
        """Return the events of a failure; a complete answer loses no more by it than counts."""
        return self._emit_counts() if self.stage >= Stage.WHOLE else self._break(failure)

    def _break(self, failure: ProviderFailure) -> Batch:
        """End the answer by a failure of its own, though every choice has finished."""
        whole = self.stage is Stage.WHOLE
        counts = self._emit_counts() if self._usage is not None and not whole else []
        self.stage = Stage.FAILED
        return [*counts, failure.event(self._open[0] if self._open else self._choices.start)]

    def garbled(self, data: bytes) -> Batch:
        """Return the events of data that cannot be read: a record of it, and a failure."""
        text = self._known.start_of_bytes(data, GARBLED_BYTES)
        noted = events.UpstreamGarbled(text, self._choices.start)
        return [noted, *self.fail(upstreamerrors.UNDECODABLE)]

    def _end_open(self) -> Batch:
        """Finish every open choice: the upstream sent its sentinel."""
        if self.stage >= Stage.OVER:
            return []
        if self.stage < Stage.SPEAKING:
            return self.fail(upstreamerrors.EMPTY)
        return self._finish(dict.fromkeys(self._open, SENTINEL_WORD), counted=True)

    def _advance(self, stage: Stage) -> None:
        if self.stage < stage:
            self.stage = stage

    def _choices_of(self, choices: list[Any], repeats: bool, finished: dict[int, str]) -> Batches:
        """Yield the output of every choice of a chunk.

        Args:
            repeats: whether a message in it may repeat what went out.
            finished: gets the choices that the chunk finishes, and why.

        Raises:
            _Mismatch: it contradicts that.
            _Lost: there is output of a choice that is over, or that there is not.
            chunkfields.Unreadable: there is output of no known type.
        """
        for position, choice in enumerate(choices):
            if position % chunkfields.BATCH == chunkfields.BATCH - 1:
                yield None
            number = self._number(choice, position)
            if number not in self._open:
                yield from self._out_of_place(number, choice, repeats)
                continue
            text = chunkfields.plain_text(choice)
            if text:  # nearly every choice is that: a token's cost
                self._advance(Stage.SPEAKING)
                self._texts[number].content.add(text)
                yield [events.TextDelta(text, number)]
            else:
                for batch in self._output(number, choice, repeats):
                    if batch:
                        self._advance(Stage.SPEAKING)
                    yield batch
            reason = choice.get("finish_reason")
            if reason and isinstance(reason, str):
                self._advance(Stage.SPEAKING)
                finished.setdefault(number, reason[: chunkfields.WORD_MAX])

    def _out_of_place(self, number: int, choice: Any, repeats: bool) -> Batches:
        """Look for output of a choice that is over or was not asked for; what else providers send
        there is harmless and frequent.

        Raises:
            _Lost: there is some.
        """
        if not isinstance(choice, dict):
            return
        known = number in self._texts
        for batch in self._output(number if known else self._choices.start, choice, repeats):
            if batch:
                raise _Lost
            yield None

    def _number(self, choice: Any, position: int) -> int:
        """Return the number of this choice; one beyond all choices if it is none."""
        if not isinstance(choice, dict):
            return self._choices.stop
        index = choice.get("index")
        if type(index) is not int:
            index = position
        return self._choices.start + index if index >= 0 else self._choices.stop

    def _output(
        self, number: int, choice: dict[str, Any], repeats: bool
    ) -> Iterable[Batch | None]:
        """Yield the output of one choice: its delta, or the whole message in place of one."""
        delta, message = choice.get("delta"), choice.get("message")
        if isinstance(delta, dict) and (delta or not isinstance(message, dict)):
            return self._message(number, delta, "delta")
        if isinstance(message, dict):
            return self._message(number, message, "repeated" if repeats else "whole")
        return ()

    def _message(self, number: int, message: dict[str, Any], form: Form) -> Batches:
        texts, content = self._texts[number], message.get("content")
        repeats = form == "repeated"
        for thought in _news(chunkfields.thoughts(message), texts.reasoning, repeats):
            yield from _pieces(events.ReasoningDelta(thought, number, "text"))
        for text in _news(chunkfields.texts(content), texts.content, repeats):
            yield from _pieces(events.TextDelta(text, number))
        for refusal in _news(chunkfields.refusals(message), texts.refusal, repeats):
            self._refusals |= {number} if refusal else set()
            yield from _pieces(events.RefusalDelta(refusal, number))
        if chunkfields.has_calls(message):
            if repeats and number in self._called and number not in self._open:
                return  # they were complete with the finish
            self._called.add(number)
            yield from chunkfields.calls(message, number, form)

    def _finish(self, finished: dict[int, str], counted: bool) -> Batch:
        """End choices. Counts that are final go with the last of them, or after it."""
        counts: Batch = []
        ends: Batch = []
        followed = not counted or len(finished) < len(self._open)
        for number, reason in finished.items():
            if number in self._open:
                self._open.remove(number)
                # No upstream's word for a refusal is relied upon.
                refused = number in self._refusals and reason != FAILED_WORD
                word = "content_filter" if refused else reason
                ends.append(events.TurnFinished(word, number, followed))
        if not self._open:
            self.stage = Stage.WHOLE
            if counted:
                counts = self._emit_counts()
        return counts + ends

    def _count(self, usage: Any) -> bool:
        """Keep the larger counts, field by field, and return whether there were any."""
        found = chunkfields.usage(usage)
        if found is not None:
            self._usage = chunkfields.larger(self._usage, found)
        return found is not None

    def _emit_counts(self) -> Batch:
        """End the answer with its counts; they come once."""
        if self.stage >= Stage.OVER:
            return []
        self.stage = Stage.OVER
        usage = self._usage
        counts: Batch = [events.TokensCounted(usage, self._choices.start)]
        if usage is not None:
            usage = events.Usage(usage.prompt_tokens, 0, usage.cached_tokens)
        counts += [events.TokensCounted(usage, number) for number in self._choices[1:]]
        return counts


def _pieces(event: events.TextDelta | events.ReasoningDelta | events.RefusalDelta) -> Batches:
    """Yield a text in batches of a piece each, so that a reader may stop after any of them."""
    for piece in pieces.of(event) if event.text else ():
        yield [piece]
    yield None


def _news(texts: Iterable[str], before: runningtext.RunningText, repeats: bool) -> Iterable[str]:
    """Yield the texts, but for what only repeats what went out before.

    Raises:
        _Mismatch: they do not repeat that.
    """
    if repeats:
        whole = "".join(texts)
        rest = before.rest_of(whole) if whole else ""
        if rest is None:
            raise _Mismatch
        texts = (rest,)
    for text in texts:
        before.add(text)
        yield text


def _read(
    kind: str, data: bytes, known: redaction.Redaction
) -> tuple[Chunk, ProviderFailure | None]:
    """A chunk, and the error that it is or holds. How deep it is has been looked at if it is
    large.

    Args:
        kind: the event's type.
    """
    try:
        if len(data) <= SMALL_BYTES:
            chunk = parse.parse(data, _CHUNKS)
        else:
            with slices.gc_paused():
                chunk = parse.parse_outer(data, _CHUNKS)
    except parse.ParseError as error:
        value = None if error.fault == "type" else _lenient(data)
        if value is None and kind != "error":
            raise UpstreamDecodeError(data) from None
        chunk = Chunk(*((value or {}).get(name) for name in Chunk.__struct_fields__))
    if chunk.error or kind == "error" or chunk.object == "error":
        return chunk, upstreamerrors.reported(_error(data), known)
    return chunk, None


def _error(data: bytes) -> Any:
    """Return the object that an error is in; its text where it is none."""
    try:
        value = parse.value(data)
    except parse.ParseError:
        value = _lenient(data)
    if isinstance(value, dict):
        return value
    return data[: upstreamerrors.MESSAGE_BYTES].decode("utf-8", "replace")


def _lenient(data: bytes) -> dict[str, Any] | None:
    """Read an object with a parser that also takes bad UTF-8, half surrogates and NaN."""
    try:
        value = parse.lenient(data)
    except parse.ParseError:
        return None
    return value if isinstance(value, dict) else None
