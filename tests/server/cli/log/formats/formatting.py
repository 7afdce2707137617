"""Streams of logs, full and masked, to be written in other formats."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from engine.log.find import stories
from tests.support.logs import logs
from tests.tools import capture

Write = Callable[[Sequence[stories.Story], BinaryIO], None]
"""The `write` of a format."""


def recorded(name: str) -> stories.Story:
    """The stream of a transcript, with its contents."""
    return stories.story(capture.DIRECTORY / f"{name}.jsonl", name)


def expected(name: str) -> bytes:
    """The bytes that its client got."""
    return (capture.DIRECTORY / f"{name}.sse").read_bytes()


def masked(directory: Path) -> stories.Story:
    """A stream of a masked log, in which `secret` was said."""
    event_log = logs.open_log(directory, content="masked")
    # The server masks a request before it is an event.
    request = msgspec.Raw(b'{"model":"m","messages":[{"role":"user","content":"******"}]}')
    logs.play(event_log, "st_m", "secret ", "words", content="masked", request=request)
    event_log.close()
    return stories.story(directory, "st_m")


def written(write: Write, *found: stories.Story) -> bytes:
    """What a format makes of streams."""
    file = io.BytesIO()
    write(found, file)
    return file.getvalue()
