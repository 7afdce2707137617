"""Typed values from a client's JSON, however large it is, with room for everything else between.

The problem: one call of a decoder for a body of some megabytes makes a million objects and holds
the loop for as long. So only what is small is decoded in one call. What is larger is cut into its
parts, which are left as they came, and each part is read by the same rule: a struct member by
member, an array item by item, down to a piece that is small or a single string. In between it may
be interrupted (`engine.slices`). How much a part may hold is looked at before it is cut.

Depth is counted on the way: a piece that is small by the piece, what no type describes by a scan.
"""

import functools
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Final, Generic, TypeVar, Union, get_args, get_origin

import msgspec

from engine import slices
from machines import parse
from server.http import decoding, mismatch
from server.http.errors import ApiError

T = TypeVar("T")

PIECE_BYTES: Final = 32 << 10
"""Bytes that are decoded in one call: at most some milliseconds, whatever they hold."""

AT_ONCE: Final = 1 << 16
"""So many parts are made in one call, 15 ms, before they are counted. Where there may be more it
is looked first whether there are too many."""

Members = Mapping[str, msgspec.Raw]
"""The members of an object, each as it came."""

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])


def members_of(body: bytes, limit: int) -> slices.Steps[Members]:
    """The members of a body.

    Args:
        limit: how many there may be.

    Raises:
        ApiError: `invalid_json`, or `object_above_max_properties`.
    """
    try:
        found = parse.parse_outer(body, _members)
    except parse.ParseError as error:
        fault = error.fault
    else:
        if len(found) > limit:
            raise decoding.too_many_members("", limit)
        return found
    # The same body must be refused for the same reason, whatever room the stack has.
    if fault != "type" and (yield from parse.scan_depth(body)):
        fault = "depth"
    raise ApiError("invalid_json", decoding.NOT_JSON[fault])


class Reader(Generic[T]):
    """Reads values of one type.

    Args:
        kind: the type as `msgspec` takes it.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._cuts = {cut.begins: cut for cut in _cuts(kind)}

    def read(
        self, data: bytes | msgspec.Raw, path: str, limit: int, depth: int = parse.MAX_DEPTH
    ) -> slices.Steps[T]:
        """A value.

        Args:
            path: where it stands in the body.
            limit: how many items an array, or members an object, may have that is cut up.
            depth: levels it may have.

        Raises:
            ApiError: with the path of the field at fault.
        """
        text = memoryview(data)
        if text.nbytes > PIECE_BYTES:
            first = bytes(text[:1])
            if first in self._cuts:
                found: T = yield from self._cuts[first].read(data, path, limit, depth)
                return found
            if first in EMPTY:  # nothing that begins so can be meant: its end is of no interest
                raise decoding.wrong(self._kind, EMPTY[first], path)
        return decoding.decode(self._decoder, data, path, depth)

    def from_members(self, members: Members, limit: int) -> slices.Steps[T]:
        """A body whose members are there already, which is a struct.

        Raises:
            ApiError: with the path of the field at fault.
        """
        cut = self._cuts[b"{"]
        assert isinstance(cut, _Struct)
        found: T = yield from cut.from_members(members, "", limit, parse.MAX_DEPTH)
        return found


@functools.cache
def reader(kind: Any) -> Reader[Any]:
    """The reader of a type: types are few, and made at the start."""
    return Reader(kind)


EMPTY: Final = {b"[": b"[]", b"{": b"{}"}
"""The shortest text of each kind that has parts, by what such texts begin with."""


class _Cut:
    """How values are read that have parts.

    Attributes:
        begins: the first character of such a value.
    """

    begins: bytes

    def read(
        self, data: bytes | msgspec.Raw, path: str, limit: int, depth: int
    ) -> slices.Steps[Any]:
        """A value, part by part; `Reader.read` says the rest."""
        raise NotImplementedError


class _Raw(_Cut):
    """A value that is kept as it came."""

    def __init__(self, begins: bytes) -> None:
        self.begins = begins

    def read(
        self, data: bytes | msgspec.Raw, path: str, limit: int, depth: int
    ) -> slices.Steps[Any]:
        yield from check_depth(data, depth)
        return msgspec.Raw(data)


class _Array(_Cut):
    begins = b"["

    def __init__(self, kind: Any, bounds: tuple[Any, ...]) -> None:
        self._item = reader(*get_args(kind))
        self._bounds = Annotated[list[Any], *bounds] if bounds else list[Any]

    def read(
        self, data: bytes | msgspec.Raw, path: str, limit: int, depth: int
    ) -> slices.Steps[Any]:
        if (yield from _has_more(data, limit)):
            raise decoding.too_long(path, limit)
        items = decoding.decode_outer(_items, data)
        decoding.check_count(path, len(items), limit)
        if (found := mismatch.find_length(self._bounds, items, path)) is not None:
            raise decoding.refusal(found)
        read = []
        for index, item in enumerate(items):
            read.append((yield from self._item.read(item, f"{path}[{index}]", limit, depth - 1)))
            yield
        return read


class _Object(_Cut):
    """An object whose members are all of one type."""

    begins = b"{"

    def __init__(self, kind: Any) -> None:
        _, member = get_args(kind)
        self._member = reader(member)

    def read(
        self, data: bytes | msgspec.Raw, path: str, limit: int, depth: int
    ) -> slices.Steps[Any]:
        members = yield from _cut_object(data, path, limit)
        read = {}
        for name, value in members.items():
            where = mismatch.member(path, name)
            read[name] = yield from self._member.read(value, where, limit, depth - 1)
            yield
        return read


class _Struct(_Cut):
    """A struct, or one of several, which its tag names."""

    begins = b"{"

    def __init__(self, structs: tuple[Any, ...]) -> None:
        self._kind = Union[structs]  # noqa: UP007 -- they are not known before
        self._by_tag = {_config(each).tag: _Fields(each) for each in structs}
        self._tag_field = _config(structs[0]).tag_field

    def read(
        self, data: bytes | msgspec.Raw, path: str, limit: int, depth: int
    ) -> slices.Steps[Any]:
        members = yield from _cut_object(data, path, limit)
        return (yield from self.from_members(members, path, limit, depth))

    def from_members(
        self, members: Members, path: str, limit: int, depth: int
    ) -> slices.Steps[Any]:
        """What the members make up."""
        fields = self._fields(members, path)
        values = {}
        for name, value in members.items():
            field = fields.readers.get(name)
            if field is None:
                yield from check_depth(value, depth - 1)
            else:
                where = mismatch.member(path, name)
                values[name] = yield from field.read(value, where, limit, depth - 1)
            yield
        for name in fields.required:
            if name not in values:
                raise decoding.missing(mismatch.member(path, name))
        try:
            return fields.struct(**values)
        except decoding.Missing as missing:
            raise decoding.missing(mismatch.member(path, missing.field)) from None

    def _fields(self, members: Members, path: str) -> "_Fields":
        """Those of the struct that is meant."""
        if self._tag_field is None:
            return self._by_tag[None]
        tag = {self._tag_field: members[self._tag_field]} if self._tag_field in members else {}
        if not tag and len(self._by_tag) == 1:
            return next(iter(self._by_tag.values()))
        try:
            return self._by_tag[parse.value(tag[self._tag_field])]
        except (KeyError, TypeError, parse.ParseError):
            raise decoding.wrong(self._kind, msgspec.json.encode(tag), path) from None


class _Fields:
    """The fields of one struct: how each is read, and which must be there."""

    def __init__(self, struct: Any) -> None:
        fields = msgspec.structs.fields(struct)
        self.struct = struct
        self.readers = {field.encode_name: reader(field.type) for field in fields}
        self.required = [field.encode_name for field in fields if field.required]


def _cuts(kind: Any, bounds: tuple[Any, ...] = ()) -> list[_Cut]:
    """How a type's values are read that have parts; one for each first character."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *more = get_args(kind)
        return _cuts(inner, (*bounds, *more))
    if kind is msgspec.Raw:
        return [_Raw(b"["), _Raw(b"{")]
    if origin is list:
        return [_Array(kind, bounds)]
    if origin is dict:
        return [_Object(kind)]
    if _is_struct(kind):
        return [_Struct((kind,))]
    if origin in (Union, UnionType):
        structs = tuple(each for each in get_args(kind) if _is_struct(each))
        others = (each for each in get_args(kind) if each not in structs)
        found = [cut for each in others for cut in _cuts(each)]
        return [*found, _Struct(structs)] if structs else found
    return []


def _is_struct(kind: Any) -> bool:
    base = get_origin(kind) or kind
    return isinstance(base, type) and issubclass(base, msgspec.Struct)


def _config(struct: Any) -> msgspec.structs.StructConfig:
    config: msgspec.structs.StructConfig = (get_origin(struct) or struct).__struct_config__
    return config


def _cut_object(data: bytes | msgspec.Raw, path: str, limit: int) -> slices.Steps[Members]:
    if (yield from _has_more(data, limit)):
        raise decoding.too_many_members(path, limit)
    members = decoding.decode_outer(_members, data)
    if len(members) > limit:
        raise decoding.too_many_members(path, limit)
    return members


def _has_more(data: bytes | msgspec.Raw, limit: int) -> slices.Steps[bool]:
    """Whether there are more parts than `limit`, as far as it matters before they are made."""
    if bytes(data).count(b",") < AT_ONCE:
        return False
    return (yield from parse.scan_items(data, limit))


def check_depth(data: bytes | msgspec.Raw, depth: int) -> slices.Steps[None]:
    """Refuse what has more levels.

    Raises:
        ApiError: `invalid_json`.
    """
    if (yield from parse.scan_depth(data, depth)):
        raise ApiError("invalid_json", decoding.NOT_JSON["depth"])
