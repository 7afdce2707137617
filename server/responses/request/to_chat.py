"""A Responses request as the body of a chat completion, for an upstream that speaks only that.

It asks in the words that most servers know: `max_tokens`, role `system`, texts as strings where
they can be. What Chat Completions has no field for is left out.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from engine import slices, worker
from server.chat import request as chatbodies
from server.http import reading
from server.http.errors import ApiError
from server.responses.request import body as responsesbodies

ROLES: Final = {"developer": "system"}
"""A role that not every server knows, with the one that every server takes for it."""

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
    body = {
        "model": request.model,
        "messages": (yield from _messages(messages)),
        # The older name: some servers ignore the newer one, and would answer without a limit.
        "max_tokens": request.max_output_tokens,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
        "verbosity": text.verbosity,
        "response_format": _format(text),
        **{name: getattr(request, name) for name in SAME},
        **_tools(request, tools),
    }
    return {
        name: msgspec.Raw(msgspec.json.encode(value))
        for name, value in body.items()
        if value is not None
    }


def _messages(messages: Iterable[worker.Message]) -> slices.Steps[msgspec.Raw]:
    """Yield the messages of a chat: all calls of one step are in one message, before their
    results.

    Those that hold nothing but what a model thought are left out.
    """
    found: list[bytes] = []
    step: list[worker.Message] = []
    for message in messages:
        if step and message.role == "assistant":
            step.append(message)
        else:
            found += _step(step)
            step.clear()
            if message.role == "assistant" and message.calls:
                step.append(message)
            elif message.role != "assistant" or message.parts:
                found.append(msgspec.json.encode(_message(message)))
        yield
    found += _step(step)
    return msgspec.Raw(b"[" + b",".join(found) + b"]")


def _step(messages: list[worker.Message]) -> list[bytes]:
    """Return one step of the model as one message; none for an empty step."""
    if not messages:
        return []
    joined = msgspec.structs.replace(
        messages[0],
        parts=tuple(part for message in messages for part in message.parts),
        calls=tuple(call for message in messages for call in message.calls),
    )
    return [msgspec.json.encode(_message(joined))]


def _message(message: worker.Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": ROLES.get(message.role, message.role)}
    if message.name is not None:
        said["name"] = message.name
    if message.call_id is not None:
        said["tool_call_id"] = message.call_id
    said["content"] = _content(message.parts) if message.parts or not message.calls else None
    if message.calls:
        said["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in message.calls
        ]
    return said


def _content(parts: tuple[worker.Part, ...]) -> str | list[Any]:
    """Return content as a string if it is at most one text, else as parts."""
    match parts:
        case ():
            return ""
        case (worker.TextPart(text) | worker.RefusalPart(text),):
            return text
    return [_part(part) for part in parts]


def _part(part: worker.Part) -> dict[str, Any] | msgspec.Raw:
    match part:
        case worker.TextPart(text) | worker.RefusalPart(text):
            return {"type": "text", "text": text}
        case worker.ImagePart(url, detail=detail):
            return {"type": "image_url", "image_url": {"url": url} | _given(detail=detail)}
        case worker.OtherPart(kind, param, raw):
            if raw is None:
                message = f"This model takes no parts of type {kind!r}."
                raise ApiError("unsupported_content", message, param)
            return raw


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
    functions = (function for _, function in request.functions if function.name in left)
    return {
        "tools": [{"type": "function", "function": _function(each)} for each in functions],
        "tool_choice": _choice(request.tool_choice),
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


def _choice(choice: str | responsesbodies.ToolChoice | None) -> str | dict[str, Any] | None:
    match choice:
        case responsesbodies.ToolChoice("function", name):
            return {"type": "function", "function": {"name": name}}
        case responsesbodies.ToolChoice(mode=mode):
            return mode  # of the tools that are sent
    return choice


def _given(**members: Any) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
