"""A conversation as the items `thread/inject_items` takes, in order, with nothing lost.

Codex drops what it does not know without a word (`docs/codex.md`): role `system`, `name`, results
without their call. So each of these is turned into what it keeps, or refused by name.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.worker import (
    ImagePart,
    Message,
    OtherPart,
    Part,
    RefusalPart,
    TextPart,
    TurnRefused,
)

ROLES: Final = {"system": "developer", "developer": "developer", "user": "user"}
"""Codex's role for each role of the API whose content is input; it drops `system`."""

Item = dict[str, Any]


Recall = Callable[[Message], tuple[msgspec.Raw, ...] | None]
"""Finds the model's own items behind an assistant message; None where they are not kept."""


def items(
    messages: tuple[Message, ...],
    alias: Callable[[str], str] = str,
    recall: Recall = lambda _: None,
) -> list[Any]:
    """The conversation as Responses items.

    Args:
        alias: Codex's name of a function.

    Raises:
        TurnRefused: for a part Codex cannot take, or a tool result that answers no call.
    """
    found: list[Any] = []
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        if message.role in ("tool", "function"):
            found.append(_result(message, index, open_calls))
        elif message.role == "assistant":
            found += recall(message) or _answer(message, alias)
            open_calls.update(call.call_id for call in message.calls)
        else:
            found.append(_message(ROLES[message.role], _input_parts(message)))
    return found


def answered(message: Message) -> str | None:
    """The id of the call that a tool message answers; a legacy one names the function."""
    return message.call_id if message.call_id is not None else message.name


def output(message: Message) -> str | list[Item]:
    """What a tool returned: its text, or a list where there are images.

    Raises:
        TurnRefused: for a part Codex cannot take.
    """
    if any(isinstance(part, ImagePart) for part in message.parts):
        return [_output_part(part) for part in message.parts]
    return "".join(_text(part) for part in message.parts)


def _message(role: str, content: list[Item]) -> Item:
    return {"type": "message", "role": role, "content": content}


def _answer(message: Message, alias: Callable[[str], str]) -> list[Item]:
    text = "".join(_text(part) for part in message.parts)
    if text and message.name is not None:
        text = f"{message.name}: {text}"
    spoken = [_message("assistant", [{"type": "output_text", "text": text}])] if text else []
    calls = [
        {
            "type": "function_call",
            "call_id": call.call_id,
            "name": alias(call.name),
            "arguments": call.arguments,
        }
        for call in message.calls
    ]
    return [*spoken, *calls]


def _result(message: Message, index: int, open_calls: set[str]) -> Item:
    call_id = answered(message)
    if call_id is None or call_id not in open_calls:
        raise TurnRefused(
            "invalid_request",
            "A tool message must answer a tool call of an earlier assistant message.",
            f"messages[{index}]",
        )
    return {"type": "function_call_output", "call_id": call_id, "output": output(message)}


def _output_part(part: Part) -> Item:
    # Codex itself says so of every image of a tool.
    return _input_part(part) | ({"detail": "high"} if isinstance(part, ImagePart) else {})


def _input_parts(message: Message) -> list[Item]:
    parts = [_input_part(part) for part in message.parts]
    if message.name is not None:
        # Codex drops `name`; speakers of a group chat must stay apart.
        parts.insert(0, {"type": "input_text", "text": f"{message.name}: "})
    return parts or [{"type": "input_text", "text": ""}]


def _input_part(part: Part) -> Item:
    if isinstance(part, ImagePart):
        if not part.url.startswith("data:"):
            raise TurnRefused(
                "unsupported_content",
                "Images must be data URLs: this worker does not fetch remote images.",
                part.param,
            )
        return {"type": "input_image", "image_url": part.url}
    return {"type": "input_text", "text": _text(part)}


def _text(part: Part) -> str:
    match part:
        case TextPart(text) | RefusalPart(text):
            return text
        case ImagePart(_, param):
            raise TurnRefused("unsupported_content", "An image cannot stand here.", param)
        case OtherPart(kind, param):
            raise TurnRefused(
                "unsupported_content", f"This worker takes no parts of type {kind!r}.", param
            )
