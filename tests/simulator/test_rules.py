"""Each rule that is checked when a run is over fails where it is broken, in any world."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from engine.log import event_log as eventlog
from engine.log.format import sealed
from tests.simulator import answers, codexrules, disk, plan, rules, scripts, violations
from tests.simulator.finished import (
    SCRIPT,
    Change,
    answer,
    body,
    marked,
    other_counts,
    plan_of,
    played,
    visitor,
    wrong_after,
)

# What clients got.


def setting(**members: Any) -> Change:
    """Other members of the visitor."""

    def change(run: Any) -> None:
        for name, value in members.items():
            setattr(visitor(run), name, value)

    return change


def another_id(run: Any) -> None:
    answer(run).headers["x-request-id"] = "sim-7"


def no_answer(run: Any) -> None:
    visitor(run).answers.clear()


def one_answer_more(run: Any) -> None:
    visitor(run).answers.append(answer(run))


def cut_off(run: Any) -> None:
    answer(run).whole = False


def internal_error(run: Any) -> None:
    answer(run).status = 500


def no_stream(run: Any) -> None:
    found = answer(run)
    found.headers["content-type"] = "application/json"
    message = {"role": "assistant", "content": "Hello"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    counts = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    found.body = msgspec.json.encode({"choices": choices, "usage": counts})


def another_conversation(run: Any) -> None:
    (context,) = run.backend.director.contexts[0]
    context.insert(0, ("user", "of somebody else"))


TWO_CALLS: Final = scripts.Script(
    (), (scripts.Called("call_a", 0, "{}"), scripts.Called("call_b", 0, "{}"))
)

CLIENTS: Final[dict[str, tuple[plan.Plan, Change]]] = {
    "nonsense": (plan_of("codex"), setting(broken="nonsense")),
    "no answer within": (plan_of("codex"), setting(waited_in_vain=True)),
    "the connection was refused": (plan_of("codex"), setting(refused=True)),
    "an answer that nobody asked for": (plan_of("codex"), one_answer_more),
    "the answer of sim-7 came to sim-0": (plan_of("codex"), another_id),
    "0 answers to 1 requests": (plan_of("codex"), no_answer),
    "an answer was cut off": (plan_of("codex"), cut_off),
    "a comment for a client that takes none": (
        plan_of("codex", keepalive=False),
        body(b"data: [DONE]", b": keepalive\n\ndata: [DONE]"),
    ),
    "an internal error": (plan_of("codex"), internal_error),
    "a body where a stream was asked for": (plan_of("codex"), no_stream),
    "call ids": (plan_of("codex", tools=1, turns=(TWO_CALLS,)), body(b"call_b", b"call_a")),
    "a finish without [DONE]": (
        plan_of("codex", include_usage=False),
        body(b"data: [DONE]\n\n", b""),
    ),
    "usage does not add up": (plan_of("codex"), body(b'"total_tokens":10', b'"total_tokens":11')),
    "a stream that neither is whole nor says why": (
        plan_of("codex"),
        lambda run: setattr(answer(run), "body", answer(run).body.split(b"\n\n")[0] + b"\n\n"),
    ),
    "the model was shown": (plan_of("codex"), another_conversation),
    "was told Told": (plan_of("codex"), body(b'"lo"', b'"la"')),
    "was counted": (plan_of("codex"), other_counts),
    "that is unknown": (plan_of("codex"), marked(b"unknown")),
    "is an estimate of what was not cut": (plan_of("codex"), marked(b"estimated")),
    "is no estimate of": (plan_of("codex", max_tokens=100), marked(b"estimated")),
}
"""What is wrong, in a plan and a change of what its client got."""


# What the log has.


def segment(run: Any) -> Path:
    """The one segment of a run's log."""
    (path,) = (run.directory / "log").glob("events-*.jsonl")
    assert isinstance(path, Path)
    return path


def garbled(run: Any) -> None:
    path = segment(run)
    path.write_bytes(path.read_bytes().replace(b'"lo"', b'"la"'))


def resealed(old: bytes, new: bytes) -> Change:
    """A record that says something else, as if it had been written so.

    The log becomes one of schema 1, which has nothing that knows what was written.
    """

    def change(run: Any) -> None:
        path = segment(run)
        _, *lines = path.read_bytes().splitlines(keepends=True)
        (at,) = [at for at, line in enumerate(lines) if old in line and b'"st_' in line]
        lines[at] = sealed.seal(lines[at].partition(old)[0] + new)
        path.write_bytes(b"".join(lines))
        for name in ("chain", "checkpoint"):
            (path.parent / name).unlink()

    return change


NO_END: Final = resealed(
    b'"event":"terminal"',
    b'"event":"turn_started","thread_id":"t","turn_id":"t","state":"done","out":[]',
)
"""The last record of the stream is none."""


ANOTHER_DELTA: Final = resealed(b'"text":"lo"', b'"text":"la","state":"content","out":["content"]')
"""A text that is another than the client got."""


def another_client(run: Any) -> None:
    visitor(run).requests[0].number = 5
    answer(run).headers["x-request-id"] = "sim-5"


def without_its_client(run: Any) -> None:
    visitor(run).requests.clear()
    visitor(run).answers.clear()


LOGS: Final[dict[str, tuple[plan.Plan, Change]]] = {
    "corrupt": (plan_of("codex"), garbled),
    "without an end": (plan_of("codex"), NO_END),
    "the replay parts": (
        plan_of("codex"),
        resealed(b'"text":"lo"', b'"text":"la","state":"content","out":["content"]'),
    ),
    "a client got": (plan_of("codex"), body(b"data: {", b"data:  {")),
    "is not in the log": (plan_of("codex"), another_client),
    "nobody asked for": (plan_of("codex"), without_its_client),
}
"""What is wrong, in a plan and a change of its log, or of what its client got."""


BROKEN_RULES: Final = CLIENTS | LOGS


@pytest.mark.parametrize("says", BROKEN_RULES)
def test_a_rule_fails_where_it_is_broken(says: str) -> None:
    wrong = wrong_after(*BROKEN_RULES[says])
    assert [each for each in wrong if says in each], wrong


# Rules that are asked of a run by themselves.

CALM: Final = plan_of("codex")

FAILING: Final = plan_of("codex", turns=(msgspec.structs.replace(SCRIPT, ending="failed"),))

KILLED: Final = msgspec.structs.replace(
    CALM, weather=msgspec.structs.replace(CALM.weather, crash_at=2)
)


def run_of(of: plan.Plan, directory: Path) -> Any:
    """A run that keeps every rule."""
    run: Any = played(of, directory)
    return run


def the_log_says(of: plan.Plan, **members: Any) -> None:
    """Compare a run with another last record."""
    with disk.temporary_directory() as directory:
        run = run_of(of, directory)
        end = msgspec.structs.replace(run.ends["sim-0"], **members)
        rules._compare(run, {"sim-0": end}, lost=False)


def told_of_a_failure() -> None:
    """Judge an answer that failed on a calm day."""
    with disk.temporary_directory() as directory:
        run = run_of(CALM, directory)
        heard = answers.Heard([], error="worker_failed")
        run.backend.check_answer(run, visitor(run), 0, heard, answer(run))


def killed(change: Change) -> None:
    """Look at what a kill left, after a change of it."""
    with disk.temporary_directory() as directory:
        run = run_of(KILLED, directory)
        assert run.snapshot is not None
        change(run)
        rules._check_snapshot(run, run.directory / "left", run.snapshot)


def later_bytes(run: Any) -> None:
    """The client had more by then."""
    run.snapshot = {0: len(visitor(run).wire.received)}


class NoStart:
    """In the place of a log that starts after a kill: it does nothing."""

    def __init__(self, settings: Any, _: object) -> None:
        self.directory = settings.directory

    def open(self) -> None:
        """Close no stream."""

    def close(self) -> None:
        """There is nothing to close."""


class Emptied(NoStart):
    """One that forgets every stream."""

    def open(self) -> None:
        for path in self.directory.iterdir():
            path.unlink()


def unclosed(left: Path) -> None:
    """Have what a kill left be as it was before a start closed it, as a log of schema 1."""
    path, *others = sorted(left.glob("events-*.jsonl"))
    _, *lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if b'"event":"terminal"' not in line))
    for each in (*others, left / "chain", left / "checkpoint"):
        each.unlink(missing_ok=True)


def started_with(start: type[NoStart]) -> None:
    """Look at what a kill left where the log starts like this."""
    with pytest.MonkeyPatch.context() as patch:

        def change(run: Any) -> None:
            unclosed(run.directory / "left")
            patch.setattr(eventlog, "EventLog", start)

        killed(change)


ALONE: Final[dict[str, Callable[[], object]]] = {
    "status 600": lambda: rules.check_noise(b"HTTP/1.1 600 No\r\ncontent-length: 0\r\n\r\n"),
    "and the client was told done=True": lambda: the_log_says(CALM, kind="defect"),
    ", the log other": lambda: the_log_says(FAILING, code="other"),
    "on a calm day": told_of_a_failure,
    "had bytes that a kill would lose": lambda: killed(later_bytes),
    "after a kill: [": lambda: started_with(NoStart),
    "streams after a kill": lambda: started_with(Emptied),
}
"""What is wrong, and what finds it."""

NEVER: Final = ("ends {len(terminals)} times",)
"""Rules that another one comes before: a record behind the last one is a corrupt log."""


@pytest.mark.parametrize("says", ALONE)
def test_a_rule_that_is_asked_alone_fails_where_it_is_broken(says: str) -> None:
    with pytest.raises(answers.Broken) as broken:
        ALONE[says]()
    assert says in str(broken.value)


def test_every_rule_of_a_run_is_among_these() -> None:
    with violations.noted() as raised:
        for says in BROKEN_RULES:
            test_a_rule_fails_where_it_is_broken(says)
        for says in ALONE:
            test_a_rule_that_is_asked_alone_fails_where_it_is_broken(says)
    missing = [each for each in raised.missing(rules) if not any(it in each for it in NEVER)]
    assert missing + raised.missing(codexrules) == []
