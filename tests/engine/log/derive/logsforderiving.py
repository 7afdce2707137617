"""Logs of several segments with full streams, for tests of what is made of a log."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from engine.log import event_log as eventlog, replay
from engine.log.find import stories
from engine.log.read import segments
from engine.log.summary.settings import SummarySettings
from engine.log.write import rewriting
from machines import events
from machines.stream.machine import Stream
from server.renderers import reply
from tests.support.logs import logs

WORD: Final = "Zanzibar42"
"""A word that nothing but a content holds."""

KEYS: Final = ("alpha", "beta")

SUMMARIZED: Final[dict[str, Any]] = {"summaries": SummarySettings()}
"""The setting of a log that has summaries, as a server's has."""


def texts(number: int) -> list[str]:
    """Deltas that hold a word, a stop sequence that is split, and what only begins like one."""
    return [f"Say {WORD} ", str(number), " S", "TO", f"Q {WORD}", "P ST", "OP gone"]


def play(event_log: eventlog.EventLog, number: int, *, ends: bool = True) -> str:
    """A stream whose answer is cut by a stop sequence, with a hash of a body of no bytes."""
    stream = f"st_{number:04}"
    first = logs.opened(
        request_id=f"req_{number}",
        completion_id=f"chatcmpl-{number}",
        key=KEYS[number % len(KEYS)],
        stop=("STOP",),
        request=msgspec.Raw(
            b'{"model":"gpt-5.5","user":"%b","messages":[{"role":"user","content":"%b"}]}'
            % (WORD.encode(), WORD.encode())
        ),
        hash_key="00" * 16,
        content="full",
    )
    written, played = event_log.stream(stream, "full"), Stream(first)
    written.open(first)
    happened: list[events.StreamInput] = [*map(events.TextDelta, texts(number))]
    for event in (*happened, events.TurnFinished("stop")):
        if not played.ended:
            written.append(event, played.step(event))
    if ends:
        written.close(_completed(played), "done")
    event_log.flush()
    return stream


def _completed(played: Stream) -> events.Terminal:
    return events.Terminal(
        kind="completed",
        emission_trigger=played.emission_trigger,
        status=200,
        finish_reasons=("stop",),
        usage=played.totals.usage,
        usage_source=played.totals.source,
    )


def play_together(event_log: eventlog.EventLog, keys: Sequence[str], deltas: int = 8) -> list[str]:
    """Streams that are open at once, each of one of these keys; their ids."""
    names, begun = [], []
    for number, key in enumerate(keys):
        first = logs.opened(
            request_id=f"req_t{number}",
            completion_id=f"chatcmpl-t{number}",
            key=key,
            content="full",
        )
        names.append(f"st_t{number:03}")
        written, played = event_log.stream(names[-1], "full"), Stream(first)
        written.open(first)
        begun.append((written, played))
    happened: list[events.StreamInput] = [events.TextDelta(f"Say {WORD} ")] * deltas
    for event in (*happened, events.TurnFinished("stop")):
        for written, played in begun:
            written.append(event, played.step(event))
            event_log.flush()
    for written, played in begun:
        written.close(_completed(played), "done")
        event_log.flush()
    return names


def write_together(directory: Path, keys: Sequence[str], **settings: Any) -> list[str]:
    """A closed log of streams that were open at once, over several segments; their ids."""
    event_log = logs.open_log(
        directory, **{"segment_bytes": 1500, "content": "full", **SUMMARIZED, **settings}
    )
    names = play_together(event_log, keys)
    logs.wait_for_chores(event_log)
    event_log.close()
    return names


def stop_before(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Have the disk be full from so many segments on that are put in the place of others."""
    replace = rewriting.Rewriter.replace
    done: list[int] = []

    def full(self: rewriting.Rewriter, segment: Any, before: Any, content: Any) -> bool:
        if len(done) == calls:
            raise OSError(28, "No space left on device")
        done.append(segment.number)
        return replace(self, segment, before, content)

    monkeypatch.setattr(rewriting.Rewriter, "replace", full)


def write(directory: Path, streams: int = 6, **settings: Any) -> list[str]:
    """A closed log of these streams, in several segments; their ids."""
    event_log = logs.open_log(directory, **{"segment_bytes": 4000, "content": "full", **settings})
    names = [play(event_log, number) for number in range(streams)]
    logs.wait_for_chores(event_log)
    event_log.close()
    return names


def story(path: Path, name: str) -> stories.Story:
    """A stream, as a log has it."""
    return stories.story(path, name)


def replayed(path: Path) -> replay.Tally:
    """What a replay counts, of a log of which nothing is wrong and nothing differs."""
    reading = segments.read(path)
    run = replay.Replay(reply)
    run.run(reading)
    assert reading.problems == []
    assert run.divergence is None
    return run.tally


def now_us() -> int:
    return time.time_ns() // 1000
