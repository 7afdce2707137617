"""Reads the answer of a Chat Completions upstream: events in, events of a stream out.

Theory of operation. Providers are sloppy, each in its own way, so nothing but the outermost
object has a type: what is not of the kind that is looked for counts as absent. All choices of one
chunk are read before any of them is finished, and what a chunk says is told in one order:
deltas, counts, finishes.

Counts are for all choices together: the first choice is told them whole, the others the prompt
alone, so that the stream's sum is the upstream's. Some upstreams count on every chunk; what they
said so far is held until the answer ends, because a larger count may follow.
"""

import enum
import json
from typing import Any, Final

import msgspec

from engine import upstreamerrors
from engine.failures import ProviderFailure
from machines import events, eventsource

SENTINELS: Final = frozenset({b"[DONE]", b"DONE"})
"""What stands for the end of a stream in place of JSON."""

SENTINEL_WORD: Final = "[DONE]"
"""The finish reason of an answer that only a sentinel ended; the log keeps it."""

FAILED_WORD: Final = "error"
"""The finish reason of an answer that broke off, as relays of several providers say it."""

GARBLED_BYTES: Final = 1024
"""How much of an event that is not JSON goes on record."""

COUNT_MAX: Final = 2**53
"""The largest count that is believed; JSON readers lose the digits of larger ones."""

Said = list[events.StreamInput]


class UpstreamDecodeError(Exception):
    """Raised for an event that is not a JSON object.

    Args:
        data: the event's data; its first `GARBLED_BYTES` are kept.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__("not a JSON object")
        self.data = data[:GARBLED_BYTES]


class Stage(enum.IntEnum):
    """How far an answer is.

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
    """What is read of a chunk, or of a whole completion."""

    choices: Any = None
    usage: Any = None
    error: Any = None
    object: Any = None


_CHUNKS: Final = msgspec.json.Decoder(Chunk)


class ChunkReader:
    """The events of one response.

    Args:
        choices: how many the request asked for.
        first: the number of the first of them.
    """

    def __init__(self, choices: int, first: int = 0) -> None:
        self.stage = Stage.SILENT
        self._choices = range(first, first + choices)
        self._open = list(self._choices)
        self._usage: events.Usage | None = None
        self._refusals: set[int] = set()

    def take(self, event: eventsource.Event) -> Said:
        """What an event says.

        Raises:
            UpstreamDecodeError: it is not JSON.
        """
        data = event.data.strip()
        if not data or self.stage >= Stage.OVER:
            return []
        if data in SENTINELS:
            return self._sentinel()
        chunk, error = _read(event.event, data)
        self.stage = max(self.stage, Stage.BEGUN)
        said, finished = self._deltas(chunk.choices)
        if said or finished:
            self.stage = max(self.stage, Stage.SPEAKING)
        counted = self._count(chunk.usage)
        if error is None and any(word == FAILED_WORD for _, word in finished):
            error = upstreamerrors.reported({})
        if error is not None:
            return said + self.fail(error)
        return said + self._finish(finished, counted)

    def take_body(self, body: bytes) -> Said:
        """What a whole completion says, which came although a stream was asked for.

        Raises:
            UpstreamDecodeError: it is not JSON.
        """
        said = self.take(eventsource.Event("message", body))
        if self.stage < Stage.SPEAKING:
            return self.fail(upstreamerrors.NO_ANSWER)
        return said + self._sentinel()

    def close(self) -> Said:
        """What it means that nothing more comes, although nothing broke."""
        if self.stage < Stage.WHOLE:
            silent = self.stage is Stage.SILENT
            return self.fail(upstreamerrors.EMPTY if silent else upstreamerrors.TRUNCATED)
        return self._tell_counts()

    def fail(self, failure: ProviderFailure) -> Said:
        """What a failure means now: to an answer that is whole, that no counts will come."""
        if self.stage >= Stage.WHOLE:
            return self._tell_counts()
        said = self._tell_counts() if self._usage is not None else []
        self.stage = Stage.FAILED
        return [*said, failure.event(self._open[0])]

    def garbled(self, data: bytes) -> Said:
        """What it means that an event cannot be read: a record of its data, and a failure."""
        text = data.decode("utf-8", "replace")
        noted = events.UpstreamGarbled(text, self._choices.start)
        return [noted, *self.fail(upstreamerrors.UNDECODABLE)]

    def _sentinel(self) -> Said:
        if self.stage >= Stage.OVER:
            return []
        if self.stage < Stage.SPEAKING:
            return self.fail(upstreamerrors.EMPTY)
        ends = [(number, self._word(number, SENTINEL_WORD)) for number in self._open]
        return self._finish(ends, counted=True)

    def _word(self, number: int, reason: str) -> str:
        """Why a choice ended; no upstream's word for a refusal is relied upon."""
        refused = number in self._refusals and reason != FAILED_WORD
        return "content_filter" if refused else reason

    def _deltas(self, choices: Any) -> tuple[Said, list[tuple[int, str]]]:
        """The output of every choice of a chunk, and the choices that it finishes."""
        said: Said = []
        finished: list[tuple[int, str]] = []
        if not isinstance(choices, list):
            return said, finished
        for position, choice in enumerate(choices):
            number = self._number(choice, position)
            if number not in self._open:
                continue
            self._delta(number, choice, said)
            reason = choice.get("finish_reason")
            if reason and isinstance(reason, str):
                finished.append((number, self._word(number, reason)))
        return said, finished

    def _number(self, choice: Any, position: int) -> int:
        """Which choice this is; a number beyond all choices for none."""
        if not isinstance(choice, dict):
            return self._choices.stop
        index = choice.get("index")
        if type(index) is not int:
            index = position
        return self._choices.start + index if index >= 0 else self._choices.stop

    def _delta(self, number: int, choice: dict[str, Any], said: Said) -> None:
        delta = choice.get("delta")
        whole = False
        if not isinstance(delta, dict):
            # Some repeat the whole message at the end of a stream.
            delta = choice.get("message") if self.stage < Stage.SPEAKING else None
            whole = True
        if not isinstance(delta, dict):
            return
        thought, text = _texts(delta.get("content"))
        thought = _reasoning(delta) or thought
        if thought:
            said.append(events.ReasoningDelta(thought, number, "text"))
        if text:
            said.append(events.TextDelta(text, number))
        refusal = delta.get("refusal")
        if refusal and isinstance(refusal, str):
            self._refusals.add(number)
            said.append(events.RefusalDelta(refusal, number))
        if delta.get("tool_calls") or delta.get("function_call"):
            said += _calls(delta, number, whole)

    def _finish(self, finished: list[tuple[int, str]], counted: bool) -> Said:
        """End choices; with the last of them, or after it, counts that are known to be final."""
        said: Said = []
        ends: Said = []
        for number, reason in finished:
            if number in self._open:
                self._open.remove(number)
                ends.append(events.TurnFinished(reason, number))
        if not self._open:
            self.stage = Stage.WHOLE
            if counted:
                said = self._tell_counts()
        return said + ends

    def _count(self, usage: Any) -> bool:
        """Keep the larger counts, field by field; whether there were any."""
        found = _usage(usage)
        if found is None:
            return False
        known = self._usage or found
        self._usage = events.Usage(
            max(known.prompt_tokens, found.prompt_tokens),
            max(known.completion_tokens, found.completion_tokens),
            max(known.cached_tokens, found.cached_tokens),
            max(known.reasoning_tokens, found.reasoning_tokens),
        )
        return True

    def _tell_counts(self) -> Said:
        """The last word of an answer."""
        if self.stage >= Stage.OVER:
            return []
        self.stage = Stage.OVER
        usage = self._usage
        said: Said = [events.TokensCounted(usage, self._choices.start)]
        if usage is not None:
            usage = events.Usage(usage.prompt_tokens, 0, usage.cached_tokens)
        said += [events.TokensCounted(usage, number) for number in self._choices[1:]]
        return said


def _read(kind: str, data: bytes) -> tuple[Chunk, ProviderFailure | None]:
    """A chunk, and the error that it is or holds.

    Args:
        kind: the event's type.
    """
    try:
        chunk = _CHUNKS.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _object(data)
        if value is None and kind != "error":
            raise UpstreamDecodeError(data) from None
        chunk = msgspec.convert(value or {}, Chunk)
    if chunk.error or kind == "error" or chunk.object == "error":
        value = _object(data)
        text = data.decode("utf-8", "replace")
        return chunk, upstreamerrors.reported(text if value is None else value)
    return chunk, None


def _object(data: bytes) -> dict[str, Any] | None:
    """An object, read by a parser that also takes bad UTF-8, half surrogates and NaN."""
    try:
        value = _mended(json.loads(data.decode("utf-8", "replace")))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _mended(value: Any) -> Any:
    """The value with every half of a surrogate pair replaced: it cannot be encoded again."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {_mended(key): _mended(item) for key, item in value.items()}
        case list():
            return [_mended(item) for item in value]
    return value


def _texts(content: Any) -> tuple[str, str]:
    """The thinking and the text in a delta's content."""
    if isinstance(content, str):
        return "", content
    if not isinstance(content, list):
        return "", ""
    thoughts = [
        _plain(part["thinking"])
        for part in content
        if isinstance(part, dict) and "thinking" in part
    ]
    return "".join(thoughts), _plain(content)


def _plain(content: Any) -> str:
    """The text of a string, or of the text parts of a list."""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for part in content if isinstance(content, list) else ():
        match part:
            case str(text) | {"text": str(text)}:
                texts.append(text)
    return "".join(texts)


def _reasoning(delta: dict[str, Any]) -> str:
    """Both names are in use, and sometimes both at once for the same text."""
    for key in ("reasoning_content", "reasoning"):
        text = delta.get(key)
        if text and isinstance(text, str):
            return text
    return ""


def _calls(delta: dict[str, Any], number: int, whole: bool) -> Said:
    """The fragments of calls in a delta, or the calls of a whole message."""
    calls = delta.get("tool_calls")
    if not calls:
        calls = {"index": 0, "function": delta["function_call"]}
    said: Said = []
    for position, call in enumerate(calls if isinstance(calls, list) else [calls]):
        if not isinstance(call, dict):
            continue
        index = call.get("index")
        if type(index) is not int:
            index = position if whole else None
        function = call.get("function")
        if not isinstance(function, dict):
            function = {}
        fragment = events.ToolCallDelta(
            index,
            _word(call.get("id")),
            _word(function.get("name")),
            _arguments(function.get("arguments")),
            number,
        )
        said.append(fragment)
    return said


def _word(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) else None


def _arguments(value: Any) -> str | None:
    """A piece of JSON text; some send the arguments parsed."""
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return value if isinstance(value, str) else None


def _usage(value: Any) -> events.Usage | None:
    """Counts, None where there are none: no prompt has no tokens."""
    if not isinstance(value, dict):
        return None
    prompt, completion = value.get("prompt_tokens_details"), value.get("completion_tokens_details")
    usage = events.Usage(
        _tokens(value, "prompt_tokens"),
        _tokens(value, "completion_tokens"),
        _tokens(prompt, "cached_tokens"),
        _tokens(completion, "reasoning_tokens"),
    )
    return usage if usage.total_tokens else None


def _tokens(counts: Any, key: str) -> int:
    value = counts.get(key) if isinstance(counts, dict) else None
    if not isinstance(value, int | float) or not 0 <= value <= COUNT_MAX:
        return 0
    return int(value)
