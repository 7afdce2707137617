"""The body of a chat completion request: its shape, its limits, and what is done with each field.

`null` for an optional field means absent. A value of a wrong type is refused with the path of the
field; a field that no worker honours is accepted, and named to the client in a header.
"""

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from engine import slices
from engine.routing import models
from server.api import answerform
from server.http import decoding, reading
from server.http.errors import ApiError

T = TypeVar("T")


class TextContent(msgspec.Struct, tag_field="type", tag="text"):
    """`{"type": "text", "text": …}`."""

    text: str


class ImageUrl(msgspec.Struct):
    """The place of an image: a `data:` or `https:` URL. `detail` is not passed on."""

    url: str


class ImageContent(msgspec.Struct, tag_field="type", tag="image_url"):
    """`{"type": "image_url", "image_url": {"url": …}}`; some clients send the URL alone."""

    image_url: ImageUrl | str

    @property
    def url(self) -> str:
        """The place of the image, however it was written."""
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url


class AudioContent(msgspec.Struct, tag_field="type", tag="input_audio"):
    """`{"type": "input_audio", …}`."""


class FileContent(msgspec.Struct, tag_field="type", tag="file"):
    """`{"type": "file", …}`."""


class RefusalContent(msgspec.Struct, tag_field="type", tag="refusal"):
    """`{"type": "refusal", "refusal": …}`, of an assistant message."""

    refusal: str


class ThinkingContent(msgspec.Struct, tag_field="type", tag="thinking"):
    """`{"type": "thinking", …}`: what a model of another provider thought, as Mistral has it. The
    model of this one is not shown it, and it is named as ignored."""


ShownContent = TextContent | ImageContent | AudioContent | FileContent | RefusalContent
Content = ShownContent | ThinkingContent


class CalledFunction(msgspec.Struct):
    """The name and the exact argument string of a call in the history."""

    name: str
    arguments: str | None = None


class CalledCustom(msgspec.Struct):
    """The name and the free-form input of a custom tool's call in the history."""

    name: str
    input: str | None = None


class ToolCall(msgspec.Struct):
    """A call that an earlier assistant message made: of a function, or of a custom tool."""

    id: str
    function: CalledFunction | None = None
    custom: CalledCustom | None = None

    def __post_init__(self) -> None:
        if self.function is None and self.custom is None:
            raise decoding.Missing("function")


class ChatMessage(msgspec.Struct):
    """One message of `messages`."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Content] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: CalledFunction | None = None
    tool_call_id: str | None = None
    refusal: str | None = None


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class JsonSchema(msgspec.Struct):
    """`response_format.json_schema`; `schema` is passed on as it came."""

    name: str
    schema: msgspec.Raw = decoding.ABSENT
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """`response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


FUNCTION_NAME_MAX: Final = 256
"""Most characters of a function's name: more than the API's own 64, which clients do not always
keep."""

TOOLS_MAX: Final = 512
"""Most functions that a request may declare: more than the API's own 128, which agents do not
always keep."""

FunctionName = Annotated[str, Meta(min_length=1, max_length=FUNCTION_NAME_MAX)]


class DeclaredFunction(msgspec.Struct):
    """A function that the model may call.

    Attributes:
        parameters: a JSON schema, its values kept as they came.
        strict: checked, but not forwarded: Codex has no such setting.
    """

    name: FunctionName
    description: str | None = None
    parameters: dict[str, msgspec.Raw] | None = None
    strict: bool | None = None


class NamedFunction(msgspec.Struct):
    """`{"name": …}`: the one function to call."""

    name: FunctionName


class ToolEntry(msgspec.Struct, Generic[T]):
    """An entry of a list of tools, of any type; only a function can be called.

    Attributes:
        type: None where the function alone says what it is, as some clients have it.
    """

    type: str | None = None
    function: T | None = None

    def __post_init__(self) -> None:
        if self.type is None and self.function is None:
            raise decoding.Missing("type")
        if self.type not in (None, "function"):
            self.function = None
        elif self.function is None:
            raise decoding.Missing("function")


class NamedTool(msgspec.Struct, tag_field="type", tag="function"):
    """`{"type": "function", "function": {"name": …}}`: the one function to call."""

    function: NamedFunction


class AllowedTools(msgspec.Struct):
    """`tool_choice.allowed_tools`: the tools that may be called, and whether one must be."""

    mode: Literal["auto", "required"]
    tools: list[ToolEntry[NamedFunction]]


class AllowedChoice(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    """`{"type": "allowed_tools", "allowed_tools": …}`."""

    allowed_tools: AllowedTools


ToolChoice = Literal["none", "auto", "required", "any"] | NamedTool | AllowedChoice
"""How to choose among the tools; `any` is Mistral's word for `required`."""

FunctionChoice = Literal["none", "auto"] | NamedFunction

Penalty = Annotated[float, Meta(ge=-2, le=2)]


class AudioOptions(msgspec.Struct):
    """`audio`: the sound of an answer. It is refused, whatever is in it."""


class ChatRequest(msgspec.Struct):
    """The members of a request that the server reads; every other is named in
    `x-turntape-ignored`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: models.Effort | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | None = None
    service_tier: str | None = None
    verbosity: models.Verbosity | None = None
    web_search_options: dict[str, msgspec.Raw] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    audio: AudioOptions | None = None
    modalities: list[str] | None = None
    tools: Annotated[list[ToolEntry[DeclaredFunction]], Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: ToolChoice | None = None
    functions: Annotated[list[DeclaredFunction], Meta(max_length=TOOLS_MAX)] | None = None
    function_call: FunctionChoice | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


IGNORED_FIELDS: Final = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
)
"""Fields that are checked and not forwarded: Codex has no such setting."""

STOP_MAX: Final = 1024
"""Most characters of a stop sequence: text is held back for up to as many."""

TWINS: Final = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
"""Pairs of fields with one meaning: a request that has one needs no default for the other."""

_reader: Final = reading.reader(ChatRequest)
_model: Final = msgspec.json.Decoder(str)


def parse(
    members: reading.Members, limit: int
) -> slices.Steps[tuple[ChatRequest, tuple[str, ...]]]:
    """Read a request, and the names of its active fields that nothing honours.

    Args:
        limit: `PROXY_MAX_INPUT_ITEMS`, for each array.

    Raises:
        ApiError: `invalid_json`, `model_required`, `unsupported_parameter`,
            `array_above_max_length`, or `invalid_request` with the path of the field at fault.
    """
    request = yield from _reader.from_members(members, limit)
    decoding.model_of(request.model)
    _refuse_unsupported(request)
    for field in ("messages", "tools", "functions"):
        decoding.check_count(field, len(getattr(request, field) or ()), limit)
    known = set(ChatRequest.__struct_fields__) - set(IGNORED_FIELDS)
    return request, decoding.unknown(members, known)


def stop_sequences(request: ChatRequest) -> tuple[str, ...]:
    """Return `stop` as a tuple.

    Raises:
        ApiError: for an empty sequence, which would end every answer before it began, and for one
            that is longer than `STOP_MAX`.
    """
    stop = request.stop
    sequences = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in sequences:
        raise ApiError("invalid_request", "A stop sequence must not be empty.", "stop")
    if any(len(sequence) > STOP_MAX for sequence in sequences):
        message = f"A stop sequence must have at most {STOP_MAX} characters."
        raise ApiError("invalid_request", message, "stop")
    return sequences


def answer_form(request: ChatRequest) -> slices.Steps[answerform.AnswerForm]:
    """Return the form that the answer must have.

    Raises:
        ApiError: for `json_schema` without one.
    """
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return answerform.FREE
    if wanted.type == "json_object":
        return answerform.JSON_OBJECT
    named = wanted.json_schema
    if named is None or not decoding.is_active(named.schema):
        raise decoding.missing("response_format.json_schema")
    return (yield from answerform.by_schema(named.schema, named.strict))


def model_named(members: reading.Members) -> str:
    """Return the model of a request that may be wrong in any way; empty where none can be
    found."""
    try:
        # What is wrong with another value is not asked for: to find it takes reading all of it.
        return decoding.decode_outer(_model, members.get("model", decoding.ABSENT))
    except ApiError:
        return ""


def with_defaults(members: reading.Members, defaults: Mapping[str, Any]) -> reading.Members:
    """Fill in the fields that a request leaves out."""
    if not defaults:
        return members
    given = {name for name, value in members.items() if decoding.is_active(value)}
    given |= {twin for name, twin in TWINS.items() if name in given}
    missing = {
        name: msgspec.Raw(msgspec.json.encode(value))
        for name, value in defaults.items()
        if name not in given
    }
    return {**members, **missing}


def default_problem(field: str, value: Any, worker: str) -> str | None:
    """Explain why no request to a worker of turns could be given this default; None if it could.

    Args:
        worker: the name of the worker, for the text.
    """
    request = {"model": "m", "messages": [{"role": "user"}], field: value}
    members = {name: msgspec.Raw(msgspec.json.encode(each)) for name, each in request.items()}
    try:
        ignored = slices.at_once(parse(members, sys.maxsize))[1]
    except ApiError as error:
        return error.message
    return f"the {worker} worker has no such setting" if ignored else None


def wants_usage(stream: bool | None, options: StreamOptions | None) -> bool:
    """Return whether a stream shall have a usage chunk."""
    return bool(stream and options and options.include_usage)


def _refuse_unsupported(request: ChatRequest) -> None:
    active = {
        "logprobs": bool(request.logprobs),
        "top_logprobs": bool(request.top_logprobs),
        "audio": request.audio is not None,
        "modalities": request.modalities not in (None, [], ["text"]),
    }
    for name, is_active in active.items():
        if is_active:
            raise decoding.unsupported(name)
