"""The items that a request's input, and what is kept of a conversation, consist of.

Clients write them in many ways: messages without a type, references with nothing but an id, the
items of an answer as it came. Every one of them is read as one of these.

None refers to what refers to it, so the cyclic collector is not to look at them (`gc=False`): of
tens of thousands a full collection would hold the loop.
"""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from engine import slices
from machines import parse
from server.chat import request as chatbodies
from server.http import decoding, reading


class InputText(msgspec.Struct, gc=False, tag_field="type", tag="input_text"):
    """A text for the model."""

    text: str


class OutputText(msgspec.Struct, gc=False, tag_field="type", tag="output_text"):
    """A text of the model."""

    text: str
    annotations: list[msgspec.Raw] | None = None


class PlainText(msgspec.Struct, gc=False, tag_field="type", tag="text"):
    """A text as Chat Completions has it, which many clients send here too."""

    text: str


class Refusal(msgspec.Struct, gc=False, tag_field="type", tag="refusal"):
    """The model's words with which it refused to answer."""

    refusal: str


class InputImage(
    msgspec.Struct, gc=False, tag_field="type", tag="input_image", omit_defaults=True
):
    """An image, by its URL or by a file's id."""

    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None

    def __post_init__(self) -> None:
        if self.image_url is None and self.file_id is None:
            raise decoding.Missing("image_url")


class InputFile(msgspec.Struct, gc=False, tag_field="type", tag="input_file", omit_defaults=True):
    """A file, by its content, its URL or its id."""

    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


class InputAudio(msgspec.Struct, gc=False, tag_field="type", tag="input_audio"):
    """A recording: its data and its format."""

    input_audio: dict[str, msgspec.Raw]


Text = InputText | OutputText | PlainText
Part = Text | Refusal | InputImage | InputFile | InputAudio


class SummaryText(msgspec.Struct, gc=False, tag_field="type", tag="summary_text"):
    """A part of a summary of the model's thinking."""

    text: str


class ReasoningText(msgspec.Struct, gc=False, tag_field="type", tag="reasoning_text"):
    """A part of the model's thinking itself."""

    text: str


class Item(msgspec.Struct, gc=False, omit_defaults=True, kw_only=True):
    """The members that every item may have."""

    id: str | None = None
    status: str | None = None


class Message(Item, tag_field="type", tag="message"):
    """A message of the user, the developer, the system or the model.

    Attributes:
        phase: of the model's own: whether it is `commentary` or the `final_answer`.
    """

    role: Literal["user", "system", "developer", "assistant"]
    content: str | list[Part]
    phase: str | None = None


class FunctionCall(Item, tag_field="type", tag="function_call"):
    """A call of a function; `arguments` is the exact JSON string.

    Attributes:
        namespace: that the function was declared in.
    """

    call_id: str
    name: str
    arguments: str
    namespace: str | None = None


class FunctionCallOutput(Item, tag_field="type", tag="function_call_output"):
    """The result of a function call.

    Attributes:
        call_id: None of what a tool said unasked; `name` is then the tool's.
    """

    output: str | list[Part]
    call_id: str | None = None
    name: str | None = None


class CustomCall(Item, tag_field="type", tag="custom_tool_call"):
    """A call of a tool that takes free text.

    Attributes:
        namespace: that the tool was declared in.
    """

    call_id: str
    name: str
    input: str
    namespace: str | None = None


class CustomCallOutput(Item, tag_field="type", tag="custom_tool_call_output"):
    """The result of such a call."""

    call_id: str
    output: str | list[Part]


class Reasoning(Item, tag_field="type", tag="reasoning"):
    """A reasoning item: a summary for the reader, and the encrypted whole for its provider."""

    summary: list[SummaryText] | None = None
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None


class Compaction(Item, tag_field="type", tag="compaction"):
    """A conversation so far, as only its provider can read it."""

    encrypted_content: str


class AdditionalTools(
    msgspec.Struct, gc=False, omit_defaults=True, tag_field="type", tag="additional_tools"
):
    """Tools that are declared in the middle of a conversation, or before it.

    Attributes:
        tools: as they came; `server.responses.request.declarations` reads them.
    """

    tools: Annotated[list[msgspec.Raw], Meta(max_length=chatbodies.TOOLS_MAX)]
    id: str | None = None
    role: str | None = None


class ItemReference(msgspec.Struct, gc=False, tag_field="type", tag="item_reference"):
    """An item that was kept, by its id."""

    id: str


class Unshown(msgspec.Struct, gc=False, tag_field="type", tag="unshown"):
    """An item of a tool that the model is not shown here, kept as it came."""

    item: msgspec.Raw


AnyItem = (
    Message
    | FunctionCall
    | FunctionCallOutput
    | CustomCall
    | CustomCallOutput
    | Reasoning
    | Compaction
    | AdditionalTools
    | ItemReference
    | Unshown
)

HOSTED: Final = frozenset(
    (
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "computer_call",
        "computer_call_output",
        "file_search_call",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    )
)
"""The types of items of tools that run elsewhere. Source: the input items that the SDK types,
without those that ask for something. No answer of this server has any, so they come from
conversations that began with another."""


class _Kind(msgspec.Struct):
    """The members that tell the type of an item."""

    type: str | msgspec.UnsetType | None = msgspec.UNSET
    role: msgspec.Raw = decoding.ABSENT
    id: msgspec.Raw = decoding.ABSENT


DEPTH: Final = parse.MAX_DEPTH - 2
"""Levels that an item may have: the body and its input stand around it."""

_kinds: Final[reading.Reader[_Kind]] = reading.reader(_Kind)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_readers: Final[dict[str, reading.Reader[AnyItem]]] = {
    "message": reading.reader(Message),
    "function_call": reading.reader(FunctionCall),
    "function_call_output": reading.reader(FunctionCallOutput),
    "custom_tool_call": reading.reader(CustomCall),
    "custom_tool_call_output": reading.reader(CustomCallOutput),
    "reasoning": reading.reader(Reasoning),
    "compaction": reading.reader(Compaction),
    "additional_tools": reading.reader(AdditionalTools),
    "item_reference": reading.reader(ItemReference),
}


def read(raw: msgspec.Raw, path: str, limit: int) -> slices.Steps[AnyItem]:
    """Read one item, whichever it is.

    Args:
        path: where it stands in the request.
        limit: parts that it may have.

    Raises:
        ApiError: with the path of the field at fault.
    """
    kind = yield from _kinds.read(raw, path, limit, DEPTH)
    if kind.type is None:  # no type is as good as none
        fields = decoding.decode_outer(_fields, raw)
        raw = msgspec.Raw(msgspec.json.encode({k: v for k, v in fields.items() if k != "type"}))
    name = kind.type or _untyped(kind)
    if name is None:
        raise decoding.missing(f"{path}.type")
    if name in HOSTED:
        return Unshown(raw)
    reader = _readers.get(name)
    if reader is None:
        raise decoding.invalid(f"{path}.type", f"there are no items of type '{name[:100]}' here")
    return (yield from reader.read(raw, path, limit, DEPTH))


def part_counts(item: AnyItem) -> Iterator[tuple[str, int]]:
    """Yield how many parts an item has, by the field that they stand in."""
    for field in ("content", "output", "summary"):
        parts = getattr(item, field, None)
        if isinstance(parts, list):
            yield field, len(parts)


def _untyped(kind: _Kind) -> str | None:
    """Return the type of an item that does not name one."""
    if decoding.is_active(kind.role):
        return "message"
    return "item_reference" if decoding.is_active(kind.id) else None
