"""One step of the model, as the provider sent it: collected while it runs, kept while it waits.

Codex hands calls on one by one and parses their arguments. The raw items have them whole, in the
model's order and as the exact string, so the step is read off those.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from engine import worker
from engine.codex.protocol import notifications
from engine.codex.request import tools
from machines import parse
from machines.wire import jsonrpc

ECHO: Final = "auto-compact-"
"""How the turn begins that an echo of injected items names: they are no news."""

DEMAND: Final = "Call one of the functions you were given. Do not answer in words alone."
"""The words that a model is sent that must call a function, and has not: Codex always sends
`tool_choice: auto`."""

DEMAND_ITEM: Final = msgspec.Raw(
    msgspec.json.encode(
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": DEMAND}],
        }
    )
)
"""The same as an item of its history."""

read_item: Final = msgspec.json.Decoder(notifications.ResponseItem).decode
"""The parts of the provider's own form of an item that are read."""


class ModelStep(msgspec.Struct, frozen=True):
    """A step that is whole.

    Attributes:
        items: everything the model made, to be injected again as it is.
        calls: by the client's names, in the model's order.
        text: what the client was told.
        answerable: whether Codex asks us for the result of every call. It answers calls of
            unknown functions, and those whose arguments are no JSON, by itself.
    """

    items: tuple[msgspec.Raw, ...]
    calls: tuple[worker.Call, ...]
    text: str
    answerable: bool


class StepCollector:
    """Collects the items of a turn's current step."""

    def __init__(self, toolset: tools.Toolset) -> None:
        self._toolset = toolset
        self._items: list[tuple[str, msgspec.Raw]] = []
        self._texts: list[str] = []

    def on_text(self, text: str) -> None:
        """Keep a piece of the answer, which went out."""
        self._texts.append(text)

    def item(self, raw: notifications.RawItemCompleted) -> None:
        """An item is whole; it may be an echo, or of a turn that was stopped."""
        if not raw.turn_id.startswith(ECHO):
            self._items.append((raw.turn_id, raw.item))

    def whole(self, turn_id: str) -> ModelStep:
        """The step that ends now; the next begins empty."""
        items = tuple(item for turn, item in self._items if turn == turn_id)
        text = "".join(self._texts)
        found = _calls(items)
        calls = self._named(found)
        self._items.clear()
        self._texts.clear()
        answerable = all(
            self._toolset.declares(item.name or "") and parse.is_object(str(item.arguments or ""))
            for item in found
        )
        return ModelStep(items, calls, text, answerable)

    def calls(self) -> tuple[worker.Call, ...]:
        """Return the calls of the step so far."""
        return self._named(_calls(item for _, item in self._items))

    def _named(self, found: list[notifications.ResponseItem]) -> tuple[worker.Call, ...]:
        return tuple(
            worker.Call(
                item.call_id or "", self._toolset.name(item.name or ""), str(item.arguments or "")
            )
            for item in found
        )


class Tools(msgspec.Struct, frozen=True):
    """The part of a reader that only a turn with functions needs.

    Attributes:
        required: whether an answer without a call is none: then its text is held back.
        on_step: called with a step that has calls, before the client hears of it.
        on_asked: called with Codex's request for the result of a call, and with the call's id.
    """

    collector: StepCollector
    required: bool
    on_step: Callable[[ModelStep], None]
    on_asked: Callable[[jsonrpc.Id, str], None]


def _calls(items: Iterable[msgspec.Raw]) -> list[notifications.ResponseItem]:
    return [item for item in map(read_item, items) if item.type == "function_call"]
