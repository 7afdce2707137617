"""A conversation as the items `thread/inject_items` takes, in order, with nothing lost.

Codex drops what it does not know without a word (`docs/codex.md`): role `system`, `name`, results
without their call. So each of these is turned into what it keeps, or refused by name.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine import reasoning
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
    calls = _CallIds()
    for index, message in enumerate(messages):
        if message.role in ("tool", "function"):
            found.append(_result(message, index, calls))
        elif message.role == "assistant":
            kept = recall(message)
            sent = [calls.made(call.call_id) for call in message.calls]
            found += kept if kept is not None else _answer(message, sent, alias)
        else:
            found.append(_message(ROLES[message.role], _input_parts(message)))
    return found


class _CallIds:
    """The ids of calls as Codex is told them, each once.

    The older form of a call has no id but its function's name, and some clients count anew in
    every answer.
    """

    def __init__(self) -> None:
        self._sent: dict[str, str] = {}
        self._count = 0

    def made(self, call_id: str) -> str:
        """The id of a further call."""
        self._count += 1
        self._sent[call_id] = f"{call_id}_{self._count}" if call_id in self._sent else call_id
        return self._sent[call_id]

    def answered(self, call_id: str | None) -> str | None:
        """The id of the last call that a client knows by this one."""
        return self._sent.get(call_id) if call_id is not None else None


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


def _answer(message: Message, call_ids: list[str], alias: Callable[[str], str]) -> list[Any]:
    text = "".join(_text(part) for part in message.parts)
    if text and message.name is not None:
        text = f"{message.name}: {text}"
    spoken = [_message("assistant", [{"type": "output_text", "text": text}])] if text else []
    calls = [
        {
            "type": "function_call",
            "call_id": call_id,
            "name": alias(call.name),
            "arguments": call.arguments,
        }
        for call_id, call in zip(call_ids, message.calls, strict=True)
    ]
    return [*map(reasoning.restored, message.reasoning), *spoken, *calls]


def _result(message: Message, index: int, calls: _CallIds) -> Item:
    call_id = calls.answered(answered(message))
    if call_id is None:
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
