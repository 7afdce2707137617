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

from engine import failures, pieces, redaction, runningtext
from engine.failures import ProviderFailure
from engine.upstream import chunkfields, decoding, errors as upstreamerrors, extras
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

SENTINEL_BYTES: Final = max(map(len, SENTINELS))
"""Most bytes of a sentinel: no longer event is compared with one."""


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
        self._error: Any = None  # of a choice
        self._texts = {number: runningtext.Texts() for number in self._choices}
        self._called: set[int] = set()
        self._extras = extras.Extras(known)
        self._begun: set[int] = set()
        self._no_text: dict[int, events.NoText] = {}

    def take(self, event: eventsource.Event) -> Batches:
        """Yield the events of a stream that one event of the upstream makes.

        Raises:
            decoding.UpstreamDecodeError: it is not JSON.
        """
        data = event.data.strip()
        if not data or self.stage >= Stage.OVER:
            return
        if len(data) <= SENTINEL_BYTES and data in SENTINELS:
            yield self._end_open()
            return
        if len(data) > decoding.SMALL_BYTES and (yield from parse.scan_depth(data)):
            raise decoding.UpstreamDecodeError(data)
        chunk, error = decoding.read(event.event, data, self._known)
        repeats = self.stage >= Stage.SPEAKING
        self._advance(Stage.BEGUN)
        made = self._extras.of_chunk(chunk, self._choices.start, data)
        if made:
            yield made
        finished: dict[int, str | None] = {}
        try:
            yield from self._choices_of(chunk.get("choices"), repeats, finished)
        except _Mismatch:
            yield self._break(failures.TEXT_MISMATCH)
            return
        except (_Lost, chunkfields.Unreadable):
            yield self._break(upstreamerrors.LOST)
            return
        counted = self._count(chunk.get("usage"))
        if error is None and (self._error or FAILED_WORD in finished.values()):
            error = upstreamerrors.reported(self._error or {}, self._known)
        if error is not None:
            yield self._break(error)
        elif finished or counted:
            yield self._finish(finished, counted)

    def take_body(self, body: bytes) -> Batches:
        """Yield the events of a whole completion, which came although a stream was asked for.

        Raises:
            decoding.UpstreamDecodeError: it is not JSON.
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
        text = self._known.start_of_bytes(data, decoding.GARBLED_BYTES)
        noted = events.UpstreamGarbled(text, self._choices.start)
        return [noted, *self.fail(upstreamerrors.UNDECODABLE)]

    def _end_open(self) -> Batch:
        """Finish every open choice: the upstream sent its sentinel."""
        if self.stage >= Stage.OVER:
            return []
        if self.stage < Stage.SPEAKING:
            return self.fail(upstreamerrors.EMPTY)
        reasons = {each: SENTINEL_WORD if each in self._begun else None for each in self._open}
        return self._finish(reasons, counted=True)

    def _advance(self, stage: Stage) -> None:
        if self.stage < stage:
            self.stage = stage

    def _choices_of(self, choices: Any, repeats: bool, finished: dict[int, str | None]) -> Batches:
        """Yield the output of every choice of a chunk.

        Args:
            repeats: whether a message in it may repeat what went out.
            finished: gets the choices that the chunk finishes, and why.

        Raises:
            _Mismatch: it contradicts that.
            _Lost: there is output of a choice that is over, or that there is not.
            chunkfields.Unreadable: there is output of no known type.
        """
        for position, choice in enumerate(choices if isinstance(choices, list) else ()):
            if position % chunkfields.BATCH == chunkfields.BATCH - 1:
                yield None
            number = self._number(choice, position)
            if number not in self._open:
                yield from self._out_of_place(number, choice, repeats)
                continue
            text = chunkfields.plain_text(choice)
            if text:  # nearly every choice is that: a token's cost
                self._speak(number)
                self._texts[number].content.add(text)
                yield [events.TextDelta(text, number)]
            else:
                self._error = self._error or choice.get("error")
                message, form = _message_of(choice, repeats)
                yield from self._extra(number, choice, message, form)
                for batch in self._message(number, message, form):
                    if batch:
                        self._speak(number)
                    yield batch
            reason = choice.get("finish_reason")
            if reason and isinstance(reason, str):
                self._speak(number)
                finished.setdefault(number, reason[: chunkfields.WORD_MAX])

    def _speak(self, number: int) -> None:
        """Take note that there is output of a choice."""
        if number not in self._begun:
            self._advance(Stage.SPEAKING)
            self._begun.add(number)

    def _extra(
        self, number: int, choice: dict[str, Any], message: dict[str, Any], form: Form
    ) -> Batches:
        """Yield the further members of one choice, before the output that they go with."""
        is_followed = bool(choice.get("finish_reason")) or chunkfields.has_output(message)
        made = self._extras.of_choice(choice, message, number, form, is_followed)
        if not is_followed and any(isinstance(event, events.ExtraMembers) for event in made):
            self._speak(number)
        yield made

    def _out_of_place(self, number: int, choice: Any, repeats: bool) -> Batches:
        """Look for output of a choice that is over or was not asked for; what else providers send
        there is harmless and frequent.

        Raises:
            _Lost: there is some.
        """
        if not isinstance(choice, dict):
            return
        known = number if number in self._texts else self._choices.start
        for batch in self._message(known, *_message_of(choice, repeats)):
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

    def _message(self, number: int, message: dict[str, Any], form: Form) -> Batches:
        """Yield the output of one choice: its delta, or the whole message in place of one."""
        texts, content = self._texts[number], message.get("content")
        repeats = form == "repeated"
        if "content" in message and not repeats and self._no_text.get(number) != "empty":
            self._no_text[number] = "null" if content is None else "empty"
        member = chunkfields.reasoning_member(message)
        for thought in _news(chunkfields.thoughts(message), texts.reasoning, repeats):
            yield from _pieces(events.ReasoningDelta(thought, number, "text", member))
        for text in _news(chunkfields.texts(content), texts.content, repeats):
            yield from _pieces(events.TextDelta(text, number))
        for refusal in _news(chunkfields.refusals(message), texts.refusal, repeats):
            yield from _pieces(events.RefusalDelta(refusal, number))
        if chunkfields.has_calls(message):
            if repeats and number in self._called and number not in self._open:
                return  # they were complete with the finish
            self._called.add(number)
            yield from chunkfields.calls(message, number, form, self._extras.of_call)

    def _finish(self, finished: dict[int, str | None], counted: bool) -> Batch:
        """End choices. Counts that are final go with the last of them, or after it.

        Args:
            finished: why each ends; None for one of which the upstream said nothing.
        """
        counts: Batch = []
        ends: Batch = []
        followed = not counted or len(finished) < len(self._open)
        for number, reason in finished.items():
            if number in self._open:
                self._open.remove(number)
                ends.append(self._end(number, reason, followed))
        if not self._open:
            self.stage = Stage.WHOLE
            if counted:
                counts = self._emit_counts()
        return counts + ends

    def _end(self, number: int, reason: str | None, followed: bool) -> events.StreamInput:
        if reason is None:
            return events.ChoiceMissing(number)
        if self._texts[number].content.begun:
            return events.TurnFinished(reason, number, followed)
        no_text = self._no_text.get(number, "unsaid")
        return events.TurnFinished(reason, number, followed, no_text=no_text)

    def _count(self, usage: Any) -> bool:
        """Keep the larger counts, field by field, and return whether there were any."""
        self._extras.count(usage)
        found = chunkfields.usage(usage)
        if found is not None:
            self._usage = found if self._usage is None else self._usage.larger(found)
        return found is not None

    def _emit_counts(self) -> Batch:
        """End the answer with its counts; they come once."""
        if self.stage >= Stage.OVER:
            return []
        self.stage = Stage.OVER
        usage = self._usage
        counts: Batch = [events.TokensCounted(usage, self._choices.start)]
        if usage is not None:
            counts = [*self._extras.of_usage(self._choices.start), *counts]
            usage = events.Usage(usage.prompt_tokens, 0, usage.cached_tokens)
        counts += [events.TokensCounted(usage, number) for number in self._choices[1:]]
        return counts


def _pieces(event: events.TextDelta | events.ReasoningDelta | events.RefusalDelta) -> Batches:
    """Yield a text in batches of a piece each, so that a reader may stop after any of them."""
    for piece in pieces.of(event) if event.text else ():
        yield [piece]
    yield None


def _message_of(choice: dict[str, Any], repeats: bool) -> tuple[dict[str, Any], Form]:
    """Return the delta of a choice, or the whole message in place of one; empty for neither."""
    delta, message = choice.get("delta"), choice.get("message")
    if isinstance(message, dict) and not (isinstance(delta, dict) and delta):
        return message, "repeated" if repeats else "whole"
    return delta if isinstance(delta, dict) else {}, "delta"


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
