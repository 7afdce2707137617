"""The body of a Responses request: its shape, its limits, and what is done with each field.

`null` for an optional field means absent. A value of a wrong type is refused with the path of the
field; a field or an item that nothing honours is accepted, and named to the client in a header.
"""

import functools
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from engine import slices
from engine.routing import models
from server.api.options import SearchOptions
from server.chat import request as chatbodies
from server.http import decoding, reading
from server.http.errors import ApiError
from server.responses.request import declarations, input_items, offered as offers


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_obfuscation: bool | None = None


class Reasoning(msgspec.Struct):
    """`reasoning`: the model's effort, and what is shown of its thinking."""

    effort: models.Effort | None = None
    summary: Literal["auto", "concise", "detailed", "none"] | None = None


class TextFormat(msgspec.Struct, tag_field="type", tag="text"):
    """`{"type": "text"}`: any text."""


class JsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    """`{"type": "json_object"}`: any JSON object."""


class JsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    """`{"type": "json_schema", …}`: JSON by a schema, which is passed on as it came."""

    name: str
    schema: msgspec.Raw
    description: str | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        if not decoding.is_active(self.schema):
            raise decoding.Missing("schema")


class TextOptions(msgspec.Struct):
    """`text`: the form of the answer."""

    format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    verbosity: models.Verbosity | None = None


class NamedTool(msgspec.Struct):
    """An entry of `tool_choice.tools`: a tool, or all of a namespace."""

    type: str
    name: str | None = None
    namespace: str | None = None

    def __post_init__(self) -> None:
        if self.type in CALLABLE and self.name is None:
            raise decoding.Missing("name")


CALLABLE: Final = ("function", "custom", "namespace")
"""The types of tools that can be called here. Those of other types run elsewhere."""

LOGPROBS: Final = "message.output_text.logprobs"
"""The member of `include` by which a text is shown with its tokens."""

_NEEDED: Final = {
    "function": ("name",),
    "custom": ("name",),
    "allowed_tools": ("mode", "tools"),
}
"""The members that a choice of each type must have."""


class ToolChoice(msgspec.Struct):
    """`tool_choice`, where it is an object.

    Attributes:
        name: of a `function`, or a `custom` tool.
        namespace: that it is declared in.
        mode: of `allowed_tools`, as are `tools`.
    """

    type: str
    name: chatbodies.FunctionName | None = None
    namespace: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[NamedTool] | None = None

    def __post_init__(self) -> None:
        for field in _NEEDED.get(self.type, ()):
            if getattr(self, field) is None:
                raise decoding.Missing(field)


class Fields(msgspec.Struct):
    """The members of a request that the server reads; every other is named in
    `x-turntape-ignored`."""

    model: str | None = None
    input: str | list[msgspec.Raw] | None = None
    instructions: str | list[msgspec.Raw] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[msgspec.Raw], Meta(max_length=chatbodies.TOOLS_MAX)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: int | None = None
    truncation: Literal["auto", "disabled"] | None = None
    max_tool_calls: int | None = None
    service_tier: str | None = None
    metadata: dict[str, str] | None = None
    include: list[str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    conversation: msgspec.Raw = decoding.ABSENT
    prompt: msgspec.Raw = decoding.ABSENT
    modalities: list[str] | None = None


class ResponsesRequest(Fields):
    """A request whose input, instructions and tools have been read.

    Attributes:
        items: the input, one for one; a text alone is a user's message.
        prologue: the instructions; a text alone is a developer's message.
        declared: the tools, those that stand among the instructions and the items behind the
            others.
        search: the search of the web among them.
        offered: the same, as the model is offered them.
    """

    items: tuple[input_items.AnyItem, ...] = ()
    prologue: tuple[input_items.AnyItem, ...] = ()
    declared: tuple[declarations.Declared, ...] = ()
    search: SearchOptions | None = None
    offered: offers.OfferedTools = offers.OfferedTools()


_reader: Final[reading.Reader[Fields]] = reading.reader(Fields)


def parse(
    members: reading.Members, limit: int
) -> slices.Steps[tuple[ResponsesRequest, tuple[str, ...]]]:
    """Read a request, and the names of its active fields, items and tools that nothing honours.

    Args:
        limit: `PROXY_MAX_INPUT_ITEMS`, for items, parts and tools, each by itself.

    Raises:
        ApiError: `invalid_json`, `model_required`, `unsupported_parameter`,
            `array_above_max_length`, or `invalid_request` with the path of the field at fault.
    """
    fields = yield from _reader.from_members(members, limit)
    decoding.model_of(fields.model)
    _refuse_unsupported(fields)
    if not fields.input and fields.input != "" and fields.previous_response_id is None:
        raise decoding.missing("input")
    unshown: list[str] = []
    items = yield from _items(fields.input, "input", "user", limit, unshown)
    instructions = fields.instructions or None
    prologue = yield from _items(instructions, "instructions", "developer", limit, unshown)
    tools = yield from declarations.read(fields.tools or [], "tools", limit)
    told = yield from declarations.among(prologue, "instructions", limit)
    found = yield from declarations.among(items, "input", limit)
    declared = (*tools.tools, *told.tools, *found.tools)
    request = ResponsesRequest(
        **msgspec.structs.asdict(fields),
        items=tuple(items),
        prologue=tuple(prologue),
        declared=declared,
        search=functools.reduce(declarations.searching, (tools.search, told.search, found.search)),
        offered=offers.offer(declared),
    )
    ignored = (
        *decoding.unknown(members, Fields.__struct_fields__),
        *tools.ignored,
        *told.ignored,
        *found.ignored,
        *_unknown_choices(fields.tool_choice),
        *unshown,
    )
    return request, ignored[: decoding.IGNORED_MAX]


Author = Literal["user", "developer"]
"""The author of a text that stands alone as an input, or as the instructions."""


def _items(
    given: str | list[msgspec.Raw] | None,
    field: str,
    role: Author,
    limit: int,
    unshown: list[str],
) -> slices.Steps[list[input_items.AnyItem]]:
    """Return the items of a field; the paths of those that nothing honours are added to
    `unshown`."""
    if isinstance(given, str):
        return [input_items.Message(role=role, content=given)]
    found: list[input_items.AnyItem] = []
    parts = 0
    decoding.check_count(field, len(given or ()), limit)
    for index, raw in enumerate(given or ()):
        path = f"{field}[{index}]"
        item = yield from input_items.read(raw, path, limit)
        found.append(item)
        if isinstance(item, input_items.Unshown):
            unshown.append(path)
        if field != "input" and isinstance(item, input_items.ItemReference):
            raise decoding.invalid(f"{path}.type", "only the input may refer to items")
        for inner, count in input_items.part_counts(item):
            parts += count
            decoding.check_count(f"{path}.{inner}", parts, limit)
        yield
    return found


def carried(
    request: ResponsesRequest, earlier: list[input_items.AnyItem], limit: int
) -> slices.Steps[ResponsesRequest]:
    """Return a request with the tools that earlier items of its conversation declare, which it may
    declare anew.

    Raises:
        ApiError: for one that cannot be read again.
    """
    found = yield from declarations.among(earlier, None, limit)
    if not found.tools:
        return request
    declared = (*found.tools, *request.declared)
    return msgspec.structs.replace(request, declared=declared, offered=offers.offer(declared))


def _unknown_choices(choice: str | ToolChoice | None) -> Iterator[str]:
    """Yield the paths of tools that may be chosen and run elsewhere."""
    allowed = choice.tools if isinstance(choice, ToolChoice) else None
    for index, tool in enumerate(allowed or ()):
        if tool.type not in CALLABLE and not tool.type.startswith(declarations.SEARCH):
            yield f"tool_choice.tools[{index}]"


def _refuse_unsupported(fields: Fields) -> None:
    if decoding.is_active(fields.conversation) and fields.previous_response_id is not None:
        message = (
            "Mutually exclusive parameters: Ensure you are only providing one of: "
            "'previous_response_id' or 'conversation'."
        )
        raise ApiError("invalid_request", message, "previous_response_id")
    active = {
        "conversation": decoding.is_active(fields.conversation),
        "prompt": decoding.is_active(fields.prompt),
        "modalities": fields.modalities not in (None, [], ["text"]),
    }
    for name, is_active in active.items():
        if is_active:
            raise decoding.unsupported(name)
    choice = fields.tool_choice
    if isinstance(choice, ToolChoice) and choice.type not in _NEEDED:
        kind = choice.type[:100]
        message = f"Unsupported value for 'tool_choice': no tools of type '{kind}' here."
        raise ApiError("unsupported_parameter", message, "tool_choice")
