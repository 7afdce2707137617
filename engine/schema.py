"""Compares our shapes of the app-server protocol with the schema of a Codex binary.

`python -m engine.schema` prints what has drifted, one line each, and exits 1 if anything has;
`--write` takes the binary's schema as the new pin. What the pin holds is only what the shapes
use: a field by its path, such as `turn.items[].text`, and what the schema says of it, such as
`integer|null`, with a question mark where it may be absent.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

import msgspec

from engine import appserver, codexhome, codexmodels, notifications

Schema = dict[str, Any]
Paths = dict[str, str]
"""Fields of one frame: path to what the schema says of it."""

ABSENT = "absent"
"""What a pin says of a field that the schema does not have."""

RUN_LIMIT_S = 60
"""The binary writes its schema in 0.2 to 6 s, the most when it is cold on disk."""

_UNDECLARED = {
    "rawResponseItem/completed": "RawResponseItemCompletedNotification",
    "rawResponse/completed": "RawResponseCompletedNotification",
}
"""Notifications that the schema describes, but does not list as such."""


class Pin(msgspec.Struct, frozen=True):
    """What the schema of one version says of everything we use.

    Attributes:
        server_notifications: every notification the server may send.
        shapes: by `<method> params`, `<method> result` or `<method>` of a notification.
    """

    version: str
    server_notifications: tuple[str, ...]
    shapes: dict[str, Paths]


def shapes() -> Iterator[tuple[str, Any]]:
    """Each of our types under the name it has in a pin."""
    for method, (params, result) in appserver.METHODS.items():
        yield f"{method} params", params
        yield f"{method} result", result
    yield from notifications.NOTIFICATIONS.items()


def structs(type_: Any) -> list[type[msgspec.Struct]]:
    """The Struct types inside a type, through unions, tuples and dicts."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return [type_]
    if get_origin(type_) is Literal:
        return []
    return [struct for argument in get_args(type_) for struct in structs(argument)]


class Reader:
    """Reads what we use out of one binary's schema."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    def pin(self, version: str) -> Pin:
        """All that a pin holds."""
        messages = self._messages()
        return Pin(
            version,
            tuple(sorted(self._declared("ServerNotification"))),
            {
                name: dict(self._paths(type_, messages[name])) if name in messages else {}
                for name, type_ in shapes()
            },
        )

    def _messages(self) -> dict[str, Schema]:
        found = {**self._declared("ServerNotification")}
        for method, definition in _UNDECLARED.items():
            found[method] = {"$ref": f"#/definitions/v2/{definition}"}
        for method, params in self._declared("ClientRequest").items():
            found[f"{method} params"] = params
            if "$ref" in params:
                result = params["$ref"].removesuffix("Params") + "Response"
                found[f"{method} result"] = {"$ref": result}
        return found

    def _declared(self, definition: str) -> dict[str, Schema]:
        return {
            variant["properties"]["method"]["enum"][0]: variant["properties"].get("params", {})
            for variant in self._root["definitions"][definition]["oneOf"]
        }

    def _paths(self, type_: Any, schema: Schema, prefix: str = "") -> Iterator[tuple[str, str]]:
        for struct in structs(type_):
            variants = self._variants_of(struct, schema)
            for field in msgspec.structs.fields(struct):
                path = prefix + field.encode_name
                yield path, self._describe_member(variants, field.encode_name)
                for member, mark in self._members(variants, field.encode_name):
                    yield from self._paths(field.type, member, f"{path}{mark}.")
            if not prefix:
                yield from self._required(struct, variants)

    def _required(
        self, struct: type[msgspec.Struct], variants: list[Schema]
    ) -> Iterator[tuple[str, str]]:
        """Fields that a frame must have and that our type has not."""
        ours = {field.encode_name for field in msgspec.structs.fields(struct)}
        ours.add(struct.__struct_config__.tag_field or "")
        for variant in variants:
            for name in variant.get("required", ()):
                if name not in ours:
                    yield name, self._describe_member(variants, name)

    def _variants_of(self, struct: type[msgspec.Struct], schema: Schema) -> list[Schema]:
        config = struct.__struct_config__
        variants = [one for one in self._alternatives(schema) if "properties" in one]
        if config.tag_field is None:
            return variants
        return [
            one
            for one in variants
            if config.tag in one["properties"].get(config.tag_field, {}).get("enum", ())
        ]

    def _alternatives(self, schema: Any) -> Iterator[Schema]:
        """What a schema may be, with references and unions resolved."""
        if not isinstance(schema, dict):  # `true`: anything
            yield {}
            return
        if "$ref" in schema:
            found: Any = self._root
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found.get(part, {})
            yield from self._alternatives(found)
            return
        parts = [part for key in ("anyOf", "oneOf", "allOf") for part in schema.get(key, ())]
        for part in parts:
            yield from self._alternatives(part)
        if not parts:
            yield schema

    def _members(self, variants: list[Schema], name: str) -> Iterator[tuple[Schema, str]]:
        """Schemas inside the field `name`, each with the mark of its container."""
        for variant in variants:
            for one in self._alternatives(variant["properties"].get(name, {})):
                if "items" in one:
                    yield one["items"], "[]"
                elif "properties" in one:
                    yield one, ""
                    yield from ((value, "{}") for value in one["properties"].values())

    def _describe_member(self, variants: list[Schema], name: str) -> str:
        having = [one for one in variants if name in one["properties"]]
        if not having:
            return ABSENT
        kinds = {kind for one in having for kind in self._kinds(one["properties"][name])}
        always = all(name in one.get("required", ()) for one in having)
        return "|".join(sorted(kinds)) + ("" if always and len(having) == len(variants) else "?")

    def _kinds(self, schema: Schema) -> Iterator[str]:
        for one in self._alternatives(schema):
            if "enum" in one:
                yield from (json.dumps(word) for word in one["enum"])
            elif isinstance(one.get("type"), list):
                yield from one["type"]
            else:
                yield one.get("type", "any")


def read(binary: Path) -> Reader:
    """The schema of a binary, experimental parts with it.

    Raises:
        subprocess.SubprocessError: if it would not write one.
    """
    with tempfile.TemporaryDirectory() as directory:
        _run(binary, "app-server", "generate-json-schema", "--experimental", "--out", directory)
        bundle = Path(directory, "codex_app_server_protocol.schemas.json")
        return Reader(json.loads(bundle.read_bytes()))


def version(binary: Path) -> str:
    """A binary's own word, such as `0.163.0`."""
    return _run(binary, "--version").split()[-1]


def bundled_models(binary: Path) -> tuple[codexmodels.KnownModel, ...]:
    """The models that a binary comes with, in its order of priority."""
    entries = json.loads(_run(binary, "debug", "models", "--bundled"))["models"]
    return tuple(
        codexmodels.KnownModel(
            entry["slug"],
            entry["display_name"],
            tuple(level["effort"] for level in entry["supported_reasoning_levels"]),
            lite=entry.get("use_responses_lite", False),
            listed=entry["visibility"] == "list",
        )
        for entry in sorted(entries, key=lambda entry: entry["priority"])
    )


def _run(binary: Path, *arguments: str) -> str:
    """Run a binary in an empty home; return what it wrote to stdout."""
    with tempfile.TemporaryDirectory() as home:
        environment = codexhome.environment(codexhome.Setup(data_dir=Path(home)), {})
        Path(environment["CODEX_HOME"]).mkdir()
        done = subprocess.run(  # noqa: S603 - the program is the one the operator named
            (binary, *arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
            timeout=RUN_LIMIT_S,
        )
    return done.stdout


def pinned() -> Pin:
    """The pin that is checked in."""
    return msgspec.json.decode(appserver.PIN_PATH.read_bytes(), type=Pin)


def misfits(pin: Pin) -> list[str]:
    """Where our types contradict a pin, so that a frame would be refused or misread."""
    return [
        f"{name}: `{path}` is {said}, {reason}"
        for name, type_ in shapes()
        for path, said in pin.shapes.get(name, {}).items()
        if (reason := _misfit(name, type_, path, said))
    ]


def _misfit(name: str, type_: Any, path: str, said: str) -> str | None:
    if said == ABSENT:
        return "but a shape of ours has it"
    ours = {
        field.encode_name: field
        for struct in structs(type_)
        for field in msgspec.structs.fields(struct)
    }
    if name.endswith(" params"):
        unsent = path not in ours and "." not in path and not said.endswith("?")
        return "required, and not sent" if unsent else None
    required_here = path in ours and ours[path].required
    return "and a shape of ours requires it" if required_here and said.endswith("?") else None
