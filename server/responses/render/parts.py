"""The texts that items are made of, and the events that tell of them.

An event is the object of the API without its `sequence_number`, which is its renderer's.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from server.responses.render.textmembers import Token, UrlCitation

_encode: Final = msgspec.json.encode

Event = dict[str, Any]
"""An event of the API as an object, `type` first."""


class Names(msgspec.Struct, frozen=True):
    """The API's names for a kind of part.

    Attributes:
        part: how the names of its first and last events begin; `text`: of those between.
        member: holds its text.
        more: members that its object and its events have beside the text, empty each.
        index: counts such parts in their item.
    """

    part: str
    text: str
    member: str = "text"
    more: tuple[str, ...] = ()
    index: str = "content_index"


NAMES: Final = {
    "output_text": Names(
        "response.content_part",
        "response.output_text",
        more=("annotations", "logprobs"),
    ),
    "refusal": Names("response.content_part", "response.refusal", member="refusal"),
    "summary_text": Names(
        "response.reasoning_summary_part",
        "response.reasoning_summary_text",
        index="summary_index",
    ),
    "reasoning_text": Names("response.content_part", "response.reasoning_text"),
}
"""The names of each kind of part. Source: the API's streaming events, as its SDKs type them."""


class Part:
    """One text of an item.

    Attributes:
        kind: such as `output_text`; it is part of the names of the events.
        logprobs: the tokens of a text, as far as they are known.
    """

    def __init__(self, kind: str, place: dict[str, Any]) -> None:
        self.kind = kind
        self.place = place
        self.texts: list[str] = []
        self.logprobs: list[Token] = []
        self._citations: list[UrlCitation] = []
        self._names = NAMES[kind]
        self._ended: msgspec.Raw | None = None
        self._tokens: msgspec.Raw | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing is added to it any more."""
        return self._ended is not None

    def added(self) -> Event:
        """Return the event that begins the part."""
        return {"type": f"{self._names.part}.added", **self.place, "part": self._object("")}

    def delta(self, text: str, logprobs: Sequence[Token] = ()) -> Event:
        """Add to the part and return the event of it."""
        self.texts.append(text)
        self.logprobs += logprobs
        return {
            "type": f"{self._names.text}.delta",
            **self.place,
            "delta": text,
            **self._told([*logprobs]),
        }

    def cite(self, citation: UrlCitation) -> Event:
        """Add an annotation and return the event of it."""
        self._citations.append(citation)
        return {
            "type": "response.output_text.annotation.added",
            **self.place,
            "annotation_index": len(self._citations) - 1,
            "annotation": citation,
        }

    def done(self) -> list[Event]:
        """Return the events that end the part. Its text and its tokens are in several of them, and
        encoded once for all."""
        self._ended = text = msgspec.Raw(_encode("".join(self.texts)))
        self.texts.clear()
        self._tokens = msgspec.Raw(_encode(self.logprobs))
        return [
            {
                "type": f"{self._names.text}.done",
                **self.place,
                self._names.member: text,
                **self._told(self._tokens),
            },
            {"type": f"{self._names.part}.done", **self.place, "part": self._object(text)},
        ]

    def object(self) -> dict[str, Any]:
        """Return the part as it is now."""
        return self._object("".join(self.texts) if self._ended is None else self._ended)

    def _object(self, text: str | msgspec.Raw) -> dict[str, Any]:
        # Copies: an event is encoded when more may have been added.
        logprobs = [*self.logprobs] if self._tokens is None else self._tokens
        more = {"annotations": [*self._citations], "logprobs": logprobs}
        members = {name: more[name] for name in self._names.more}
        return {"type": self.kind, self._names.member: text, **members}

    def _told(self, logprobs: list[Token] | msgspec.Raw) -> dict[str, Any]:
        """Return the members that an event of the text has beside it."""
        return {"logprobs": logprobs} if "logprobs" in self._names.more else {}
