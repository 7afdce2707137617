"""Joins the further members of an answer's chunks into those of one body.

Theory of operation. OpenAI's SDK joins deltas so (`openai.lib.streaming._deltas`), and its clients
know it: texts are joined, objects are merged member by member, lists are extended, and an entry
with an `index` is merged into the entry that has the same. It differs where the SDK's rule makes
nonsense of what providers send: the last of several numbers stands, for they are no parts of one
another, and the last of several labels, which providers repeat beside each part of a text. And
only deltas are parts: elsewhere the last text stands, and of a chunk and of the counts the last
list, which says the whole again.

Values are not decoded further than it takes to join them, and a text not at all: so a body costs
no more than its bytes.
"""

import enum
from typing import Any, Final

import msgspec

from machines import parse

LABELS: Final = frozenset(
    {"format", "id", "index", "media_type", "mime_type", "name", "object", "role", "type"}
)
"""Members whose texts are no parts of a text: the last one stands."""


INDEX: Final = b'"index":'
"""Is in every list that has an entry with an index, as msgspec encodes it."""

NAMES: Final = 1 << 16
"""Most names in the objects that are joined to one: all are put together in one go, at the end."""

OBJECT_NAMES: Final = 16
"""The names that a joined object costs as much as, beside its own."""


class Joins(enum.Enum):
    """The members that are joined, beside those of objects.

    DELTA: texts and lists. CHOICE: lists. CHUNK: none.
    """

    DELTA = enum.auto()
    CHOICE = enum.auto()
    CHUNK = enum.auto()


class _Index(msgspec.Struct):
    """The number of an entry of a list, if it is an object that has one."""

    index: int | None = None


_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_index: Final = msgspec.json.Decoder(_Index)
_indexes: Final = msgspec.json.Decoder(list[_Index])
_encode: Final = msgspec.json.encode


class _Joining:
    """How members are joined, and how many more names may be."""

    def __init__(self, joins: Joins) -> None:
        self.joins = joins
        self._left = NAMES

    def has_room(self, names: int) -> bool:
        """Return whether there is room for names, and take it."""
        if self._left < names:
            return False
        self._left -= names
        return True


class _Text:
    """A text, as the insides of JSON strings."""

    def __init__(self, first: bytes) -> None:
        self.pieces = [first]

    def encoded(self) -> bytes:
        return b'"' + b"".join(self.pieces) + b'"'


class _List:
    """A list, whose entries are joined where they have the same index."""

    def __init__(self) -> None:
        self._entries: list[bytes | _Object] = []
        self._indexed: dict[int, _Object] = {}

    def extend(self, value: bytes, joining: _Joining) -> None:
        """Add the entries of another list."""
        if INDEX not in value:  # most lists, whose entries stay as they are
            self._entries += [value[1:-1]] if len(value) > 2 else []
            return
        entries = parse.parse_outer(value, _items)
        for raw, index in zip(entries, _indexes_of(value, entries), strict=True):
            node = None if index is None else self._indexed.get(index)
            if node is not None:
                node.add(bytes(raw))
            elif index is None or not joining.has_room(OBJECT_NAMES):
                self._entries.append(bytes(raw))
            else:
                self._indexed[index] = _Object(joining)
                self._indexed[index].add(bytes(raw))
                self._entries.append(self._indexed[index])

    def encoded(self) -> bytes:
        return b"[" + b",".join(map(_encoded, self._entries)) + b"]"


class _Object:
    """An object, whose members are joined."""

    def __init__(self, joining: _Joining) -> None:
        self.members: dict[str, _Node] = {}
        self._joining = joining

    def add(self, value: bytes) -> None:
        """Join it with another object."""
        for name, raw in parse.parse_outer(value, _members).items():
            member, before = bytes(raw), self.members.get(name)
            if before is None and not self._joining.has_room(1):
                continue
            if member != b"null" or before is None:
                self.members[name] = self._joined(name, before, member)

    def encoded(self) -> bytes:
        named = (_encode(name) + b":" + _encoded(node) for name, node in self.members.items())
        return b"{" + b",".join(named) + b"}"

    def _joined(self, name: str, before: "_Node | None", value: bytes) -> "_Node":
        kind = value[:1]
        joins = self._joining.joins
        if kind == b"{":
            return self._joined_object(before, value)
        if kind == b"[" and joins is not Joins.CHUNK:
            entries = before if isinstance(before, _List) else _List()
            entries.extend(value, self._joining)
            return entries
        if kind == b'"' and joins is Joins.DELTA and name not in LABELS:
            if isinstance(before, _Text):
                before.pieces.append(value[1:-1])
                return before
            return _Text(value[1:-1])
        return value

    def _joined_object(self, before: "_Node | None", value: bytes) -> "_Node":
        """Join two objects; the first stays encoded until there is a second, unless it may have
        entries to be joined."""
        if not isinstance(before, _Object):
            first = before if isinstance(before, bytes) and before[:1] == b"{" else None
            is_whole = first is None and INDEX not in value
            if is_whole or not self._joining.has_room(OBJECT_NAMES):
                return value
            before = _Object(self._joining)
            if first is not None:
                before.add(first)
        before.add(value)
        return before


_Node = bytes | _Text | _List | _Object
"""A value: encoded, or joined of several."""


class Members:
    """Further members of one object of a body."""

    def __init__(self, joins: Joins) -> None:
        self._object = _Object(_Joining(joins))

    def add(self, members: msgspec.Raw) -> None:
        """Join them with those of another chunk."""
        self._object.add(bytes(members))

    def object(self) -> msgspec.Raw:
        """Return them as an object."""
        return msgspec.Raw(self._object.encoded())

    def joined(self) -> dict[str, Any]:
        """Return them, encoded each."""
        found = self._object.members
        return {name: msgspec.Raw(_encoded(node)) for name, node in found.items()}


def beside(own: dict[str, Any], members: msgspec.Raw) -> dict[str, Any]:
    """Return an object with further members beside its own, which stand, and in its objects."""
    return _beside(own, parse.parse_outer(members, _members))


def _beside(own: dict[str, Any], more: dict[str, msgspec.Raw]) -> dict[str, Any]:
    found = dict(own)
    for name, value in more.items():
        before = found.get(name)
        if name not in found:
            found[name] = value
        elif isinstance(before, dict) and bytes(value)[:1] == b"{":
            found[name] = _beside(before, parse.parse_outer(value, _members))
    return found


def _encoded(node: _Node) -> bytes:
    return node if isinstance(node, bytes) else node.encoded()


def _indexes_of(value: bytes, entries: list[msgspec.Raw]) -> list[int | None]:
    """Return the index of each entry of a list; None for one that has none."""
    try:
        return [entry.index for entry in parse.parse_outer(value, _indexes)]
    except parse.ParseError:
        return [_index_of(bytes(entry)) for entry in entries]


def _index_of(entry: bytes) -> int | None:
    """Return the index of an entry; None for one that has none."""
    if not entry.startswith(b"{"):
        return None
    try:
        return parse.parse_outer(entry, _index).index
    except parse.ParseError:
        return None
