"""The sources that a provider names in its messages, as members of the answer's text.

Codex tells of them in the provider's own form of an item alone, which comes behind the message.
"""

from typing import Any, Final

import msgspec

from engine import worker
from engine.codex.turns import messages

MEMBERS: Final = ("start_index", "end_index", "title", "url")
"""The members of a citation. Source: the API's `url_citation`."""


class _Citation(msgspec.Struct):
    type: str
    start_index: int = 0
    end_index: int = 0
    title: str = ""
    url: str = ""


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    annotations: list[msgspec.Raw] = []


class _Message(msgspec.Struct):
    type: str
    role: str = ""
    phase: str | None = None
    content: list[_Part] = []


class _Kind(msgspec.Struct):
    type: str


_kind: Final = msgspec.json.Decoder(_Kind)
_message: Final = msgspec.json.Decoder(_Message)
_citation: Final = msgspec.json.Decoder(_Citation)


class Citations:
    """The sources of one turn's messages.

    Args:
        separate: whether the client is told of each message by itself; else their texts are one.
    """

    def __init__(self, separate: bool) -> None:
        self._separate = separate
        self._before = 0
        self._count = 0

    def of(self, raw: msgspec.Raw) -> msgspec.Raw | None:
        """Return the members of the text that an item of the provider's, in their order, is of;
        None where it names no source."""
        try:
            if _kind.decode(raw).type != "message":
                return None
            message = _message.decode(raw)
        except msgspec.DecodeError:
            return None
        if message.role != "assistant":
            return None
        if message.phase == messages.COMMENTARY and not self._separate:
            return None  # its text is none of the answer's
        found = [self._moved(citation) for citation in _cited(message)]
        if not self._separate:
            text = sum(len(part.text) for part in message.content)
            self._before += text + len(worker.PARAGRAPH) if text else 0
        return msgspec.Raw(msgspec.json.encode({"annotations": found})) if found else None

    def _moved(self, citation: _Citation) -> dict[str, Any]:
        """Return a citation as Chat Completions has it, with its place in the whole text.

        Its index is for clients that join a stream's lists by it: OpenAI's SDK fails without one.
        """
        index, self._count = self._count, self._count + 1
        citation.start_index += self._before
        citation.end_index += self._before
        members = {name: getattr(citation, name) for name in MEMBERS}
        return {"type": "url_citation", "index": index, "url_citation": members}


def _cited(message: _Message) -> list[_Citation]:
    found = []
    for part in message.content:
        for raw in part.annotations:
            try:
                citation = _citation.decode(raw)
            except msgspec.DecodeError:
                continue
            if citation.type == "url_citation":
                found.append(citation)
    return found
