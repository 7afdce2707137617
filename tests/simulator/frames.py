"""The lines in which a simulated app-server says what a script has it say."""

from collections.abc import Iterator
from typing import Any

from bench import appframes
from tests.simulator import scripts

Json = dict[str, Any]


def turn(turn_id: str, status: str, error: Json | None = None) -> Json:
    """A turn as its start and its end report it."""
    return {"id": turn_id, "items": [], "status": status, "error": error}


def item(said: scripts.Item, item_id: str, ids: Json) -> Iterator[bytes]:
    """The lines of an item."""
    if said.kind == "summary":
        for text in said.texts:
            delta = {**ids, "itemId": item_id, "delta": text, "summaryIndex": 0}
            yield appframes.notification("item/reasoning/summaryTextDelta", delta)
        return
    phase = "commentary" if said.kind == "commentary" else None
    frame = {"type": "agentMessage", "id": item_id, "text": "", "phase": phase}
    yield appframes.notification("item/started", {**ids, "item": frame})
    if said.deltas:
        for text in said.texts:
            delta = {"threadId": ids["threadId"], "itemId": item_id, "delta": text}
            yield appframes.notification("item/agentMessage/delta", {**ids, **delta})
    whole = {**frame, "text": "".join(said.texts)}
    yield appframes.notification("item/completed", {**ids, "item": whole})


def counts(tokens: tuple[int, int]) -> Json:
    """The counts of prompt and completion tokens."""
    return {
        "inputTokens": tokens[0],
        "outputTokens": tokens[1],
        "cachedInputTokens": 0,
        "reasoningOutputTokens": 0,
        "totalTokens": sum(tokens),
    }
