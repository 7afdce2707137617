"""The page with some streams within it, as one file that asks nobody for anything.

It is made to be attached to an issue, so what is in it should be masked: that is for whoever takes
the streams out of a log (`turntape export`), and the page says which it is.
"""

from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec

from engine.log.find import stories
from engine.log.summary import rows
from engine.log.timeline import fold, timeline
from machines import events
from server.ui import document, frames, machine, view


class Detail(msgspec.Struct, frozen=True):
    """One stream in full."""

    timeline: timeline.Timeline
    records: list[msgspec.Raw]
    seen: frames.Seen


class Data(msgspec.Struct, frozen=True):
    """All that the page in a file shows.

    Attributes:
        content: `masked` where no stream has its words.
        details: by the ids of the streams.
        sparks: likewise.
    """

    content: str
    rows: list[rows.Summary]
    details: dict[str, Detail]
    sparks: dict[str, list[int]]
    machine: machine.Machine


def write(found: Sequence[stories.Story], file: BinaryIO) -> None:
    """Write the page of these streams.

    Args:
        found: with their rows, as `stories.read` has them; contents are written as they are here.
    """
    details = {story.stream: _detail(story) for story in found}
    ordered = sorted(
        (story.row for story in found if story.row is not None),
        key=lambda row: row.t,
        reverse=True,
    )
    data = Data(
        "masked" if all(map(_is_masked, found)) else "full",
        ordered,
        details,
        {stream: view.spark(each.timeline) for stream, each in details.items()},
        machine.drawn(),
    )
    file.write(document.alone(msgspec.json.encode(data)).body)


def _detail(story: stories.Story) -> Detail:
    return Detail(fold.fold(story), view.records(story), frames.seen(story))


def _is_masked(story: stories.Story) -> bool:
    first: Any = story.records[0].load() if story.records else None
    return not isinstance(first, events.Opened) or first.content == "masked"
