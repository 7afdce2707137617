"""The tools that a request declares, each read in its own shape, and as a function.

The problem: clients of this API declare functions, custom tools that take free text, and
namespaces of both; some declare them among the items of the input. A worker knows functions alone.
So a custom tool becomes a function of one string, and what else its declaration says is put into
words. Tools that run elsewhere, such as `web_search`, are left out, and named to the client.

Under which names the model is offered them is said in `server.responses.request.offered`.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from engine import slices, worker
from machines import tooloptions
from machines.tools import freetext
from server.api.options import SearchOptions
from server.chat import request as chatbodies
from server.http import decoding, reading
from server.responses.request import input_items

INPUT_HINT: Final = (
    f"This tool takes free text: the argument `{freetext.ARGUMENT}` is that text, the whole of it "
    "and nothing around it."
)
"""Tells the model what a custom tool's function wants. Such tools often say of themselves that
their text must not be wrapped in JSON."""

GRAMMAR_HINTS: Final = {
    "lark": "The text must follow this Lark grammar:",
    "regex": "The text must match this regular expression:",
}
"""Stand before a custom tool's grammar, which no function can enforce, by its syntax."""

SEARCH: Final = "web_search"
"""How the types of a search of the web begin: there is one of each date that it changed at."""


class TextFormat(msgspec.Struct, tag_field="type", tag="text"):
    """`{"type": "text"}`: a custom tool takes any text."""


class GrammarFormat(msgspec.Struct, tag_field="type", tag="grammar"):
    """`{"type": "grammar", …}`: it takes a text that follows a grammar."""

    syntax: Literal["lark", "regex"]
    definition: str


class DeclaredCustom(msgspec.Struct):
    """A custom tool."""

    name: chatbodies.FunctionName
    description: str | None = None
    format: TextFormat | GrammarFormat | None = None


class DeclaredNamespace(msgspec.Struct):
    """A group of tools, whose names are their own in it."""

    name: chatbodies.FunctionName
    tools: Annotated[list[msgspec.Raw], Meta(max_length=chatbodies.TOOLS_MAX)]
    description: str | None = None


class ToolKind(msgspec.Struct):
    """The type of an entry of `tools`."""

    type: str


class Declared(msgspec.Struct, frozen=True):
    """A tool that the model can be offered.

    Attributes:
        path: of it in the request.
        shape: as the client declared it.
        function: the same as a function.
        has_grammar: whether its text shall follow a grammar, which is asked for in words.
    """

    path: str
    shape: tooloptions.ToolShape
    function: chatbodies.DeclaredFunction
    has_grammar: bool = False


class DeclaredSearch(msgspec.Struct):
    """A search of the web, which the worker itself may make."""

    external_web_access: bool | None = None
    filters: msgspec.Raw = decoding.ABSENT
    search_context_size: msgspec.Raw = decoding.ABSENT
    user_location: msgspec.Raw = decoding.ABSENT

    def options(self, path: str) -> SearchOptions:
        """Return what is asked for by it."""
        told = ("filters", "search_context_size", "user_location")
        unheard = (name for name in told if decoding.is_active(getattr(self, name)))
        access: worker.SearchAccess = "cached" if self.external_web_access is False else "live"
        return SearchOptions((path,), tuple(f"{path}.{name}" for name in unheard), access)


class DeclaredTools(msgspec.Struct, frozen=True):
    """A list of tools.

    Attributes:
        ignored: the paths of those that run elsewhere.
        search: the search of the web among them; the last one, and the paths of all.
    """

    tools: tuple[Declared, ...] = ()
    ignored: tuple[str, ...] = ()
    search: SearchOptions | None = None


def searching(first: SearchOptions | None, then: SearchOptions | None) -> SearchOptions | None:
    """Return the later of two, with the paths of both."""
    if first is None or then is None:
        return first or then
    paths, unheard = first.paths + then.paths, first.unheard + then.unheard
    return msgspec.structs.replace(then, paths=paths, unheard=unheard)


class _Entry(msgspec.Struct, frozen=True):
    """An entry of a list of tools, or of a namespace in it, before it is read.

    Attributes:
        hint: what the model is told of the namespace with its first tool.
    """

    path: str
    kind: str
    raw: msgspec.Raw
    namespace: str | None = None
    hint: str = ""


_kinds: Final[reading.Reader[ToolKind]] = reading.reader(ToolKind)
_functions: Final[reading.Reader[chatbodies.DeclaredFunction]] = reading.reader(
    chatbodies.DeclaredFunction
)
_customs: Final[reading.Reader[DeclaredCustom]] = reading.reader(DeclaredCustom)
_namespaces: Final[reading.Reader[DeclaredNamespace]] = reading.reader(DeclaredNamespace)
_searches: Final[reading.Reader[DeclaredSearch]] = reading.reader(DeclaredSearch)
_encode: Final = msgspec.json.encode

PARAMETERS: Final = {
    "type": msgspec.Raw(_encode("object")),
    "properties": msgspec.Raw(_encode({freetext.ARGUMENT: {"type": "string"}})),
    "required": msgspec.Raw(_encode([freetext.ARGUMENT])),
    "additionalProperties": msgspec.Raw(_encode(False)),
}
"""The schema of the function that stands for a custom tool."""


def read(tools: list[msgspec.Raw], path: str, limit: int) -> slices.Steps[DeclaredTools]:
    """Read a list of tools.

    Args:
        path: of the list in the request.
        limit: tools that it may have, those in namespaces counted with them.

    Raises:
        ApiError: with the field at fault, such as a name that is declared twice.
    """
    declared: dict[tuple[str | None, str], Declared] = {}
    ignored: list[str] = []
    search: SearchOptions | None = None
    for entry in (yield from _entries(tools, path, limit)):
        if entry.kind.startswith(SEARCH):
            wanted = yield from _searches.read(entry.raw, entry.path, limit, input_items.DEPTH)
            search = searching(search, wanted.options(entry.path))
            continue
        found = yield from _read(entry, limit)
        if found is None:
            ignored.append(entry.path)
            continue
        key = found.shape.namespace, found.shape.name
        if declared.setdefault(key, found) is not found:
            raise decoding.invalid(f"{found.path}.name", f"'{key[1]}' is declared twice")
        yield
    return DeclaredTools(tuple(declared.values()), tuple(ignored), search)


def among(
    items: Iterable[input_items.AnyItem], field: str | None, limit: int
) -> slices.Steps[DeclaredTools]:
    """Read the tools that items declare; of one that several declare the last counts.

    Args:
        field: of the request that the items stand in; None of items that were kept.

    Raises:
        ApiError: with the field at fault.
    """
    declared: list[Declared] = []
    ignored: list[str] = []
    search: SearchOptions | None = None
    for index, item in enumerate(items):
        if isinstance(item, input_items.AdditionalTools):
            path = "previous_response_id" if field is None else f"{field}[{index}].tools"
            found = yield from read(item.tools, path, limit)
            declared += found.tools
            ignored += found.ignored
            search = searching(search, found.search)
            decoding.check_count(path, len(declared), limit)
        yield
    return DeclaredTools(tuple(declared), tuple(ignored), search)


def _entries(tools: list[msgspec.Raw], path: str, limit: int) -> slices.Steps[list[_Entry]]:
    """Return the tools one by one, those of a namespace in its place."""
    found: list[_Entry] = []
    decoding.check_count(path, len(tools), limit)
    for index, raw in enumerate(tools):
        at = f"{path}[{index}]"
        kind = yield from _kinds.read(raw, at, limit, input_items.DEPTH)
        yield
        if kind.type != "namespace":
            found.append(_Entry(at, kind.type, raw))
            continue
        group = yield from _namespaces.read(raw, at, limit, input_items.DEPTH)
        decoding.check_count(f"{at}.tools", len(found) + len(group.tools), limit)
        hint = f"`{group.name}`: {group.description}" if group.description else ""
        for inner, tool in enumerate(group.tools):
            inside = f"{at}.tools[{inner}]"
            kind = yield from _kinds.read(tool, inside, limit, input_items.DEPTH)
            found.append(_Entry(inside, kind.type, tool, group.name, hint))
            hint = f"Also one of `{group.name}`." if hint else ""
            yield
    return found


def _read(entry: _Entry, limit: int) -> slices.Steps[Declared | None]:
    """Read one tool; None if it runs elsewhere."""
    where = (entry.raw, entry.path, limit, input_items.DEPTH)
    has_grammar = False
    if entry.kind == "function":
        function = yield from _functions.read(*where)
        shape = tooloptions.ToolShape(function.name, entry.namespace)
    elif entry.kind == "custom":
        custom = yield from _customs.read(*where)
        shape = tooloptions.ToolShape(custom.name, entry.namespace, "custom")
        has_grammar = isinstance(custom.format, GrammarFormat)
        function = _as_function(custom)
    else:
        return None
    if entry.hint:
        function.description = _paragraphs(function.description, entry.hint)
    return Declared(entry.path, shape, function, has_grammar)


def _as_function(custom: DeclaredCustom) -> chatbodies.DeclaredFunction:
    """Return the function that stands for a custom tool."""
    hints = [INPUT_HINT]
    if isinstance(custom.format, GrammarFormat):
        hints += [GRAMMAR_HINTS[custom.format.syntax], custom.format.definition]
    description = _paragraphs(custom.description, *hints)
    return chatbodies.DeclaredFunction(custom.name, description, PARAMETERS)


def _paragraphs(*texts: str | None) -> str:
    return worker.PARAGRAPH.join(filter(None, texts))
