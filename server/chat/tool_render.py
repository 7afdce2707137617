"""The form of tool calls that a stream and a body have in common."""

from typing import Any

import msgspec

from machines import events, outputs
from machines.tools import obsidian
from server.chat import accumulate


def call_object(
    call_id: str, kind: events.CallKind, name: str, arguments: str, members: msgspec.Raw
) -> dict[str, Any]:
    """Return the API's object of a call.

    Args:
        arguments: of a custom tool, its input.
        members: further ones.
    """
    inner = {"name": name, ("input" if kind == "custom" else "arguments"): arguments}
    return accumulate.beside({"id": call_id, "type": kind, kind: inner}, members)


class Blocks:
    """Renders calls as content: their canonical XML, with the delimiter between two of a
    choice."""

    def __init__(self, opened: events.Opened) -> None:
        self._delimiter = opened.tools.delimiter
        self._begun: set[int] = set()

    def text(self, block: outputs.ToolBlock) -> str:
        """Return the text that a block adds to the content of its choice."""
        before = self._delimiter if block.choice in self._begun else ""
        self._begun.add(block.choice)
        return before + obsidian.canonical(block.name, block.arguments)


class Counts:
    """Adds up how many calls went to the client, over all choices."""

    def __init__(self) -> None:
        self._calls = 0
        self._truncated = False

    def add(self, counts: outputs.ToolCounts) -> None:
        """Add the counts of one choice."""
        self._calls += counts.calls
        self._truncated = self._truncated or counts.truncated

    def headers(self) -> list[tuple[str, str]]:
        """Return the counts as headers of a body."""
        return [
            ("x-codex-tool-call-count", str(self._calls)),
            ("x-codex-tool-call-truncated", str(self._truncated).lower()),
        ]

    def comments(self) -> bytes:
        """Return the counts as comments of a stream, whose headers have gone."""
        return b"".join(
            b": %b: %b\n\n" % (name.encode(), value.encode()) for name, value in self.headers()
        )
