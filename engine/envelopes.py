"""The error objects of providers, whatever they are wrapped in.

Some forty providers have been seen to say `{"error": {…}}`, `{"error": "…"}`, `{"detail": …}`,
`{"message": …}`, a list of one of these, a text, or nothing that can be read.
"""

import itertools
from typing import Any, Final

import msgspec

from engine import failures, redaction
from machines import events

OWN: Final = frozenset(
    {"code", "detail", "error", "message", "msg", "object", "param", "status", "status_code"}
)
"""The members of an error that are told otherwise, or are the envelope's."""

WRAPPER: Final = "error"
"""The `type` of an error that is told apart from other objects by it, and from no other error."""

MEMBERS_MAX: Final = 64
"""Most further values of an error that are passed on."""

LOOKED_AT: Final = 1 << 10
"""Most members of an error that are looked at, whatever they are."""

MEMBERS_BYTES: Final = 1 << 13
"""Most bytes of them; the raw error of a provider behind a router is among them."""

DEPTH_MAX: Final = 8
"""Most levels of them."""


def members(value: Any) -> dict[str, Any]:
    """Return the members of an error, however deep it is wrapped.

    Args:
        value: a decoded body or event, or a text.
    """
    match value:
        case [first, *_]:
            return members(first)
        case {"error": dict() | str() | list() as inner}:
            # What stands beside a text is about it; beside an object it is about the response.
            beside = {"code": value.get("code")} if isinstance(inner, str) else {}
            return {**beside, **members(inner)}
        case dict():
            return value
        case str():
            return {"message": value}
    return {}


def prose(body: str) -> str:
    """Return a body that is no JSON as far as it is meant for people to read; empty of a page for
    a browser, and of JSON that was cut."""
    text = body.strip()
    return "" if text.startswith(("<", "{", "[")) else text


def message(error: dict[str, Any], known: redaction.Redaction) -> str:
    """Return an error's text for clients; empty where it has none.

    Args:
        error: its members.
        known: the server's own secrets, which a provider may repeat.
    """
    match error:
        case (
            {"message": str(text)}
            | {"detail": str(text)}
            | {"detail": [{"msg": str(text)}, *_]}
            | {"msg": str(text)}
        ):
            return failures.safe(text, known)
    return ""


def further(error: dict[str, Any], known: redaction.Redaction) -> msgspec.Raw:
    """Return an error's further members for clients, each text as a message would be.

    Those that are too many, too large or too deep are left out, as are names that are no names.

    Args:
        error, known: as `message` has them.
    """
    cleaner = _Cleaner(known)
    found: dict[str, Any] = {}
    size = 0
    for name, value in itertools.islice(error.items(), LOOKED_AT):
        if name in OWN or value is None or not cleaner.is_name(name):
            continue
        cleaned = cleaner.clean(value) if name != "type" else failures.word(value, known)
        if cleaner.left < 0:
            break
        if cleaned in (None, WRAPPER):
            continue
        size += len(msgspec.json.encode({name: cleaned}))
        if size > MEMBERS_BYTES:
            break
        found[name] = cleaned
    return msgspec.Raw(msgspec.json.encode(found)) if found else events.NO_MEMBERS


class _Cleaner:
    """Makes values safe for clients.

    Attributes:
        left: how many more there may be; negative once there were too many.
    """

    def __init__(self, known: redaction.Redaction) -> None:
        self.left = MEMBERS_MAX
        self._known = known

    def is_name(self, name: str) -> bool:
        return failures.word(name, self._known) == name

    def clean(self, value: Any, depth: int = DEPTH_MAX) -> Any:
        self.left -= 1
        if self.left < 0 or depth == 0:
            return None
        if isinstance(value, str):
            return failures.safe(value, self._known)
        if isinstance(value, list):
            return [self.clean(each, depth - 1) for each in value[:MEMBERS_MAX]]
        if isinstance(value, dict):
            some = itertools.islice(value.items(), MEMBERS_MAX)
            return {name: self.clean(each, depth - 1) for name, each in some if self.is_name(name)}
        return value
