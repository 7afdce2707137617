"""A Responses request as the body of a chat completion, for an upstream that speaks only that.

It asks in the words that most servers know, such as `max_tokens`. What Chat Completions has no
field for is left out. `server.responses.request.chat_messages` makes the messages.
"""

from typing import Any, Final

import msgspec

from engine import slices, worker
from server.chat import request as chatbodies
from server.http import reading
from server.responses.request import body as responsesbodies, chat_messages

SAME: Final = (
    "temperature",
    "top_p",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "service_tier",
)
"""Fields that are the same in both APIs. `store` and `metadata` are not among them: they belong to
the response that is kept here."""


def chat_body(
    request: responsesbodies.ResponsesRequest,
    messages: tuple[worker.Message, ...],
    tools: tuple[worker.Tool, ...],
) -> slices.Steps[reading.Members]:
    """Translate a request to the members of a chat completion's body, as `worker.Turn.body`.

    Args:
        messages: the whole conversation, the instructions first.
        tools: those that the model may call, after the choice.

    Raises:
        ApiError: with the field at fault, for a part that Chat Completions has no form of.
    """
    text = request.text or responsesbodies.TextOptions()
    wants_tokens = request.top_logprobs or responsesbodies.LOGPROBS in (request.include or ())
    body = {
        "model": request.model,
        "messages": (yield from chat_messages.of(messages)),
        # The older name: some servers ignore the newer one, and would answer without a limit.
        "max_tokens": request.max_output_tokens,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
        "verbosity": text.verbosity,
        "response_format": _format(text),
        "logprobs": True if wants_tokens else None,
        "top_logprobs": request.top_logprobs,
        **{name: getattr(request, name) for name in SAME},
        **_tools(request, tools),
    }
    return {
        name: msgspec.Raw(msgspec.json.encode(value))
        for name, value in body.items()
        if value is not None
    }


def _format(text: responsesbodies.TextOptions) -> dict[str, Any] | None:
    match text.format:
        case responsesbodies.JsonSchemaFormat(name, schema, description, strict):
            named = {"name": name, "schema": schema}
            named |= _given(description=description, strict=strict)
            return {"type": "json_schema", "json_schema": named}
        case responsesbodies.JsonObjectFormat():
            return {"type": "json_object"}
    return None


def _tools(
    request: responsesbodies.ResponsesRequest, tools: tuple[worker.Tool, ...]
) -> dict[str, Any]:
    """Return the tools that may be called, and how to choose; nothing where there are none."""
    if not tools:
        return {}
    left = {tool.name for tool in tools}
    functions = (each for _, each in request.offered.functions if each.name in left)
    return {
        "tools": [{"type": "function", "function": _function(each)} for each in functions],
        "tool_choice": _choice(request),
        "parallel_tool_calls": request.parallel_tool_calls,
    }


def _function(function: chatbodies.DeclaredFunction) -> dict[str, Any]:
    return {
        "name": function.name,
        **_given(
            description=function.description,
            parameters=function.parameters,
            strict=function.strict,
        ),
    }


def _choice(request: responsesbodies.ResponsesRequest) -> str | dict[str, Any] | None:
    match request.tool_choice:
        case responsesbodies.ToolChoice("function" | "custom", str(name), namespace):
            offered = request.offered.name(namespace, name)
            return {"type": "function", "function": {"name": offered}}
        case responsesbodies.ToolChoice(mode=mode):
            return mode  # of the tools that are sent
        case choice:
            return choice


def _given(**members: Any) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
