"""The texts that items are made of, and the events that tell of them.

An event is the object of the API without its `sequence_number`, which is its renderer's.
"""

from typing import Any, Final

import msgspec

_encode: Final = msgspec.json.encode

Event = dict[str, Any]
"""An event of the API as an object, `type` first."""


class Names(msgspec.Struct, frozen=True):
    """The API's names for a kind of part.

    Attributes:
        part: how the names of its first and last events begin; `text`: of those between.
        member: holds its text.
        more: further members of its object.
        logprobs: further members of its events.
        index: counts such parts in their item.
    """

    part: str
    text: str
    member: str = "text"
    more: dict[str, Any] = {}
    logprobs: dict[str, Any] = {}
    index: str = "content_index"


NAMES: Final = {
    "output_text": Names(
        "response.content_part",
        "response.output_text",
        more={"annotations": [], "logprobs": []},
        logprobs={"logprobs": []},
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
    """

    def __init__(self, kind: str, place: dict[str, Any]) -> None:
        self.kind = kind
        self.place = place
        self.texts: list[str] = []
        self._names = NAMES[kind]
        self._ended: msgspec.Raw | None = None

    def added(self) -> Event:
        """Return the event that begins the part."""
        return {"type": f"{self._names.part}.added", **self.place, "part": self._object("")}

    def delta(self, text: str) -> Event:
        """Add to the part and return the event of it."""
        self.texts.append(text)
        return {
            "type": f"{self._names.text}.delta",
            **self.place,
            "delta": text,
            **self._names.logprobs,
        }

    def done(self) -> list[Event]:
        """Return the events that end the part. Its text is in four of them, and encoded once for
        all."""
        self._ended = text = msgspec.Raw(_encode("".join(self.texts)))
        self.texts.clear()
        return [
            {
                "type": f"{self._names.text}.done",
                **self.place,
                self._names.member: text,
                **self._names.logprobs,
            },
            {"type": f"{self._names.part}.done", **self.place, "part": self._object(text)},
        ]

    def object(self) -> dict[str, Any]:
        """Return the part as it is now."""
        return self._object("".join(self.texts) if self._ended is None else self._ended)

    def _object(self, text: str | msgspec.Raw) -> dict[str, Any]:
        return {"type": self.kind, self._names.member: text, **self._names.more}
