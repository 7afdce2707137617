"""The decisions: what each is called, when it was made, and whether it holds."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from tests.tools import sources

FOLDER: Final = sources.ROOT / "docs" / "decisions"

STATUSES: Final = ("proposed", "accepted", "superseded")
"""What may become of a decision. One that is superseded links to what took its place."""

_HEAD: Final = re.compile(r"# (.+)\n\nDate: (\d{4}-\d\d-\d\d) · Status: (\w+)\b.*\n\n")


class Decision(NamedTuple):
    """The head of one page."""

    path: Path
    title: str
    date: str
    status: str


def pages() -> list[Path]:
    """Every decision; the index is none."""
    return sorted(path for path in FOLDER.glob("*.md") if path.name != "index.md")


def read(path: Path) -> Decision:
    """The head of a decision.

    Raises:
        ValueError: it has no title, no date or no status.
    """
    head = _HEAD.match(path.read_text(encoding="utf-8"))
    if head is None:
        raise ValueError(f"{path}: it begins with `# Title`, then `Date: 2026-11-30 · Status: …`")
    return Decision(path, *head.groups())


def table() -> str:
    """A Markdown table of all decisions, the oldest first."""
    found = sorted(map(read, pages()), key=lambda each: (each.date, each.path.name))
    lines = ["| date | decision | status |", "| --- | --- | --- |"]
    lines += [
        f"| {each.date} | [{each.title}]({each.path.name}) | {each.status} |" for each in found
    ]
    return "\n".join(lines)
