"""Requests and answers beside the types of the one SDK version that the tests are pinned to.

When the pin moves, what the SDK has learned shows up here: a field of requests that nobody reads,
a member of an answer that is not sent, an event. Look at each, then honour it or add its name.
"""

import collections
import tomllib
import typing
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Final

import pydantic
import pytest
from openai.types import responses
from openai.types.responses import response_create_params as params
from pydantic.fields import FieldInfo

from machines.events import Usage
from machines.outputs import (
    Content,
    Done,
    Failure,
    Finish,
    Reasoning,
    ReasoningDone,
    Refusal,
    ToolArguments,
    ToolCall,
    UsageTotals,
)
from server.responses.request import body as responsesbodies
from tests.server.responses.opening import BEGUN, COUNTED, END, render, requested
from tests.support.client import responseswire
from tests.support.process import readme

Model = type[pydantic.BaseModel]

Sightings = dict[Model, list[set[str]]]
"""The members of every object that was sent, by its model."""

UNREAD: Final = {
    "access_programs",
    "background_options",
    "context_management",
    "image",
    "moderation",
    "prompt_cache_options",
    "prompt_cache_retention",
}
"""Fields of a request that are ignored, and named in `x-turntape-ignored`."""

CLIENTS_OWN: Final = {"modalities"}
"""Fields that are read, though this API has no such field: clients carry them over from chat."""

BEYOND: Final = {
    "Response": {"store", "presence_penalty", "frequency_penalty"},
    "ResponseErrorEvent": {"error"},
    "ResponseFunctionCallArgumentsDoneEvent": {"name"},
}
"""Members that are sent although the type does not have them: Open Responses requires those of the
response, `error` is for clients that read it nested, `name` is in the API's reference."""

UNSENT: Final = {
    "Response": {
        "access_programs",
        "conversation",
        "image",
        "input_transformations",
        "moderation",
        "prompt",
        "prompt_cache_diagnostics",
        "prompt_cache_options",
        "prompt_cache_retention",
        "tool_usage",
    },
    "ResponseError": {"misalignment"},
    "Reasoning": {"context", "generate_summary", "mode"},
    "FunctionTool": {"allowed_callers", "async", "defer_loading", "output_schema"},
    "InputTokensDetails": {"cache_write_tokens_details"},
    "ResponseOutputMessage": {"phase"},
    "ResponseFunctionToolCall": {"async", "caller", "namespace"},
    "ResponseReasoningItem": {"status"},
    "ResponseReasoningSummaryPartDoneEvent": {"status"},
}
"""Members that a type has, and that are sent only if the request or the provider has them, or
never."""

ELSEWHERE: Final = {
    "audio",
    "code_interpreter_call",
    "code_interpreter_call_code",
    "compaction",
    "custom_tool_call_input",
    "file_search_call",
    "image_generation_call",
    "mcp_call",
    "mcp_call_arguments",
    "mcp_list_tools",
    "shell_call_command",
    "shell_call_output_content",
    "web_search_call",
}
"""What events tell of that no answer here has."""

UNTOLD: Final = {"response.output_text.annotation.added", "response.queued"}
"""Other events that are never sent: no text is annotated, nothing waits in a queue."""

TOOL: Final = {"type": "function", "name": "f", "parameters": {}, "strict": True}

REQUEST: Final = requested(
    model="m", tools=[TOOL], metadata={"a": "b"}, include=["reasoning.encrypted_content"]
)

STORIES: Final = (
    (
        *BEGUN,
        Reasoning("Hm.", kind="summary"),
        ReasoningDone("sealed"),
        Reasoning("I think.", kind="text"),
        Content("Hello."),
        ToolCall(0, "call_1", "f", ""),
        ToolArguments(0, "{}"),
        *END,
    ),
    (*BEGUN, Refusal("No."), *END),
    (*BEGUN, Content("Hel"), Finish("length"), *COUNTED),
    (*BEGUN, Content("Hel"), Failure("upstream_error", "It failed.")),
    (*BEGUN, Content("Hi"), Finish("stop"), UsageTotals(Usage(1, 2, 3, 4)), Done()),
)
"""Streams with everything in them that a stream may have."""


def sent() -> Iterator[dict[str, Any]]:
    """The events of the stories."""
    for story in STORIES:
        yield from responseswire.whole(render(*story, request=REQUEST)[0])


def event_models() -> dict[str, Model]:
    """The SDK's events by their names."""
    union = typing.get_args(responses.ResponseStreamEvent)[0]
    return {kind_of(model): model for model in typing.get_args(union)}


def fields(model: Model) -> dict[str, FieldInfo]:
    """The members of a model, as they are called in JSON."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def kind_of(model: Model) -> str:
    """The one value of a model's `type`; empty if it has none."""
    field = model.model_fields.get("type")
    literals = typing.get_args(field.annotation) if field is not None else ()
    return str(literals[0]) if len(literals) == 1 else ""


def models_in(annotation: Any) -> Iterator[Model]:
    """The models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    elif typing.get_origin(annotation) is not typing.Literal:
        for argument in typing.get_args(annotation):
            yield from models_in(argument)


def walk(value: Any, model: Model) -> Iterator[tuple[Model, set[str]]]:
    """Every object within a value: its model, and the members it has."""
    yield model, set(value)
    for name, field in fields(model).items():
        inner = value.get(name)
        for each in inner if isinstance(inner, list) else [inner]:
            if isinstance(each, dict):
                found = [one for one in models_in(field.annotation) if fits(each, one)]
                if found:
                    yield from walk(each, found[0])


def fits(value: dict[str, Any], model: Model) -> bool:
    """Whether an object says that it is of a model."""
    return kind_of(model) in ("", value.get("type"))


@pytest.fixture(scope="module")
def seen() -> Sightings:
    """The members of every object that was sent, by its model."""
    found: Sightings = collections.defaultdict(list)
    for event in sent():
        for model, members in walk(event, event_models()[event["type"]]):
            found[model].append(members)
    return found


def test_the_pin_is_what_is_installed() -> None:
    project = tomllib.loads((readme.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = [each for each in project["optional-dependencies"]["test"] if "openai" in each]
    assert pins == [f"openai=={metadata.version('openai')}"]


def test_every_field_of_a_request_is_read_or_known() -> None:
    known = set(params.ResponseCreateParamsBase.__annotations__) | {"stream"}
    read = set(responsesbodies.Fields.__struct_fields__)
    assert read - known == CLIENTS_OWN
    assert known - read == UNREAD


def test_no_required_member_is_missing(seen: Sightings) -> None:
    for model, sightings in seen.items():
        required = {name for name, field in fields(model).items() if field.is_required()}
        for members in sightings:
            assert required <= members, model.__name__


def test_every_member_is_sent_or_known(seen: Sightings) -> None:
    beyond: dict[str, set[str]] = {}
    unsent: dict[str, set[str]] = {}
    for model, sightings in seen.items():
        members, known = set().union(*sightings), set(fields(model))
        for found, names in ((beyond, members - known), (unsent, known - members)):
            if names:
                found[model.__name__] = names | found.get(model.__name__, set())
    assert beyond == BEYOND
    assert unsent == UNSENT


def test_every_event_is_sent_or_known() -> None:
    untold = set(event_models()) - {event["type"] for event in sent()}
    assert {name for name in untold if name.split(".")[1] not in ELSEWHERE} == UNTOLD
    assert {name.split(".")[1] for name in untold - UNTOLD} == ELSEWHERE
