"""Turns that are asked the same are checked once; those that are not, each by itself."""

from typing import Any, cast

import msgspec
import pytest

from engine import slices, worker
from engine.routing import checking


class Recorded:
    """A worker that refuses what is empty, and whose runners know what they were made of."""

    def __init__(self) -> None:
        self.checked: list[worker.Turn] = []

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        yield
        self.checked.append(turn)
        if not turn.messages:
            raise worker.TurnRefused("invalid_request", "Nothing is asked.")
        return Known(turn)


class Known:
    """Gives back what it was made of, and the turn that it runs."""

    def __init__(self, made_of: worker.Turn) -> None:
        self._made_of = made_of

    def run(self, turn: worker.Turn, feed: worker.Feed) -> Any:
        return self._made_of, turn


def asking(recorded: Recorded) -> worker.Worker:
    """Nothing but `check` is asked of it."""
    return cast(worker.Worker, recorded)


def asked(choice: int, *messages: worker.Message) -> worker.Turn:
    return worker.Turn(
        stream_id="st_1", request_id="req_1", target="m", messages=messages, choice=choice
    )


def said(text: str) -> worker.Message:
    return worker.Message("user", (worker.TextPart(text),))


def ran(runner: worker.Runner, turn: worker.Turn) -> Any:
    return runner.run(turn, feed=None)  # type: ignore[arg-type] # nothing is told


def test_what_one_turn_was_checked_for_runs_all_that_are_asked_the_same() -> None:
    first = asked(0, said("a"))
    second = msgspec.structs.replace(first, choice=1)
    recorded = Recorded()
    runner = slices.at_once(checking.check(asking(recorded), (first, second)))
    assert recorded.checked == [first]
    assert ran(runner, second) == (first, second)


def test_turns_that_are_asked_different_things_run_by_their_own() -> None:
    turns = (asked(0, said("a")), asked(1, said("b")))
    recorded = Recorded()
    runner = slices.at_once(checking.check(asking(recorded), turns))
    assert recorded.checked == [*turns]
    assert [ran(runner, turn) for turn in turns] == [(turn, turn) for turn in turns]


def test_one_refusal_is_that_of_all() -> None:
    with pytest.raises(worker.TurnRefused, match="Nothing is asked"):
        slices.at_once(checking.check(asking(Recorded()), (asked(0, said("a")), asked(1))))
