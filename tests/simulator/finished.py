"""Runs that are over and keep every rule, for tests that change one and have it judged again.

What a client got, what the log has or what was played is changed as a bug would have changed it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.simulator import answers, disk, draw, plan, replies, rules, scripts, world

Change = Callable[[Any], object]
"""Changes a run that is over."""

SCRIPT: Final = scripts.Script((scripts.Item("answer", ("Hel", "lo")),))

REPLY: Final = replies.Stream(
    choices=(replies.Said((replies.Text("Hel"), replies.Text("lo")), (), "stop"),),
    counts=(7, 3),
    habits=(),
    framing="chunked",
    label="text/event-stream",
    ending="done",
    delays=(0.01,),
)


def plan_of(of: str, *steps: plan.Step, **ask: Any) -> plan.Plan:
    """One request on a day on which nothing goes wrong, and further steps."""
    drawn = draw.plan_of(0, of).weather
    config = drawn.config | {
        "event_log": "full",
        "log_fsync": "none",
        "log_segment_bytes": 64 << 20,
        "log_on_error": "continue",
        "worker_max_concurrency": 64,
        "sse_max_concurrency": 0,
        "sse_keepalive_ms": 0,
        "head_hold_ms": 0,
        "timeout_ms": 0,
        "nonstream_truncate_after_ms": 0,
        "output_mode": "auto",
        "stop_after_tools": False,
        "store": "off",
    }
    weather = plan.Weather(config, chore_delay=0.0, latency=0.0, cuts=False, crash_at=None)
    asked = plan.Ask(**{"turns": (SCRIPT,), "answered": (REPLY,), "include_usage": True, **ask})
    visit = plan.Visit(at=2.0, asks=(asked,))
    return plan.Plan(of, 1, weather, ((0, visit), *enumerate(steps, 1)))


def played(of: plan.Plan, directory: Path) -> world.World:
    """A run of a plan that keeps every rule."""
    run = world.World(of, directory)
    run.run()
    assert run.wrong == [], run.wrong
    return run


def wrong_after(of: plan.Plan, change: Change) -> list[str]:
    """What is wrong with a run after a change."""
    with disk.temporary_directory() as directory:
        run = played(of, directory)
        change(run)
        rules.check(run)
        return run.wrong


def visitor(run: Any) -> Any:
    return run.visitors[0]


def answer(run: Any) -> answers.Answer:
    """The one answer of a run."""
    (found,) = visitor(run).answers
    assert isinstance(found, answers.Answer)
    return found


def body(old: bytes, new: bytes) -> Change:
    """Other bytes in the answer."""

    def change(run: Any) -> None:
        found = answer(run)
        assert old in found.body
        found.body = found.body.replace(old, new)

    return change


def other_counts(run: Any) -> None:
    body(b'"prompt_tokens":7', b'"prompt_tokens":8')(run)
    body(b'"total_tokens":10', b'"total_tokens":11')(run)


def marked(mark: bytes) -> Change:
    """Say of the counts that they are something else than the worker's."""
    return body(b"data: [DONE]", b": x-turntape-usage: " + mark + b"\n\ndata: [DONE]")


def both(*changes: Change) -> Change:
    """One change after the other."""

    def change(run: Any) -> None:
        for each in changes:
            each(run)

    return change
