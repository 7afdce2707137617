"""Logs for the tests of commands that list streams, and what those commands say."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from machines import events
from server.cli import command_line as cli
from tests.support.logs import logs, summaries

START: Final = 1_764_504_000_000_000
"""2025-11-30T12:00:00Z."""

SECOND: Final = 1_000_000


def write(directory: Path, *streams: dict[str, Any], **settings: Any) -> Path:
    """A log of streams, a minute after each other; members of both records are given by name."""
    clock = logs.Clock(START)
    event_log = logs.open_log(directory, clock, **{**summaries.KEPT, **settings})
    for number, given in enumerate(streams):
        clock.us = START + 60 * number * SECOND
        last = {name: given[name] for name in given if name in events.Terminal.__struct_fields__}
        first = {name: given[name] for name in given if name not in last}
        texts = first.pop("texts", ("hello",))
        stream = event_log.stream(first.pop("stream", f"st_{number:04}"))
        stream.open(logs.opened(**{"request_id": f"req_{number}", **first}))
        for text in texts:
            stream.append(*logs.content(text))
        if last.get("kind") != "open":
            usual = {"kind": "completed", "emission_trigger": "turn_finished", "status": 200}
            stream.close(events.Terminal(**{**usual, **last}), "done")
        event_log.flush()
    event_log.close()
    return directory


def run(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit status, output and complaints of a command."""
    status = cli.main([*map(str, arguments)])
    said = capfd.readouterr()
    return status, said.out, said.err


def listed(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> list[str]:
    """Ids of the streams that `turntape log` lists, in its order."""
    _, said, _ = run(capfd, "log", *arguments, "--json")
    return [json.loads(line)["stream"] for line in said.splitlines()]
