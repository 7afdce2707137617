"""The parts of `docs/` that say what the code says: each function makes one as Markdown."""

import enum
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from engine.codex.child import home as codexhome
from engine.codex.protocol import appserver, notifications
from engine.codex.turns import verdicts
from engine.log.format import chain, exports, stubs
from engine.log.read import segments
from machines import events, outputs, tooloptions
from machines.stream import finish, states
from server import readiness, router
from server.http import errors
from server.logschema import declared, fields, lines
from server.metrics import families
from server.tracing.attributes import Attribute
from tests.tools import schemadrift

DATA_DIR = Path("/var/lib/turntape")
"""The data directory of the settings that are shown."""

WORDS: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    msgspec.Raw: "any JSON",
}
"""What JSON calls a Python type."""

PARTS: dict[Any, str] = {
    events.Usage: "usage",
    tooloptions.ToolOptions: "tool options",
    tooloptions.ToolShape: "tool shape",
}
"""Parts of events, and the headings they have."""

AROUND: dict[Any, str] = {
    chain.Header: "header of a segment",
    chain.Figures: "figures",
    exports.Export: "export",
    exports.Source: "source of an export",
    stubs.Stub: "stub",
    chain.Checkpoint: "checkpoint",
}
"""What is known of segments beside their records, and the headings it has."""

KEY = {
    router.KeyNeed.ALWAYS: "yes",
    router.KeyNeed.NEVER: "no",
    router.KeyNeed.MODELS: "if `PROXY_PROTECT_MODELS`",
    router.KeyNeed.METRICS: "[its own rules](metrics.md#who-may-ask)",
    router.KeyNeed.USAGE: "[its own rules](usage.md#who-may-ask)",
    router.KeyNeed.OWNER: "[its owner's](#one-stream), or `PROXY_ADMIN_KEY`",
    router.KeyNeed.ADMIN: "`PROXY_ADMIN_KEY`",
}
"""When a route needs a key."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell or "-" for cell in line) + " |" for line in lines)


def code(text: object) -> str:
    """A text as code; nothing for None."""
    return "" if text is None else f"`{text}`"


def route_table() -> str:
    """Every route."""
    return table(
        ("route", "methods", "key needed"),
        (
            (
                code(route.path + ("{id}" if route.path.endswith("/") else "")),
                ", ".join((*route.methods, "OPTIONS")),
                KEY[route.key],
            )
            for route in router.ROUTES
        ),
    )


def error_table() -> str:
    """Every error code, and how a client meets it."""
    rows = (
        (
            str(case.status),
            code(name),
            code(case.type),
            "" if case.retry_after is None else f"{case.retry_after} s",
            "" if case.should_retry is None else code(str(case.should_retry).lower()),
            case.meaning,
        )
        for name, case in errors.CASES.items()
    )
    return table(("status", "`code`", "`type`", "`retry-after`", "`x-should-retry`", "when"), rows)


def metric_table() -> str:
    """Every metric of a scrape."""
    return table(
        ("metric", "type", "labels", "buckets", "meaning"),
        (
            (
                code(family.name),
                family.type.value,
                ", ".join(map(code, family.labels)),
                ", ".join(f"{bound:g}" for bound in family.buckets),
                family.meaning,
            )
            for family in families.FAMILIES
        ),
    )


def span_table(attributes: tuple[Attribute, ...]) -> str:
    """The attributes of one kind of span."""
    return table(
        ("attribute", "under `1.28.0`", "value"),
        (
            (
                code(each.name),
                "the same"
                if each.older == each.name
                else (code(each.older) if each.older else "-"),
                each.meaning,
            )
            for each in attributes
        ),
    )


def finish_table() -> str:
    """Every `finish_reason`, and the workers' words that become it."""
    rows = (
        (code(reason), ", ".join(code(word) for word in _words_for(reason)))
        for reason in finish.CANONICAL
    )
    return table(("`finish_reason`", "words of workers, in any case"), rows)


def _words_for(reason: str) -> Iterator[str]:
    return (word for word, meant in finish.WORDS.items() if meant == reason)


def timeout_table() -> str:
    """The deadlines that fail a stream."""
    rows = (
        (code(timer), ", ".join(code(state) for state in sorted(counted_in)), code(name), message)
        for timer, (counted_in, name, message) in states.TIMEOUTS.items()
    )
    return table(("timer", "fails a stream in", "`code`", "`message`"), rows)


def event_tables() -> str:
    """Every event that may be a record, with its fields."""
    parts = [_struct(kind) for kind in get_args(segments.LoggedEvent)]
    parts += [_struct(kind, title) for kind, title in PARTS.items()]
    return "\n\n".join(parts)


def chain_tables() -> str:
    """What stands in headers, in the chain and in the checkpoint."""
    entries = get_args(chain.AnyEntry)
    rows = (
        (
            code(_tag(kind)),
            ", ".join(code(each.encode_name) for each in msgspec.structs.fields(kind)),
            _described(kind)[0],
        )
        for kind in entries
    )
    parts = [_struct(kind, title) for kind, title in AROUND.items()]
    return "\n\n".join([table(("`entry`", "members", "what it says"), rows), *parts])


def output_table() -> str:
    """Every output, under the tag that a record's `out` has."""
    rows: dict[str, str] = {}
    for kind in get_args(outputs.AnyOutput):
        rows.setdefault(code(_tag(kind)), _described(kind)[0])  # two outputs share a tag
    return table(("tag", "what it says"), rows.items())


def _tag(kind: type[msgspec.Struct]) -> str:
    return str(kind.__struct_config__.tag)


def _struct(kind: type[msgspec.Struct], title: str | None = None) -> str:
    summary, meanings = _described(kind)
    hints = typing.get_type_hints(kind)
    rows = [
        (code(field.encode_name), _type(hints[field.name]), _default(field), meanings[field.name])
        for field in msgspec.structs.fields(kind)
    ]
    parts = [f"### `{title or _tag(kind)}`", summary]
    if rows:
        parts.append(table(("field", "type", "if absent", "meaning"), rows))
    return "\n\n".join(parts)


def _described(kind: type) -> tuple[str, dict[str, str]]:
    """What a class's docstring says of it and of its attributes."""
    text, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    meanings = dict.fromkeys(kind.__annotations__, "")
    for entry in re.split(r"\n(?= {4}\S)", attributes):
        names, _, meaning = entry.strip().partition(": ")
        for name in filter(None, names.split(", ")):
            meanings[name] = _json_words(meaning)
    return _json_words(text), meanings


def _json_words(text: str) -> str:
    """A docstring's text on one line, with JSON's name for None."""
    return re.sub(r"\bNone\b", "null", " ".join(text.split()))


def _type(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(map(code, arguments))
    if origin in (Union, UnionType):
        return " or ".join("null" if each is NoneType else _type(each) for each in arguments)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ", ".join(code(each.value) for each in hint)
    if origin is tuple:
        return f"array of {_several(arguments[0])}"
    if origin is dict:
        return f"object of {_several(arguments[1])}"
    titles = PARTS | AROUND
    if hint in titles:
        return f"[{titles[hint]}](#{titles[hint].replace(' ', '-')})"
    return WORDS[hint]


def _several(hint: Any) -> str:
    """The type of what an array or object holds."""
    inner = _type(hint)
    return f"({inner})" if " or " in inner else inner


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "never"
    if field.default is msgspec.NODEFAULT:
        return code(msgspec.json.encode(field.default_factory()).decode())
    return code(msgspec.json.encode(field.default).decode())


def protocol_table() -> str:
    """What is spoken with the app-server, and which versions were tried."""
    oldest = ".".join(map(str, appserver.MINIMUM_VERSION))
    rows = [
        ("tested version", code(schemadrift.pinned().version)),
        ("oldest version", code(oldest)),
        ("requests", ", ".join(map(code, appserver.METHODS))),
        ("notifications", ", ".join(map(code, notifications.NOTIFICATIONS))),
    ]
    return table(("", ""), rows)


def failure_table() -> str:
    """What a failed turn becomes, by the word or the status that Codex gives."""
    named = ((code(word), failure) for word, failure in verdicts.NAMED.items())
    by_status = ((f"HTTP {status}", failure) for status, failure in verdicts.BY_STATUS.items())
    rows = (
        (
            word,
            str(failure.status or errors.case_of(failure.code).status),
            code(failure.code),
            "yes" if failure.retryable else "no",
        )
        for word, failure in (*named, *by_status)
    )
    return table(("Codex says", "status", "`code`", "tried again before output"), rows)


def codex_settings() -> str:
    """The settings of a Codex process, as a `config.toml`."""
    setup = codexhome.Setup(data_dir=DATA_DIR)
    return f"```toml\n{codexhome.config_toml(setup)}```"


def reason_table() -> str:
    """Every reason of readiness."""
    rows = ((code(reason.value), readiness.MEANINGS[reason]) for reason in readiness.Reason)
    return table(("reason", "means"), rows)


def line_table() -> str:
    """Every kind of line of the diagnostics."""
    rows = (
        (
            code(event.name),
            event.component,
            ", ".join(each.value for each in event.severities),
            " ".join(code(name) for name in event.fields.split()),
            event.meaning,
            event.advice,
        )
        for event in lines.EVENTS
    )
    return table(("event", "component", "severity", "fields", "means", "what to do"), rows)


def line_fields() -> str:
    """The fields of these lines, and the parts that write them."""
    common = table(("in any line", "means"), ((code(n), m) for n, m in fields.COMMON.items()))
    own = table(
        ("field", "JSON", "means"),
        (
            (code(name), _shape_words(field), field.meaning)
            for name, field in fields.FIELDS.items()
        ),
    )
    parts = table(("component", "tells of"), fields.COMPONENTS.items())
    return f"{common}\n\n{own}\n\n{parts}"


def _shape_words(field: declared.Field) -> str:
    return (
        "array of strings"
        if field.shape is declared.Shape.TEXTS
        else " or ".join(field.shape.value)
    )
