"""The options of a stream's tool calls."""

from typing import Final, Literal

import msgspec

from machines import vocabulary

OutputMode = Literal["openai-json", "obsidian-xml"]
"""How calls reach the client: as `tool_calls` alone, or with Obsidian Copilot's XML as content."""

StopAfterTools = Literal["first", "burst"]
"""When an answer with calls is cut: after its first call, or once no further call follows."""


CALL_LIMIT: Final = 1024
"""Calls of a choice that no answer has: what makes more goes round in circles."""


class ToolShape(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True
):
    """A tool as its client knows it, where that is not how the model is offered it: the model
    knows functions alone, each by one name.

    Attributes:
        namespace: that the client declared it in.
        kind: of its calls; the text for a `custom` tool is the one argument of the function.
    """

    name: str
    namespace: str | None = None
    kind: vocabulary.CallKind = "function"


class ToolOptions(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True
):
    """The options of tool calls, by a request and its server; records keep the names of schema 1.

    Attributes:
        names: of the functions that the client declared, as the model is offered them.
        legacy: whether it declared them as `functions`, and gets a `function_call`.
        max_calls: calls a choice may have, above which they are withheld; 0 for no limit.
        dedup: whether a call that repeats an earlier one of its choice is withheld.
        delimiter: text between two XML blocks.
        suppress_tail: whether text after the last call is dropped.
        sse_comments: whether the client reads past comments in a stream.
        call_limit: calls a worker may make for a choice, above which the answer is an error.
        shapes: of those functions that the client did not declare as such, by their names.
    """

    names: tuple[str, ...] = ()
    output_mode: OutputMode = "openai-json"
    legacy: bool = False
    max_calls: int = msgspec.field(default=0, name="most")
    dedup: bool = False
    delimiter: str = ""
    stop_after: StopAfterTools | None = None
    suppress_tail: bool = False
    sse_comments: bool = msgspec.field(default=True, name="comments")
    call_limit: int = CALL_LIMIT
    shapes: dict[str, ToolShape] = {}


NO_TOOLS = ToolOptions()
"""The options of a request without tools, from a client that is not Obsidian Copilot."""
