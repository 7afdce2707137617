"""Makes the JSON Schema of a line in the files of an event log: `docs/events.schema.json`.

It is made of the structs that write and read the lines, so it cannot say anything else than they
do. It is strict: a member that this version does not have is an error, although a reader would
only skip the stream.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args

import msgspec

from engine.log.format import chain, stubs
from engine.log.read import segments
from engine.log.summary import rows, sidecars
from machines import events, outputs

CRC: Final = {
    "type": "string",
    "pattern": "^[0-9a-f]{8}$",
    "description": 'CRC-32 of all bytes of the line before `,"crc"`.',
}
"""The last member of every line."""

COUNT: Final = {"type": "integer", "minimum": 0}

PLACE: Final[dict[str, Any]] = {
    "stream": {"type": "string", "minLength": 1},
    "seq": {**COUNT, "description": "counts the records of the stream"},
    "seg": {**COUNT, "description": "counts the records of the segment"},
    "t": {**COUNT, "description": "microseconds since the epoch"},
}
"""What every record begins with."""

MACHINE: Final[dict[str, Any]] = {
    "state": {"type": "string", "minLength": 1, "description": "the stream's state after it"},
    "out": {
        "type": "array",
        "items": {
            "enum": list(
                dict.fromkeys(kind.__struct_config__.tag for kind in get_args(outputs.AnyOutput))
            )
        },
        "description": "tags of what the machine answered",
    },
    "states": {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 2,
        "description": "all states that the step passed through, where they were several",
    },
}
"""What the machine made of a record's event."""

REF: Final = "#/$defs/{name}"

Schema = dict[str, Any]


def schema() -> Schema:
    """The schema of a line of any kind."""
    logged = get_args(segments.LoggedEvent)
    entries = get_args(chain.AnyEntry)
    around = (chain.Header, chain.Checkpoint, stubs.Stub, rows.Summary, sidecars.Sealed)
    kinds = (*logged, *entries, *around, outputs.Decision)
    made, parts = msgspec.json.schema_components(map(_plain, kinds), ref_template=REF)
    by_kind = dict(zip(kinds, (_name(each["$ref"]) for each in made), strict=True))
    lines: dict[str, Schema] = {}
    shared = {**PLACE, **MACHINE, "crc": CRC, **parts[by_kind[outputs.Decision]]["properties"]}
    for kind in logged:
        tag = kind.__struct_config__.tag
        lines[f"record {tag}"] = _record(tag, parts[by_kind[kind]], list(shared))
    for kind in entries:
        after = {"after": {**CRC, "description": "of the line before; 00000000 of the first"}}
        lines[f"chain {kind.__struct_config__.tag}"] = _line(
            parts[by_kind[kind]], after, required=("after",), first="entry"
        )
    lines["segment header"] = _line(parts[by_kind[chain.Header]], first="segment")
    lines["stub"] = _line(parts[by_kind[stubs.Stub]], first="stream")
    lines["checkpoint"] = _line(parts[by_kind[chain.Checkpoint]], first="checkpoint")
    lines["summary header"] = _object(
        {
            "sidecar": COUNT,
            "schema": {**COUNT, "minimum": 1, "maximum": sidecars.SCHEMA},
            "crc": CRC,
        },
        "sidecar schema crc",
    )
    lines["summary"] = _line(parts[by_kind[rows.Summary]], first="summary")
    lines["summary end"] = _line(parts[by_kind[sidecars.Sealed]], first="sealed")
    used = {name: part for name, part in parts.items() if name not in set(by_kind.values())}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a Turntape event log, schema {events.SCHEMA_VERSION}",
        "oneOf": [{"$ref": REF.format(name=_key(name))} for name in lines],
        "$defs": {
            **{_key(name): {"title": name, **each} for name, each in lines.items()},
            **{f"any_{name}": each for name, each in shared.items()},
            **used,
        },
    }


def text() -> str:
    """The schema as its file has it."""
    return json.dumps(schema(), indent=1) + "\n"


def _plain(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """A struct with the same members, but `Any` in the place of `Raw`, of which no default can be
    shown."""
    members: list[Any] = []
    for field in msgspec.structs.fields(kind):
        if not isinstance(field.default, msgspec.Raw):
            default = {} if field.required else {"default": field.default}
            if field.default_factory is not msgspec.NODEFAULT:
                default = {"default_factory": field.default_factory}
        else:
            is_null = bytes(field.default) == b"null"
            default = {"default": None} if is_null else {"default_factory": dict}
        hint = Any if field.type is msgspec.Raw else field.type
        members.append((field.encode_name, hint, msgspec.field(**default)))
    config = kind.__struct_config__
    return msgspec.defstruct(
        kind.__name__,
        members,
        tag=config.tag,
        tag_field=config.tag_field,
        kw_only=True,
        namespace={"__doc__": kind.__doc__},
    )


def _record(tag: str, event: Schema, shared: list[str]) -> Schema:
    own = {name: part for name, part in event["properties"].items() if name != "event"}
    common = {name: {"$ref": REF.format(name=f"any_{name}")} for name in shared}
    properties = {"event": {"const": tag}, **own, **common}
    required = [*PLACE, "event", *_required(event, "event"), "state", "out", "crc"]
    return {**_described(event), **_object(properties, required)}


def _line(
    part: Schema,
    more: Mapping[str, Any] | None = None,
    required: Iterable[str] = (),
    *,
    first: str,
) -> Schema:
    properties = {**part["properties"], **(more or {}), "crc": CRC}
    needed = dict.fromkeys((first, *part.get("required", ()), *required, "crc"))
    return {**_described(part), **_object(properties, needed)}


def _object(properties: Schema, required: str | Iterable[str]) -> Schema:
    names = required.split() if isinstance(required, str) else list(dict.fromkeys(required))
    return {
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": False,
    }


def _required(part: Schema, but: str) -> list[str]:
    return [name for name in part.get("required", ()) if name != but]


def _described(part: Schema) -> Schema:
    text = " ".join(part.get("description", "").partition("\n\n")[0].split())
    return {"description": text} if text else {}


def _name(ref: str) -> str:
    return ref.rpartition("/")[2]


def _key(name: str) -> str:
    return name.replace(" ", "_")
