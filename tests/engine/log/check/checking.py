"""Logs of several segments with streams across them, and ways to check them."""

import heapq
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.log import event_log as eventlog, replay
from engine.log.check import check, ranges
from machines import events, outputs
from machines.stream import machine as stream
from server.renderers import reply
from tests.support.logs import logs

STREAMS: Final = 30
"""Streams of a log; the last of them does not end."""

WRONG: Final = frozenset({3, 9, 14, 22, 28})
"""Streams that today's machine would not have gone through so; the last two end otherwise."""

DELTAS: Final = 30
"""Tokens of each: several segments are filled while six streams are open."""


def write(directory: Path) -> Path:
    """A log in which streams span segments, and some diverge, by two causes."""
    directory.mkdir(parents=True, exist_ok=True)
    event_log = logs.open_log(directory, segment_bytes=8000, content="masked")
    life = event_log.stream("wk_1")
    changed, ready = events.WorkerChanged("codex", "started", {}), outputs.Step("ready", ())
    waiting = [(number * 100, number, _play(event_log, number)) for number in range(6)]
    begun = len(waiting)
    while waiting:
        at, number, running = heapq.heappop(waiting)
        if next(running, None) is not None:
            heapq.heappush(waiting, (at + 17, number, running))
        elif begun < STREAMS:
            life.append(changed, ready)
            heapq.heappush(waiting, (at, begun, _play(event_log, begun)))
            begun += 1
        event_log.flush()
    event_log.close()
    return directory


def _play(event_log: eventlog.EventLog, number: int) -> Iterator[bool]:
    first = logs.opened(request_id=f"req_{number}", content="masked")
    written, played = event_log.stream(f"st_{number:02}"), stream.Stream(first)
    written.open(first)
    for count in range(DELTAS):
        yield True
        delta = events.TextDelta("word ")
        step = played.step(delta)
        if number in WRONG and number < 20 and count == 7:
            step = outputs.Step("finish", step.outputs)
        written.append(delta, step)
    if number == STREAMS - 1:
        return
    end = events.TurnFinished("stop")
    written.append(end, played.step(end))
    terminal = events.Terminal(
        kind="truncated" if number in WRONG and number > 20 else "completed",
        emission_trigger="turn_finished",
        status=200,
        finish_reasons=("stop",),
        body_hash="00",
    )
    written.close(terminal, "done")


def nobody(_: int) -> None:
    """Take no notice of how far it is."""


def here(
    path: Path,
    parts: list[ranges.Range],
    make_renderer: replay.MakeRenderer,
    tell: ranges.Tell,
) -> list[ranges.Checked]:
    """Check ranges one after the other, in this process."""
    return [ranges.check(path, each, make_renderer, tell) for each in parts]


def checked(path: Path, jobs: int) -> check.Result:
    """What a check finds, in as many parts."""
    return check.check(path, reply, jobs, nobody, here)


def killed(
    path: Path, part: ranges.Range, make_renderer: replay.MakeRenderer, tell: ranges.Tell
) -> ranges.Checked:
    """Be killed in the middle of it."""
    signal.raise_signal(signal.SIGKILL)
    raise AssertionError


def waiting(
    path: Path, part: ranges.Range, make_renderer: replay.MakeRenderer, tell: ranges.Tell
) -> ranges.Checked:
    """Read on for ever, as a child does whose part is large."""
    while True:
        tell(1 << 20)
