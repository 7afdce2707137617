"""What a scripted model provider answers, and the Responses API events it takes to say so.

What shall happen in the middle of an answer stands in the middle of its pieces: a `Gate` holds
the answer until the test opens it, a `Cut` resets the connection.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, Literal

from tests.support.providers.scripted import Gate

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Cut:
    """The connection is reset here."""


Piece = str | Gate | Cut
"""One delta of a text, or what happens between two of them."""


@dataclasses.dataclass(frozen=True)
class Message:
    """An assistant's message. Not `streamed`: its text comes with its end only, no deltas.

    Attributes:
        whole: the text that comes with its end, where that is not what the pieces make.
    """

    pieces: tuple[Piece, ...]
    phase: Literal["commentary", "final_answer"] | None = None
    streamed: bool = True
    whole: str | None = None


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A message whose only content is a refusal."""

    pieces: tuple[Piece, ...]


@dataclasses.dataclass(frozen=True)
class Reasoning:
    """A reasoning item: parts of a summary, then raw text, each as deltas; its sealed form."""

    summary: tuple[tuple[Piece, ...], ...] = ()
    text: tuple[Piece, ...] = ()
    encrypted_content: str | None = None


@dataclasses.dataclass(frozen=True)
class FunctionCall:
    """A call of a function, its arguments as deltas."""

    call_id: str
    name: str
    arguments: tuple[Piece, ...]


@dataclasses.dataclass(frozen=True)
class Event:
    """An event as it stands, whatever it says."""

    body: Json


Item = Message | Refusal | Reasoning | FunctionCall


@dataclasses.dataclass(frozen=True)
class Usage:
    """Token counts of an answer."""

    input_tokens: int = 10
    output_tokens: int = 5
    cached_tokens: int = 3
    reasoning_tokens: int = 1

    def body(self) -> Json:
        """The `usage` object of a response."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_tokens},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.input_tokens + self.output_tokens,
        }


@dataclasses.dataclass(frozen=True)
class Completed:
    """The answer is whole."""


@dataclasses.dataclass(frozen=True)
class Incomplete:
    """The answer was cut by the provider: `max_output_tokens` or `content_filter`."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Failed:
    """The provider gave up, such as with `context_length_exceeded` or `server_error`."""

    code: str
    message: str = "provider failed"


@dataclasses.dataclass(frozen=True)
class Closed:
    """The stream ends cleanly without a last event."""


@dataclasses.dataclass(frozen=True)
class Stream:
    """A streamed answer.

    Attributes:
        items: output items in order; a `Gate` or `Cut` may stand between them.
        usage: counts of the last event, None for none.
        delay: seconds before each event.
        then: holds the connection after the last event.
    """

    items: tuple[Item | Event | Gate | Cut, ...] = ()
    end: Completed | Incomplete | Failed | Closed = Completed()
    usage: Usage | None = Usage()
    delay: float = 0.0
    then: Gate | None = None


@dataclasses.dataclass(frozen=True)
class HttpError:
    """An HTTP status with a body, JSON or the text as it stands, and no stream."""

    status: int
    body: Json | str = dataclasses.field(
        default_factory=lambda: {"error": {"message": "scripted"}}
    )
    headers: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Held:
    """Not even a head until the gate opens, then the answer."""

    gate: Gate
    answer: Stream | HttpError | Cut = Cut()


Answer = Stream | HttpError | Held | Cut


Step = Json | Gate | Cut


def events(stream: Stream, model: str, response_id: str) -> Iterator[Step]:
    """The events of a streamed answer in order, with what happens between them."""
    sequence = itertools.count()
    for step in _stream(stream, model, response_id):
        yield {**step, "sequence_number": next(sequence)} if isinstance(step, dict) else step


def _stream(stream: Stream, model: str, response_id: str) -> Iterator[Step]:
    response: Json = {"id": response_id, "object": "response", "model": model, "output": []}
    yield {"type": "response.created", "response": {**response, "status": "in_progress"}}
    index = 0
    for item in stream.items:
        if isinstance(item, Gate | Cut):
            yield item
            continue
        if isinstance(item, Event):
            yield item.body
            continue
        yield from _item(item, index, response)
        index += 1
    response["usage"] = stream.usage.body() if stream.usage else None
    match stream.end:
        case Completed():
            yield {"type": "response.completed", "response": {**response, "status": "completed"}}
        case Incomplete(reason):
            response |= {"status": "incomplete", "incomplete_details": {"reason": reason}}
            yield {"type": "response.incomplete", "response": response}
        case Failed(code, message):
            response |= {"status": "failed", "error": {"code": code, "message": message}}
            yield {"type": "response.failed", "response": response}
        case Closed():
            pass
    if stream.then is not None:
        yield stream.then


def _item(item: Item, index: int, response: Json) -> Iterator[Step]:
    match item:
        case Message():
            bare, whole, deltas = _message(item, index, response)
        case Refusal():
            bare, whole, deltas = _refusal(item, index, response)
        case Reasoning():
            bare, whole, deltas = _reasoning(item, index, response)
        case FunctionCall():
            bare, whole, deltas = _function_call(item, index, response)
    place = {"output_index": index}
    yield {"type": "response.output_item.added", **place, "item": bare}
    yield from deltas
    yield {"type": "response.output_item.done", **place, "item": whole}
    response["output"].append(whole)


Rendered = tuple[Json, Json, Iterator[Step]]
"""An item as it is added, as it is done, and the steps between."""


def _message(message: Message, index: int, response: Json) -> Rendered:
    place = _place("msg", index, response) | {"content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    bare: Json = {"id": place["item_id"], "type": "message", "role": "assistant", "content": []}
    if message.phase:
        bare["phase"] = message.phase
    text = joined(message.pieces) if message.whole is None else message.whole
    whole = {**bare, "content": [{**part, "text": text}]}

    def deltas() -> Iterator[Step]:
        if message.streamed:
            yield {"type": "response.content_part.added", **place, "part": part}
        for piece in message.pieces:
            if not isinstance(piece, str):
                yield piece
            elif message.streamed:
                yield {"type": "response.output_text.delta", **place, "delta": piece}

    return bare, whole, deltas()


def _refusal(refusal: Refusal, index: int, response: Json) -> Rendered:
    place = _place("msg", index, response) | {"content_index": 0}
    part = {"type": "refusal", "refusal": ""}
    bare: Json = {"id": place["item_id"], "type": "message", "role": "assistant", "content": []}
    whole = {**bare, "content": [{**part, "refusal": joined(refusal.pieces)}]}

    def deltas() -> Iterator[Step]:
        yield {"type": "response.content_part.added", **place, "part": part}
        yield from _deltas("response.refusal.delta", place, refusal.pieces)

    return bare, whole, deltas()


def _reasoning(reasoning: Reasoning, index: int, response: Json) -> Rendered:
    place = _place("rs", index, response)
    bare: Json = {"id": place["item_id"], "type": "reasoning", "summary": []}
    summary = [{"type": "summary_text", "text": joined(part)} for part in reasoning.summary]
    whole = {**bare, "summary": summary}
    if reasoning.text:
        whole["content"] = [{"type": "reasoning_text", "text": joined(reasoning.text)}]
    if reasoning.encrypted_content is not None:
        whole["encrypted_content"] = reasoning.encrypted_content

    def deltas() -> Iterator[Step]:
        part = {"type": "summary_text", "text": ""}
        for number, pieces in enumerate(reasoning.summary):
            spot = place | {"summary_index": number}
            yield {"type": "response.reasoning_summary_part.added", **spot, "part": part}
            yield from _deltas("response.reasoning_summary_text.delta", spot, pieces)
        spot = place | {"content_index": 0}
        yield from _deltas("response.reasoning_text.delta", spot, reasoning.text)

    return bare, whole, deltas()


def _function_call(call: FunctionCall, index: int, response: Json) -> Rendered:
    place = _place("fc", index, response)
    bare = {
        "id": place["item_id"],
        "type": "function_call",
        "call_id": call.call_id,
        "name": call.name,
        "arguments": "",
    }
    whole = {**bare, "arguments": joined(call.arguments)}
    return bare, whole, _deltas("response.function_call_arguments.delta", place, call.arguments)


def _place(prefix: str, index: int, response: Json) -> Json:
    return {"item_id": f"{prefix}_{response['id']}_{index}", "output_index": index}


def _deltas(kind: str, place: Json, pieces: tuple[Piece, ...]) -> Iterator[Step]:
    for piece in pieces:
        yield {"type": kind, **place, "delta": piece} if isinstance(piece, str) else piece


def joined(pieces: tuple[Piece, ...]) -> str:
    """The text of the pieces, without what happens between them."""
    return "".join(piece for piece in pieces if isinstance(piece, str))
