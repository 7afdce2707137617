"""The streams that a command was given by name: why a name means none is said by `lookups`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.log.find import catalog, resolver, stories
from server.cli import printing


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
