"""A turn as Codex is sent it: made once, in slices, whatever it takes until it is answered."""

import msgspec

from engine import slices, worker
from engine.codex.request import conversation, tools


class Prepared(msgspec.Struct, frozen=True, eq=False):
    """What a turn's thread is made of.

    Attributes:
        toolset: None where there are no functions.
        items: the conversation.
    """

    toolset: tools.Toolset | None
    items: tuple[msgspec.Raw, ...]


def prepare(turn: worker.Turn, recall: conversation.Recall) -> slices.Steps[Prepared]:
    """What a turn's thread is made of, whose conversation `conversation.check` has let pass."""
    toolset = tools.Toolset(turn.tools) if turn.tools else None
    if toolset is not None:
        yield from toolset.describe()
    alias = toolset.alias if toolset is not None else str
    items = yield from conversation.items(turn.messages, alias, recall)
    return Prepared(toolset, items)
