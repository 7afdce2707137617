"""Asks a worker whether it takes the turns of a request, and has it run them.

Turns that differ in their choices alone are checked once: what a worker makes of one serves all.
Where the choices answer several prompts each turn is checked by itself, and run by what came of
that.
"""

from collections.abc import Mapping

from engine import slices, worker


class EachItsOwn:
    """Runs turns that are asked different things.

    Args:
        runners: of each turn, by its choice.
    """

    def __init__(self, runners: Mapping[int, worker.Runner]) -> None:
        self._runners = runners

    def run(self, turn: worker.Turn, feed: worker.Feed) -> worker.RunningTurn:
        """Begin one turn at once."""
        return self._runners[turn.choice].run(turn, feed)


def check(asked: worker.Worker, turns: tuple[worker.Turn, ...]) -> slices.Steps[worker.Runner]:
    """Return what runs the turns of a request.

    Raises:
        TurnRefused: the worker does not take one of them.
    """
    first, *others = turns
    if all(each.messages is first.messages and each.body is first.body for each in others):
        return (yield from asked.check(first))
    runners = {}
    for turn in turns:
        runners[turn.choice] = yield from asked.check(turn)
    return EachItsOwn(runners)
