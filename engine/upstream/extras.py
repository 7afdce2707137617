"""The members of an answer that mean nothing here, and go to the client as they came.

The problem: providers say more than the API has (where a text is from, what a call must be sent
back with, how long a step took), and the API says more than the server acts on. A client has asked
its provider for it, so it passes. What must not pass is what would make an answer look like
another, or like none: a member of the server's own is never overridden, one that the API's types
know goes on only if it is of that type, and a secret of the server's is taken out.

The members of a chunk stand in every chunk until they change, so most streams tell them once. A
member that is null counts as absent. What does not pass is named in a notice, once.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from engine import redaction, slices
from engine.upstream import apitypes, chunkfields
from machines import events

EVENT_BYTES: Final = 1 << 22
"""Most bytes of further members of one object in one event: an image that a model made fits."""

ANSWER_BYTES: Final = 1 << 26
"""Most bytes of them in one answer, which a folded body holds until its end."""

USAGE_BYTES: Final = 1 << 16
"""Most bytes of those of the counts, which are held until these are final."""

SECRET_BYTES: Final = 1 << 14
"""Most bytes of those of one object that a secret is taken out of, value by value; larger ones
with a secret in them are dropped."""

NAMES_MAX: Final = 64
"""Most of them in one object; the longest list in a provider's documentation has 14."""

ANSWER_NAMES: Final = 1 << 12
"""Most names of them in one answer, over all objects: each is remembered."""

LOOKED_AT: Final = 1 << 10
"""Most members of one object that are looked at, whatever they are."""

NAME_MAX: Final = 128
"""Most characters of a name."""

VALUES_MAX: Final = 1 << 16
"""Most values in the members of one object, whatever is in them, and of one choice in one event:
lists and objects take a thousand times as long as a text of their size."""

OWN_CHUNK: Final = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "error", "detail", "message"}
)
"""The members of a chunk that the server reads, or makes itself."""

PADDING: Final = frozenset({"obfuscation"})
"""Members of a chunk that only hide its length, which is another here."""

OWN_CHOICE: Final = frozenset({"index", "delta", "message", "finish_reason", "text", "error"})
OWN_DELTA: Final = frozenset(
    {
        "role",
        "content",
        "refusal",
        "tool_calls",
        "function_call",
        "reasoning_content",
        "reasoning",
    }
)
OWN_CALL: Final = frozenset({"index", "id", "type", "function", "custom"})
OWN_FUNCTION: Final = frozenset({"name", "arguments", "input"})
OWN_USAGE: Final = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
OWN_DETAILS: Final = {
    "prompt_tokens_details": frozenset({"cached_tokens"}),
    "completion_tokens_details": frozenset({"reasoning_tokens"}),
}
"""The same of the objects in it; `text` is how the older endpoint has a message."""

_OWN: Final[dict[events.MembersPlace, frozenset[str]]] = {
    "chunk": OWN_CHUNK | PADDING,
    "choice": OWN_CHOICE,
    "delta": OWN_DELTA,
    "usage": OWN_USAGE,
}


_NOTHING: Final = bytes(events.NO_MEMBERS)

_encode: Final = msgspec.json.encode


class Extras:
    """Finds the further members of one answer.

    Args:
        known: the server's own secrets, which an upstream may repeat.
    """

    def __init__(self, known: redaction.Redaction) -> None:
        self._known = known
        self._left = ANSWER_BYTES
        self._seen = _NOTHING
        self._standing = events.NO_MEMBERS
        self._usage: dict[str, Any] = {}
        self._names: set[tuple[str, str]] = set()
        self._told: dict[tuple[int, str], int] = {}
        self._dropped: set[str] = set()
        self._unnamed: list[str] = []
        self._values_left: int | None = None

    def of_chunk(
        self, chunk: Mapping[str, Any], choice: int, data: bytes
    ) -> list[events.StreamInput]:
        """Return the events of a chunk's members, if they are others than those before.

        Args:
            data: the chunk as it came; its choices and counts are looked at next.
        """
        self._values_left = VALUES_MAX if _may_have_many(data) else None
        if chunk.keys() <= OWN_CHUNK and self._seen == _NOTHING:
            return []
        is_chunk = isinstance(chunk.get("choices"), list) or isinstance(chunk.get("usage"), dict)
        if not is_chunk:
            return []  # a ping, or the like
        if self._values_left is None:
            further = (each for each in _active(chunk) if each[0] not in _OWN["chunk"])
            seen = _encode(dict(further))
            if seen == self._seen:
                return []  # nearly every chunk that has any
            self._seen = seen
        else:
            self._seen = b""
        encoded = self._encoded("chunk", self._found("chunk", chunk))
        if encoded == self._standing:
            return self._notices(choice)
        self._standing = encoded
        return self._events("chunk", encoded, choice)

    def of_choice(
        self,
        choice: Mapping[str, Any],
        message: Mapping[str, Any],
        number: int,
        form: chunkfields.Form,
        is_followed: bool,
    ) -> list[events.StreamInput]:
        """Return the events of the members of a choice and its message.

        Args:
            is_followed: whether the chunk has output of the choice. By themselves, members that
                are all empty are nothing to begin an answer with.
        """
        if self._values_left is not None:
            self._values_left = VALUES_MAX
        of_delta = self._found("delta", message)
        of_choice = self._found("choice", choice)
        if form == "repeated":
            of_delta = self._news(number, of_delta)
            if (number, "logprobs") in self._told:
                of_choice.pop("logprobs", None)
        is_output = is_followed or any(of_delta.values()) or any(of_choice.values())
        if not is_output:
            of_delta, of_choice = {}, {}
        delta, beside = self._encoded("delta", of_delta), self._encoded("choice", of_choice)
        if delta != events.NO_MEMBERS:
            self._tell(number, of_delta)
        if "logprobs" in of_choice:
            self._told[number, "logprobs"] = 0
        goes_with = is_followed or beside != events.NO_MEMBERS
        return [
            *self._events("delta", delta, number, goes_with),
            *self._events("choice", beside, number, is_followed),
        ]

    def of_call(self, call: Mapping[str, Any]) -> msgspec.Raw:
        """Return the further members of a call."""
        found: dict[str, Any] = {}
        if not call.keys() <= OWN_CALL:
            found = self._passing("call", call, OWN_CALL)
        for name in ("function", "custom"):
            inner = call.get(name)
            if isinstance(inner, dict) and not inner.keys() <= OWN_FUNCTION:
                more = self._passing(f"call.{name}", inner, OWN_FUNCTION)
                found |= {name: more} if more else {}
        encoded = self._encoded("call", found)
        self._left -= len(bytes(encoded)) if found else 0
        return encoded

    def count(self, usage: Any) -> None:
        """Keep the further members of counts: they may be repeated as they grow."""
        if not isinstance(usage, dict):
            return
        found = self._found("usage", usage)
        if not found:
            return
        for name in OWN_DETAILS:
            details = found.pop(name, None)
            if details and not isinstance(details, dict):
                self._drop("usage", name)
            elif details and (more := self._of_details(name, details)):
                found[name] = more
        if not found:
            return  # nearly always where counts come with each chunk
        merged = _merged(self._usage, found)
        if len(_encode(merged)) <= USAGE_BYTES:
            self._usage = merged
            return
        for name in found:
            self._drop("usage", name)

    def _of_details(self, name: str, details: dict[str, Any]) -> dict[str, Any]:
        more = self._passing(f"usage.{name}", details, OWN_DETAILS[name])
        for each in list(more):
            if each in apitypes.COUNTS and type(more[each]) is not int:
                del more[each]
                self._drop(f"usage.{name}", each)
        return more

    def of_usage(self, choice: int) -> list[events.StreamInput]:
        """Return the events of the counts' members, once these are final."""
        found, self._usage = self._usage, {}
        return self._events("usage", self._encoded("usage", found), choice)

    def _news(self, number: int, members: dict[str, Any]) -> dict[str, Any]:
        """Return the members of a repeated message that were not told, and the further entries of
        lists that were."""
        found = {}
        for name, value in members.items():
            before = self._told.get((number, name))
            if before is None:
                found[name] = value
            elif isinstance(value, list) and len(value) > before:
                found[name] = value[before:]
        return found

    def _tell(self, number: int, members: dict[str, Any]) -> None:
        for name, value in members.items():
            entries = len(value) if isinstance(value, list) else 0
            self._told[number, name] = self._told.get((number, name), 0) + entries

    def _found(self, place: events.MembersPlace, members: Mapping[str, Any]) -> dict[str, Any]:
        """Return the members of an object that pass."""
        own, types = _OWN[place], apitypes.TYPED[place]
        if members.keys() <= own:
            return {}
        found = self._passing(place, members, own)
        for name in types:
            if name in found and not apitypes.fits(found[name], types[name]):
                del found[name]
                self._drop(place, name)
        return found

    def _passing(
        self, place: str, members: Mapping[str, Any], own: frozenset[str]
    ) -> dict[str, Any]:
        """Return the members that are none of the server's, as far as there is room for them."""
        found: dict[str, Any] = {}
        for name, value in _active(members):
            if name in own:
                continue
            if len(found) == NAMES_MAX:
                self._drop(place, name)
                break
            if len(name) <= NAME_MAX and self._has_room(value) and self._is_named(place, name):
                found[name] = value
            else:
                self._drop(place, name)
        return found

    def _has_room(self, value: Any) -> bool:
        """Return whether there are no more values in a value than may come; looks at no more."""
        if self._values_left is None:
            return True
        fits, self._values_left = _count_values(value, self._values_left)
        return fits

    def _is_named(self, place: str, name: str) -> bool:
        """Return whether a name is among those of the answer, or is now."""
        if (place, name) not in self._names:
            if len(self._names) >= ANSWER_NAMES:
                return False
            self._names.add((place, name))
        return True

    def _events(
        self,
        place: events.MembersPlace,
        encoded: msgspec.Raw,
        choice: int,
        is_followed: bool = False,
    ) -> list[events.StreamInput]:
        made = self._notices(choice)
        # Of a chunk none means that those before stand no longer.
        if place == "chunk" or encoded != events.NO_MEMBERS:
            self._left -= len(bytes(encoded))
            made.append(events.ExtraMembers(place, encoded, choice, is_followed))
        return made

    def _notices(self, choice: int) -> list[events.StreamInput]:
        """Return the event that names what was dropped since the last."""
        names, self._unnamed = tuple(self._unnamed), []
        return [events.MembersDropped(names, choice)] if names else []

    def _encoded(self, place: str, found: dict[str, Any]) -> msgspec.Raw:
        """Encode members without secrets; none if there are more bytes than there is room for."""
        if not found:
            return events.NO_MEMBERS
        data = _encode(found)
        room = min(EVENT_BYTES, self._left)
        if self._known.may_be_in(data):
            room = min(SECRET_BYTES, room)
            if len(data) <= room:
                data = _encode(slices.at_once(self._known.hide_in(found)))
        if len(data) > room:
            for name in found:
                self._drop(place, name)
            return events.NO_MEMBERS
        return msgspec.Raw(data)

    def _drop(self, place: str, name: str) -> None:
        if len(self._dropped) == NAMES_MAX:
            return
        told = f"{place}.{self._known.start_of(name, NAME_MAX)}"
        if told not in self._dropped:
            self._dropped.add(told)
            self._unnamed.append(told)


def _active(members: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the members that are not null, of the first that there are."""
    some = itertools.islice(members.items(), LOOKED_AT)
    return (each for each in some if each[1] is not None)


def _merged(before: dict[str, Any], members: dict[str, Any]) -> dict[str, Any]:
    """Return the members of two objects; the second's stand, and their objects are merged."""
    found = before | members
    for name in before.keys() & members.keys():
        if isinstance(before[name], dict) and isinstance(members[name], dict):
            found[name] = before[name] | members[name]
    return found


def _may_have_many(data: bytes) -> bool:
    """Return whether JSON may have more than `VALUES_MAX` values: each but the outermost stands
    behind a comma or is the first of its list or object."""
    return len(data) > VALUES_MAX and sum(map(data.count, (b",", b"[", b"{"))) >= VALUES_MAX


def _count_values(value: Any, left: int) -> tuple[bool, int]:
    """Return whether a value has no more values than may come, and how many may come behind those
    that were looked at."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict | list):
            if len(each) + len(waiting) >= left:
                return False, left
            waiting.extend(each.values() if isinstance(each, dict) else each)
        left -= 1
    return left >= 0, max(left, 0)
