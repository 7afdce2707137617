"""Compares our shapes of the app-server protocol with the schema of a Codex binary.

`python -m tests.tools.schemadrift` prints what has drifted, one line each, and exits 1 if anything
has; `--write` takes the binary's schema as the new pin. What the pin holds is only what the shapes
use: a field by its path, such as `turn.items[].text`, and what the schema says of it, such as
`integer|null`, with a question mark where it may be absent.

Only what makes a difference here is drift. A new notification that is opted out of is none, nor is
a new word for a failure that `engine.codex.turns.verdicts` tells apart. A field that we read may
be optional or required, as long as our type does not need it. The models are compared only with
those of the version that the table is of: of any other the server asks the binary itself. A type
that stands in several frames is told of once.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from engine.codex.child import bundled as codexmodels, home as codexhome
from engine.codex.protocol import appserver, notifications
from engine.codex.turns import verdicts

Schema = dict[str, Any]
Paths = dict[str, str]
"""Fields of one frame: path to what the schema says of it."""

ABSENT = "absent"
"""What a pin says of a field that the schema does not have."""

_RUN_LIMIT_S = 60
"""The binary writes its schema in 0.2 to 6 s, the most when it is cold on disk."""

_RAW_ITEM = "rawResponseItem/completed item"
"""What an item that we keep as it came is called in a pin."""

_UNDECLARED = {
    "rawResponseItem/completed": "RawResponseItemCompletedNotification",
    "rawResponse/completed": "RawResponseCompletedNotification",
    _RAW_ITEM: "ResponseItem",
}
"""What the schema describes, but does not list as a notification."""

_UNIONS = ("anyOf", "oneOf", "allOf")

_ERROR_WORD = "codexErrorInfo"
"""Where the words for failures are."""

_SENT = (" params", " answer")
"""How the names of what we write end; everything else we read."""


class Pin(msgspec.Struct, frozen=True):
    """What the schema of one version says of everything we use.

    Attributes:
        server_notifications: every notification the server may send.
        shapes: by `<method> params` and `<method> result` of a request of ours, `<method>` and
            `<method> answer` of a request of theirs, `<method>` of a notification.
    """

    version: str
    server_notifications: tuple[str, ...]
    shapes: dict[str, Paths]


def shapes() -> Iterator[tuple[str, Any]]:
    """Each of our types under the name it has in a pin."""
    for method, (params, result) in appserver.METHODS.items():
        yield f"{method} params", params
        yield f"{method} result", result
    for method, (params, answer) in appserver.SERVER_REQUESTS.items():
        yield method, params
        yield f"{method} answer", answer
    yield from notifications.NOTIFICATIONS.items()
    yield _RAW_ITEM, notifications.ResponseItem


def fields(type_: Any, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """The path of every field of a type, and whether a frame must have it for us to decode it.

    `[]` in a path stands for each element of an array, `{}` for each value of an object.
    """
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        dot = "." if prefix else ""
        if type_.__struct_config__.tag_field:
            yield f"{prefix}{dot}{type_.__struct_config__.tag_field}", True
        for field in msgspec.structs.fields(type_):
            path = f"{prefix}{dot}{field.encode_name}"
            yield path, field.required
            yield from fields(field.type, path)
        return
    mark = {tuple: "[]", dict: "{}"}.get(get_origin(type_), "")
    for argument in get_args(type_):
        yield from fields(argument, prefix + mark)


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
                name: self._paths(name, type_, messages[name])
                for name, type_ in shapes()
                if name in messages
            },
        )

    def _messages(self) -> dict[str, Schema]:
        found = self._declared("ServerNotification")
        for method, definition in _UNDECLARED.items():
            found[method] = {"$ref": f"#/definitions/v2/{definition}"}
        for method, params in self._declared("ClientRequest").items():
            found[f"{method} params"] = params
            found[f"{method} result"] = _response(params)
        for method, params in self._declared("ServerRequest").items():
            found[method] = params
            found[f"{method} answer"] = _response(params)
        return found

    def _declared(self, definition: str) -> dict[str, Schema]:
        return {
            variant["properties"]["method"]["enum"][0]: variant["properties"].get("params", {})
            for variant in self._root["definitions"][definition]["oneOf"]
        }

    def _paths(self, name: str, type_: Any, schema: Schema) -> Paths:
        used = [path for path, _ in fields(type_)]
        if name.endswith(_SENT):
            used += self._required(schema)
        return {path: self._said([schema], path) for path in used}

    def _required(self, schema: Schema) -> list[str]:
        names = [set(one.get("required", ())) for one in self._alternatives(schema)]
        return sorted(set.intersection(*names))

    def _said(self, schemas: list[Schema], path: str) -> str:
        """What the schema says of the field at a path."""
        name, _, rest = path.partition(".")
        if rest:
            return self._said(list(self._inside(schemas, name)), rest)
        objects = list(self._objects(schemas))
        having = [one for one in objects if name in one["properties"]]
        if not having:
            return ABSENT
        kinds = {kind for one in having for kind in self._kinds(one["properties"][name])}
        always = all(name in one.get("required", ()) for one in objects)
        return "|".join(sorted(kinds)) + ("" if always else "?")

    def _inside(self, schemas: list[Schema], segment: str) -> Iterator[Schema]:
        """The schemas one level down: of a field, of its elements or of its values."""
        name = segment.rstrip("[]{}")
        for one in self._objects(schemas):
            for member in self._alternatives(one["properties"].get(name, {})):
                if segment.endswith("[]"):
                    yield member.get("items", {})
                elif segment.endswith("{}"):
                    yield from member.get("properties", {}).values()
                else:
                    yield member

    def _objects(self, schemas: list[Schema]) -> Iterator[Schema]:
        for schema in schemas:
            yield from (one for one in self._alternatives(schema) if "properties" in one)

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
        found = [{key: value for key, value in schema.items() if key not in _UNIONS}]
        for part in schema.get("allOf", ()):
            found = [_both(one, other) for one in found for other in self._alternatives(part)]
        for parts in (schema[key] for key in ("anyOf", "oneOf") if key in schema):
            members = [one for part in parts for one in self._alternatives(part)]
            found = [_both(one, other) for one in found for other in members]
        yield from found

    def _kinds(self, schema: Schema) -> Iterator[str]:
        for one in self._alternatives(schema):
            if "enum" in one:
                yield from one["enum"]
            elif isinstance(one.get("type"), list):
                yield from one["type"]
            else:
                yield one.get("type", "any")


def _both(one: Schema, other: Schema) -> Schema:
    """What is true of a value of which two schemas are: a union may stand beside properties."""
    both = {**one, **other}
    if "properties" in both:
        both["properties"] = {**one.get("properties", {}), **other.get("properties", {})}
        both["required"] = [*one.get("required", ()), *other.get("required", ())]
    return both


def _response(params: Schema) -> Schema:
    """The response that goes with a request's params: the schema pairs them by name alone."""
    refs = [one.get("$ref", "") for one in (params, *params.get("anyOf", ()))]  # or none at all
    return {"$ref": next(filter(None, refs), "").removesuffix("Params") + "Response"}


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


def _run(binary: Path, *arguments: str) -> str:
    """Run a binary in an empty home; return what it wrote to stdout."""
    with tempfile.TemporaryDirectory() as home:
        environment = codexhome.environment(codexhome.Setup(data_dir=Path(home)), {})
        Path(environment["CODEX_HOME"]).mkdir()
        done = subprocess.run(
            (binary, *arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
            timeout=_RUN_LIMIT_S,
        )
    return done.stdout


def pinned() -> Pin:
    """The pin that is checked in."""
    return msgspec.json.decode(appserver.PIN_PATH.read_bytes(), type=Pin)


def misfits(pin: Pin) -> list[str]:
    """Where our types contradict a pin, so that a frame would be refused, by us or by Codex."""
    return _told_once(
        Difference(name, path, said)
        for name, type_ in shapes()
        for path, said in _misfits(dict(fields(type_)), pin.shapes.get(name, {}), name)
    )


class Difference(msgspec.Struct, frozen=True):
    """What is said of one field of one frame."""

    name: str
    path: str
    said: str

    @property
    def what(self) -> tuple[str, str]:
        """Equal for the same field of the same type, wherever it stands."""
        return self.path.rpartition(".")[2], self.said


def _told_once(differences: Iterable[Difference]) -> list[str]:
    """A line for each, one for all frames in which the same type is."""
    told: dict[tuple[str, str], list[Difference]] = {}
    for one in differences:
        told.setdefault(one.what, []).append(one)
    return [_line(first, others) for first, *others in told.values()]


def _line(first: Difference, others: list[Difference]) -> str:
    names = ", ".join(dict.fromkeys(other.name for other in others if other.name != first.name))
    line = f"{first.name}: `{first.path}` {first.said}"
    return f"{line} (also in {names})" if names else line


def _misfits(ours: dict[str, bool], theirs: Paths, name: str) -> Iterator[tuple[str, str]]:
    for path in ours:
        if theirs.get(path, ABSENT) == ABSENT:
            yield path, "is ours alone"
    for path, said in theirs.items():
        if path not in ours:
            yield path, "is required, and we do not send it"
        elif ours[path] and said.endswith("?") and not name.endswith(_SENT):
            yield path, "may be missing, and we require it"


def changes(old: Pin, new: Pin) -> list[str]:
    """What two pins say differently, apart from their versions, as far as it matters here."""
    unasked = set(_more(new, old)) - set(appserver.OPT_OUT)
    return [
        *(f"new notification {name}, which is not opted out of" for name in sorted(unasked)),
        *(f"notification {name} is gone" for name in _more(old, new)),
        *_told_once(_changed_fields(old, new)),
    ]


def _more(one: Pin, other: Pin) -> list[str]:
    return sorted(set(one.server_notifications) - set(other.server_notifications))


def _changed_fields(old: Pin, new: Pin) -> Iterator[Difference]:
    for name in dict.fromkeys((*old.shapes, *new.shapes)):
        before, after = old.shapes.get(name, {}), new.shapes.get(name, {})
        for path in dict.fromkeys((*before, *after)):
            said = _change(before.get(path, ABSENT), after.get(path, ABSENT), name, path)
            if said is not None:
                yield Difference(name, path, said)


def _change(before: str, after: str, name: str, path: str) -> str | None:
    """How what is said of a field has changed; None where it makes no difference."""
    if not name.endswith(_SENT):
        before, after = before.removesuffix("?"), after.removesuffix("?")
    if before == after:
        return None
    had, has = ({*said.removesuffix("?").split("|")} for said in (before, after))
    if not had & has or had == has:
        return f"was {before}, is {after}"
    more, less = has - had, had - has
    if path.endswith(_ERROR_WORD):
        more -= verdicts.KNOWN_WORDS
    parts = [f"may now be {', '.join(sorted(more))}"] if more else []
    parts += [f"is no longer {', '.join(sorted(less))}"] if less else []
    return " and ".join(parts) or None


def model_changes(binary: tuple[codexmodels.KnownModel, ...], of: str) -> list[str]:
    """Where a binary's models differ from the table of `engine.codex.child.bundled`.

    Args:
        of: the binary's version. Of another than the table's, the server reads them itself.
    """
    if of != codexmodels.BUNDLED_WITH:
        return []
    known = {model.slug: model for model in codexmodels.KNOWN}
    theirs = {model.slug: model for model in binary}
    return [
        f"model {slug} was {known.get(slug)}, is {theirs.get(slug)}"
        for slug in dict.fromkeys((*known, *theirs))
        if known.get(slug) != theirs.get(slug)
    ]


def drift(binary: Path) -> tuple[Pin, list[str]]:
    """The pin that a binary would make, and where it, or our code, is not as checked in.

    Raises:
        subprocess.SubprocessError: if the binary does not say.
        bundled.NoListing: if it lists no models.
    """
    current = read(binary).pin(version(binary))
    listed = codexmodels.read(_run(binary, "debug", "models", "--bundled").encode())
    return current, [
        *changes(pinned(), current),
        *misfits(current),
        *model_changes(listed, current.version),
    ]


def main(arguments: list[str]) -> int:
    """The command line: 0 without drift, 1 with it."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.schemadrift", description=__doc__)
    parser.add_argument("--codex-bin", help="the binary; the installed wheel's by default")
    parser.add_argument("--write", action="store_true", help="take its schema as the new pin")
    options = parser.parse_args(arguments)
    current, lines = drift(codexhome.find_binary(options.codex_bin))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    if options.write:
        text = msgspec.json.format(msgspec.json.encode(current), indent=1)
        appserver.PIN_PATH.write_bytes(text + b"\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
