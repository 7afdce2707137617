"""Compares a request with the request of a recording.

A log keeps what was asked as it came, masked, or as an outline where it was large. So a request is
brought into the form in which the recording has its own, and then they are the same or not. Masked
texts are the same where their lengths, their spaces and their punctuation are.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from engine import slices
from engine.log.content import keptrequest, mask
from machines import events

SHOWN: Final = 160
"""Characters that are shown of a text."""

ENDPOINTS: Final = {
    "/v1/chat/completions": "chat.completions",
    "/v1/responses": events.RESPONSES,
    "/v1/completions": events.COMPLETIONS,
}
"""The endpoint of a path, as the first record of a stream names it."""


class Match(enum.Enum):
    """The parts of a request that have to be the same."""

    BODY = "body"
    """The endpoint and the whole body."""
    MESSAGE = "message"
    """The endpoint, the model and the last message."""
    MODEL = "model"
    """The endpoint and the model."""
    SEQUENCE = "sequence"
    """The endpoint alone: recordings answer in their order."""


class Asked:
    """A request, in each form that a log may have it.

    Args:
        endpoint: one of `ENDPOINTS`.
        members: of its body, as they came.
    """

    def __init__(self, endpoint: str, members: Mapping[str, msgspec.Raw]) -> None:
        self.endpoint = endpoint
        self._members = members
        self._forms: dict[str, Any] = {}

    def form(self, content: mask.Content) -> Any:
        """Return the request as a log of this content has it."""
        if content not in self._forms:
            kept = slices.at_once(keptrequest.keep(self._members, content, b""))
            self._forms[content] = msgspec.json.decode(kept.request)
        return self._forms[content]


def model_of(request: Any) -> str:
    """Return the model that a request names; empty where it names none."""
    model = request.get("model") if isinstance(request, dict) else None
    return model if isinstance(model, str) else ""


def last_message(request: Any) -> Any:
    """Return the last message of a chat, or the last item of an input, or of several prompts; or
    what stands for all of them in an outline."""
    if not isinstance(request, dict):
        return None
    said = request.get("messages", request.get("input", request.get("prompt")))
    return said[-1] if isinstance(said, list) and said else said


def is_match(asked: Asked, opened: events.Opened, recorded: Any, match: Match) -> bool:
    """Return whether a recording answers a request.

    Args:
        recorded: its own request, as its log has it.
    """
    if opened.endpoint != asked.endpoint:
        return False
    form = asked.form(opened.content)
    same_model = model_of(form) == model_of(recorded)
    match match:
        case Match.BODY:
            return bool(form == recorded)
        case Match.MESSAGE:
            return same_model and bool(last_message(form) == last_message(recorded))
        case Match.MODEL:
            return same_model
        case Match.SEQUENCE:
            return True


def text_of(message: Any) -> str:
    """Return a message as one line for people: the role, and what was said."""
    if not isinstance(message, dict):
        return shown(message)
    content = message.get("content", message.get("output"))
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        content = "".join(str(part.get("text", f"[{part.get('type')}]")) for part in content)
    if content is None:
        content = {name: message[name] for name in message if name != "role"}
    return f"{message.get('role', message.get('type', '?'))}: {shown(content)}"


def shown(value: Any) -> str:
    """Return the beginning of a value, as Python writes it: nothing in it steers a terminal."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return repr(text) if len(text) <= SHOWN else f"{text[:SHOWN]!r}…"
