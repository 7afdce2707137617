"""The streams that a command was given by name: why a name means none is said by `lookups`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from engine.log.find import catalog, resolver, stories
from server.cli import printing
from server.version import VERSION

TOLD_MOST: Final = 3
"""Damaged records that are named."""


class WrittenLater(Exception):
    """Raised for a stream of which this version can read nothing, since a later one wrote it."""


class AllDamaged(Exception):
    """Raised for a stream of which no record is intact; its notes say what is wrong with some."""


def read(log: Path, name: str) -> stories.Story:
    """Return the one stream that is meant, of which something can be read.

    Raises:
        NotFound, Ambiguous: its name means none, or several.
        WrittenLater, AllDamaged: nothing of it can be read.
        NotRegular, OSError: the log cannot be read.
    """
    story = stories.story(log, name)
    if story.records:
        return story
    if any(each.kind == "later" for each in story.problems):
        later = WrittenLater(
            f"{story.stream}: a later version wrote it, and this one cannot read it"
        )
        later.add_note(
            f"This is {VERSION}; `turntape log` says how and when it ended all the same."
        )
        raise later
    damaged = AllDamaged(f"{story.stream}: no record of it is intact")
    for problem in story.problems[:TOLD_MOST]:
        damaged.add_note(str(problem))
    raise damaged


def select(log: Path, asked: Sequence[str]) -> list[stories.Story]:
    """Return the streams that are meant, each once.

    Raises:
        NotFound, Ambiguous: a name means none, or several.
        NotRegular, OSError: the log cannot be read.
    """
    found: dict[str, stories.Story] = {}
    for name in asked:
        story = stories.story(log, name)
        found[story.stream] = story
    return list(found.values())


def to_erase(log: Path, asked: Sequence[str]) -> list[stories.Story]:
    """Return the streams that are meant, each once; those too whose records are gone, as far as
    can be seen: a purge that was stopped may have left some.

    Raises:
        NotFound, Ambiguous: a name means none, or several.
        NotRegular, OSError: the log cannot be read.
    """
    known = catalog.Catalog(log)
    rows = (resolver.resolve(known, name) for name in asked)
    found = {row.summary: row for row in rows}
    return [stories.read(known, row) for row in found.values()]


def warn_of_damage(found: Iterable[stories.Story]) -> None:
    """Say where the log of some streams is damaged, though these are whole."""
    problems = {str(each): None for story in found for each in story.problems}
    for problem in problems:
        printing.complain(f"warning: {problem}")
