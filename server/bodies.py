"""The body of a chat completion request: its shape, its limits, and what is done with each field.

`null` for an optional field means absent. A value of a wrong type is refused with the path of the
field; a field that no worker honours is accepted, and named to the client in a header.
"""

import re
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from server.errors import ApiError

T = TypeVar("T")

_MISSING: Final = "Object missing required field `{}`"
"""What msgspec says of it, for what no type can say."""


class TextContent(msgspec.Struct, tag_field="type", tag="text"):
    """`{"type": "text", "text": …}`."""

    text: str


class ImageUrl(msgspec.Struct):
    """Where an image is: a `data:` or `https:` URL. `detail` is not passed on."""

    url: str


class ImageContent(msgspec.Struct, tag_field="type", tag="image_url"):
    """`{"type": "image_url", "image_url": {"url": …}}`."""

    image_url: ImageUrl


class AudioContent(msgspec.Struct, tag_field="type", tag="input_audio"):
    """`{"type": "input_audio", …}`."""


class FileContent(msgspec.Struct, tag_field="type", tag="file"):
    """`{"type": "file", …}`."""


class RefusalContent(msgspec.Struct, tag_field="type", tag="refusal"):
    """`{"type": "refusal", "refusal": …}`, of an assistant message."""

    refusal: str


Content = TextContent | ImageContent | AudioContent | FileContent | RefusalContent


class CalledFunction(msgspec.Struct):
    """Name and exact argument string of a call in the history."""

    name: str
    arguments: str | None = None


class CalledCustom(msgspec.Struct):
    """Name and free-form input of a custom tool's call in the history."""

    name: str
    input: str | None = None


class ToolCall(msgspec.Struct):
    """A call an earlier assistant message made: of a function, or of a custom tool."""

    id: str
    function: CalledFunction | None = None
    custom: CalledCustom | None = None

    def __post_init__(self) -> None:
        if self.function is None and self.custom is None:
            raise ValueError(_MISSING.format("function"))


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


ABSENT: Final = msgspec.Raw(b"null")
"""In place of a raw value that is not there: msgspec reads `Raw | None` as None alone."""


class JsonSchema(msgspec.Struct):
    """`response_format.json_schema`; `schema` is passed on as it came."""

    name: str
    schema: msgspec.Raw = ABSENT


class ResponseFormat(msgspec.Struct):
    """`response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


FUNCTION_NAME_MAX: Final = 256
"""Characters of a function's name: above the API's own 64, which clients do not always keep."""

TOOLS_MAX: Final = 512
"""Functions a request may declare: above the API's own 128, which agents do not always keep."""

FunctionName = Annotated[str, Meta(min_length=1, max_length=FUNCTION_NAME_MAX)]


class DeclaredFunction(msgspec.Struct):
    """What the model may call.

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
    """An entry of a list of tools, of any type; only a function can be called."""

    type: str
    function: T | None = None

    def __post_init__(self) -> None:
        if self.type != "function":
            self.function = None
        elif self.function is None:
            raise ValueError(_MISSING.format("function"))


class NamedTool(msgspec.Struct, tag_field="type", tag="function"):
    """`{"type": "function", "function": {"name": …}}`: the one function to call."""

    function: NamedFunction


class AllowedTools(msgspec.Struct):
    """`tool_choice.allowed_tools`: which of the tools, and whether one must be called."""

    mode: Literal["auto", "required"]
    tools: list[ToolEntry[NamedFunction]]


class AllowedChoice(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    """`{"type": "allowed_tools", "allowed_tools": …}`."""

    allowed_tools: AllowedTools


ToolChoice = Literal["none", "auto", "required"] | NamedTool | AllowedChoice
FunctionChoice = Literal["none", "auto"] | NamedFunction

Penalty = Annotated[float, Meta(ge=-2, le=2)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ChatRequest(msgspec.Struct):
    """What the server reads of a request; everything else is named in `x-turntape-ignored`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Effort | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | None = None
    service_tier: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    audio: dict[str, Any] | None = None
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


IGNORED_FIELDS: Final = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
    "service_tier",
    "verbosity",
)
"""Checked, but not forwarded: Codex has no such setting."""

STOP_MAX: Final = 1024
"""Characters of a stop sequence: text is held back for up to as many."""

IGNORED_MAX: Final = 20
"""Names in `x-turntape-ignored` at most: a header must stay a header."""

_FIELD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_COMPLAINT: Final = re.compile(r"^(?P<text>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_decoder: Final = msgspec.json.Decoder(ChatRequest)
_fields_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse(body: bytes) -> tuple[ChatRequest, tuple[str, ...]]:
    """The request, and the names of its active fields that nothing honours.

    Raises:
        ApiError: `invalid_json`, `model_required`, `unsupported_parameter`, or `invalid_request`
            with the path of the field at fault.
    """
    fields = decode(_fields_decoder, body)
    request = decode(_decoder, body)
    model_of(request.model)
    _refuse_unsupported(request)
    return request, _ignored(fields)


def stop_sequences(request: ChatRequest) -> tuple[str, ...]:
    """`stop` as a tuple.

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


def output_schema(request: ChatRequest) -> msgspec.Raw | None:
    """The JSON schema the answer must follow.

    Raises:
        ApiError: for `json_schema` without one.
    """
    wanted = request.response_format
    if wanted is None or wanted.type != "json_schema":
        return None
    if wanted.json_schema is None or bytes(wanted.json_schema.schema) == bytes(ABSENT):
        path = "response_format.json_schema"
        raise ApiError("invalid_request", f"Missing required parameter: '{path}'.", path)
    return wanted.json_schema.schema


def model_of(model: str | None) -> str:
    """The model that was named.

    Raises:
        ApiError: `model_required`.
    """
    if not model:
        raise ApiError("model_required", "You must provide a model parameter.", "model")
    return model


def wants_usage(stream: bool | None, options: StreamOptions | None) -> bool:
    """Whether a stream shall have a usage chunk."""
    return bool(stream and options and options.include_usage)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """A body as the decoder's type.

    Raises:
        ApiError: `invalid_json`, or `invalid_request` with the path of the field at fault.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except msgspec.DecodeError:
        message = "The body could not be parsed as JSON."
    except UnicodeDecodeError:
        message = "The body is not valid UTF-8."
    except RecursionError:
        message = "The body is nested too deeply."
    raise ApiError("invalid_json", message)


def _invalid(text: str) -> ApiError:
    """`Expected `str`, got `int` - at `$.messages[2].role`` as the API would say it."""
    match = _COMPLAINT.match(text)
    assert match is not None
    path = match["path"] or ""
    missing = re.search(r"missing required field `(\w+)`", match["text"])
    if missing:
        path = f"{path}.{missing[1]}".lstrip(".")
        return ApiError("invalid_request", f"Missing required parameter: '{path}'.", path)
    if not path:
        return ApiError("invalid_json", "The body must be a JSON object.")
    message = f"Invalid value for '{path}': {match['text'][:1].lower()}{match['text'][1:]}."
    return ApiError("invalid_request", message.replace("`", "'"), path)


def _refuse_unsupported(request: ChatRequest) -> None:
    active = {
        "logprobs": bool(request.logprobs),
        "top_logprobs": bool(request.top_logprobs),
        "audio": request.audio is not None,
        "modalities": request.modalities not in (None, [], ["text"]),
    }
    for name, is_active in active.items():
        if is_active:
            message = f"Unsupported parameter: '{name}' is not supported by this server."
            raise ApiError("unsupported_parameter", message, name)


def _ignored(fields: dict[str, msgspec.Raw]) -> tuple[str, ...]:
    known = set(ChatRequest.__struct_fields__) - set(IGNORED_FIELDS)
    names = (
        name
        for name, value in fields.items()
        if name not in known and bytes(value) != b"null" and _FIELD_NAME.fullmatch(name)
    )
    return tuple(names)[:IGNORED_MAX]
