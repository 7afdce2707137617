"""Draws a compiled table as text: a Mermaid diagram, a Markdown table, a block of a page.

What is drawn is the table that runs. The library can draw a declaration too, but leaves out
self-transitions and gives every event an arrow of its own, which no one can read with a dozen.
"""

from collections.abc import Mapping
from typing import Final

from machines.table import Table

BEGIN: Final = "<!-- drawn: "
"""The beginning of a block of a page; its name and ` -->` follow."""

END: Final = "<!-- end drawn -->"
"""The end of such a block."""


def mermaid(table: Table) -> str:
    """A Mermaid state diagram, one arrow for all events that lead the same way."""
    lines = ["stateDiagram-v2", f"    [*] --> {table.initial}"]
    for (state, target), events in arrows(table).items():
        lines.append(f"    {state} --> {target}: {', '.join(events)}")
    lines += [f"    {state} --> [*]" for state in table.states if table.is_final(state)]
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """A Markdown table of every transition. What is not in it is refused."""
    lines = ["| in | on | goes to |", "|---|---|---|"]
    for (state, target), events in arrows(table).items():
        names = ", ".join(f"`{event}`" for event in events)
        lines.append(f"| `{state}` | {names} | {'itself' if target == state else f'`{target}`'} |")
    return "\n".join(lines)


def block(table: Table) -> str:
    """Both, between the marks that `redraw` looks for."""
    return marked(table.name, f"```mermaid\n{mermaid(table)}\n```\n\n{markdown(table)}")


def marked(name: str, text: str) -> str:
    """A text between the marks that `redraw` looks for."""
    return f"{BEGIN}{name} -->\n\n{text}\n\n{END}"


def redraw(page: str, blocks: Mapping[str, str]) -> str:
    """The page with every block drawn anew; a block of no known name is left as it is.

    Args:
        blocks: by name, with their marks.
    """
    before, *parts = page.split(BEGIN)
    drawn = [before]
    for part in parts:
        name = part.partition(" -->")[0]
        _, ended, after = part.partition(END)
        drawn.append(f"{blocks[name]}{after}" if ended and name in blocks else BEGIN + part)
    return "".join(drawn)


def arrows(table: Table) -> dict[tuple[str, str], list[str]]:
    """The events that lead from one state to another, by both, as declared."""
    found: dict[tuple[str, str], list[str]] = {}
    for (state, event), target in table.transitions.items():
        found.setdefault((state, target), []).append(event)
    return found
