"""A conversation as the messages of a chat completion, in the order that chat servers demand.

The problem: items may stand in any order, a developer may speak in the middle, and a tool may
return images. Most chat servers take one system message, and only as the first; texts as the
results of calls, and only right behind the message that made them; and the thinking of a model
that calls tools on the message that it led to. So every item keeps its order but these:

- All that the system and the developer say is one leading message. It keeps its own order, and
  so the last word stays the last. In the place of a later one a chat template would fail.
- The results of a step stand behind its calls, whatever came between them.
- Images and files of results are one user message behind all results of their step.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from engine import slices, worker
from server.http.errors import ApiError

MEDIA_FOLLOW: Final = "The result follows in a user message."
"""The text of a result that has none beside its media: some servers refuse an empty one."""

_encode: Final = msgspec.json.encode


def of(messages: Iterable[worker.Message]) -> slices.Steps[msgspec.Raw]:
    """Return the messages of a chat, as the JSON array `messages`.

    An assistant's message that holds nothing but what the model thought is left out.

    Raises:
        ApiError: with the field at fault, for a part that Chat Completions has no form of.
    """
    chat = _Chat()
    for message in messages:
        chat.add(message)
        yield
    found: list[bytes] = []
    for entry in chat.entries():
        for told in entry.messages():
            found.append(told)
            yield
    return msgspec.Raw(b"[" + b",".join(found) + b"]")


class _Told:
    """A message that stands for itself."""

    def __init__(self, message: dict[str, Any]) -> None:
        self._encoded = _encode(message)

    def messages(self) -> Iterator[bytes]:
        """Yield the message as JSON."""
        yield self._encoded


class _Step:
    """One step of the model: what it said and called as one message, then the results."""

    def __init__(self, first: worker.Message) -> None:
        self.answers = [first]
        self._results: list[worker.Message] = []

    def result(self, message: worker.Message) -> None:
        """Take the result of one of the calls."""
        self._results.append(message)

    def messages(self) -> Iterator[bytes]:
        """Yield its messages as JSON, one by one: a step may have very many results."""
        thoughts = (answer.thought for answer in self.answers if answer.thought)
        whole = msgspec.structs.replace(
            self.answers[0],
            parts=tuple(part for answer in self.answers for part in answer.parts),
            calls=tuple(call for answer in self.answers for call in answer.calls),
            thought=worker.PARAGRAPH.join(thoughts),
        )
        yield _encode(_answer(whole))
        with_media = []
        for result in self._results:
            yield _encode(_result(result))
            if _media(result):
                with_media.append(result)
        if with_media:
            yield _encode({"role": "user", "content": _labelled(with_media)})


class _Chat:
    """Collects the messages of a chat, one by one."""

    def __init__(self) -> None:
        self._rules: list[str] = []
        self._entries: list[_Told | _Step] = []
        self._made: dict[str, _Step] = {}
        self._step: _Step | None = None

    def entries(self) -> list[_Told | _Step]:
        """Return all entries in order, the system's message first where there is one."""
        rules = [_Told({"role": "system", "content": worker.PARAGRAPH.join(self._rules)})]
        return [*(rules if self._rules else ()), *self._entries]

    def add(self, message: worker.Message) -> None:
        """Take the next message."""
        if message.role == "assistant":
            self._say(message)
            return
        self._step = None
        if message.role == "tool" and message.call_id in self._made:
            self._made[message.call_id].result(message)
        elif message.role in ("system", "developer") and message.name is None:
            self._rule(message)
        else:
            self._entries.append(_Told(_input(message)))

    def _say(self, message: worker.Message) -> None:
        if self._step is not None:
            self._step.answers.append(message)
        elif message.calls:
            self._step = _Step(message)
            self._entries.append(self._step)
        elif message.parts:
            self._entries.append(_Told(_answer(message)))
        for call in message.calls:
            assert self._step is not None
            self._made[call.call_id] = self._step

    def _rule(self, message: worker.Message) -> None:
        """Take what the system or the developer says; its media stay where they are."""
        self._rules += [text for text in map(_text, message.parts) if text]
        media = _media(message)
        if media:
            self._entries.append(_Told({"role": "user", "content": list(map(_part, media))}))


def _input(message: worker.Message) -> dict[str, Any]:
    """Return a user's message. What a tool says unasked is one too: the words of a tool are not
    to be the system's."""
    named = {} if message.name is None else {"name": message.name}
    return {"role": "user", **named, "content": _content(message.parts)}


def _answer(message: worker.Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant"}
    said["content"] = _content(message.parts) if message.parts or not message.calls else None
    if message.thought:
        said["reasoning_content"] = message.thought
    if message.calls:
        said["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.calls
        ]
    return said


def _result(message: worker.Message) -> dict[str, Any]:
    """Return the message of a result, its texts alone."""
    texts = tuple(part for part in message.parts if _text(part))
    if not texts and message.parts:
        texts = (worker.TextPart(MEDIA_FOLLOW),)
    return {"role": "tool", "tool_call_id": message.call_id, "content": _content(texts)}


def _labelled(results: list[worker.Message]) -> list[Any]:
    """Return the media of results as parts; of several, each behind the id of its call."""
    found: list[Any] = []
    for result in results:
        if len(results) > 1:
            found.append({"type": "text", "text": f"From the result of call {result.call_id}:"})
        found += map(_part, _media(result))
    return found


def _media(message: worker.Message) -> list[worker.Part]:
    """Return the parts of a message that are no texts."""
    texts = (worker.TextPart, worker.RefusalPart)
    return [part for part in message.parts if not isinstance(part, texts)]


def _text(part: worker.Part) -> str:
    """Return the text of a part; empty for media."""
    return part.text if isinstance(part, worker.TextPart | worker.RefusalPart) else ""


def _content(parts: tuple[worker.Part, ...]) -> str | list[Any]:
    """Return content as a string if it is at most one text, else as parts."""
    match parts:
        case ():
            return ""
        case (worker.TextPart(text) | worker.RefusalPart(text),):
            return text
    return [_part(part) for part in parts]


def _part(part: worker.Part) -> dict[str, Any] | msgspec.Raw:
    match part:
        case worker.TextPart(text) | worker.RefusalPart(text):
            return {"type": "text", "text": text}
        case worker.ImagePart(url, detail=detail):
            image = {"url": url} if detail is None else {"url": url, "detail": detail}
            return {"type": "image_url", "image_url": image}
        case worker.OtherPart(kind, param, raw):
            if raw is None:
                message = f"This model takes no parts of type {kind!r}."
                raise ApiError("unsupported_content", message, param)
            return raw
