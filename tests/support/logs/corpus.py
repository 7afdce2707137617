"""The transcripts as they are on file, for tests that hold something against all of them."""

import functools
import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from engine.log.read import segments
from machines import events
from machines.stream import machine as stream
from server.api.reply import Reply
from server.renderers import reply
from tests.tools import capture

NAMES: Final = sorted(path.stem for path in capture.DIRECTORY.glob("*.jsonl"))

RESPONSES: Final = [name for name in NAMES if name.startswith("responses-")]
"""Those of the Responses API."""

CHAT: Final = [name for name in NAMES if name not in RESPONSES]
"""Those of Chat Completions."""


class OnFile(msgspec.Struct, frozen=True):
    """A transcript as it is on file.

    Attributes:
        inputs: the events of its stream.
        times: when each of them happened, in microseconds since the epoch.
    """

    opened: events.Opened
    inputs: tuple[events.StreamInput, ...]
    times: tuple[int, ...]
    terminal: events.Terminal
    sse: bytes
    answer: dict[str, Any]

    @property
    def request(self) -> dict[str, Any]:
        """What its client asked."""
        return dict(json.loads(bytes(self.opened.request)))

    def render(self, opened: events.Opened) -> tuple[bytes, Reply]:
        """What today's machine makes of its events for that client, and what rendered it."""
        machine, renders = stream.Stream(opened), reply(opened)
        told = (
            renders.render(output, now)
            for now, event in zip(self.times, self.inputs, strict=True)
            for output in machine.step(event).outputs
        )
        return b"".join(told), renders


@functools.cache
def on_file(name: str) -> OnFile:
    """One transcript."""
    path = capture.DIRECTORY / f"{name}.jsonl"
    records = list(segments.read(path))
    opened, *_, terminal = [record.load() for record in records]
    assert isinstance(opened, events.Opened)
    assert isinstance(terminal, events.Terminal)
    steps = [(record.t, event) for record, event in _steps(records)]
    return OnFile(
        opened,
        tuple(event for _, event in steps),
        tuple(time for time, _ in steps),
        terminal,
        path.with_suffix(".sse").read_bytes(),
        json.loads(path.with_suffix(".json").read_bytes()),
    )


def _steps(
    records: list[segments.Record],
) -> Iterator[tuple[segments.Record, events.StreamInput]]:
    for record in records:
        event = record.load()
        if isinstance(event, events.StreamInput):
            yield record, event
