"""Of a request's way in each step is taken once, whoever answers in the end."""

from pathlib import Path
from typing import NamedTuple

from engine import slices, worker
from machines import events
from tests.server import answering

RULES = """
[models.small]
model = "gpt-5.5"
fallback = "large"
[models.large]
model = "gpt-5.5"
"""


class Checking(answering.Player):
    """A worker that keeps the models it was asked to check a turn for.

    Args:
        refuses: how many of the first turns it does not take.

    Attributes:
        ran: for each turn, how many checks there had been when its runner was made.
    """

    def __init__(self, refuses: int = 0) -> None:
        super().__init__((events.TextDelta("Hi"), *answering.END))
        self.checked: list[str] = []
        self.ran: list[int] = []
        self._refuses = refuses

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        yield
        self.checked.append(turn.target)
        if len(self.checked) <= self._refuses:
            raise worker.TurnRefused("worker_unauthorized", "There is no login.")
        return OfRequest(self, len(self.checked))


class OfRequest(NamedTuple):
    """Runs the turns of one request."""

    player: Checking
    number: int

    def run(self, turn: worker.Turn, feed: worker.Feed) -> worker.RunningTurn:
        self.player.ran.append(self.number)
        return self.player.run(turn, feed)


def ask(directory: Path, player: Checking) -> answering.Answer:
    rules = directory / "turntape.toml"
    rules.write_text(RULES)
    environ = {"PROXY_MODELS_FILE": str(rules)}
    return answering.ask({"model": "small"}, environ=environ, player=player)


def test_a_turn_is_checked_once_where_another_target_might_answer_it(tmp_path: Path) -> None:
    player = Checking()
    answer = ask(tmp_path, player)
    assert (answer.status, answer.choice["message"]["content"]) == (200, "Hi")
    assert (len(player.checked), player.ran) == (1, [1])
    assert "x-turntape-fallback" not in answer.headers


def test_a_turn_that_is_refused_is_not_begun_and_the_next_target_is_named(tmp_path: Path) -> None:
    player = Checking(refuses=1)
    answer = ask(tmp_path, player)
    assert (answer.status, answer.headers["x-turntape-fallback"]) == (200, "large")
    assert (len(player.checked), player.ran) == (2, [2])


def test_where_every_target_refuses_the_first_refusal_is_the_answer(tmp_path: Path) -> None:
    player = Checking(refuses=2)
    answer = ask(tmp_path, player)
    assert (answer.status, len(player.checked), player.turns) == (401, 2, [])


def test_every_choice_is_run_by_what_the_check_has_given() -> None:
    player = Checking()
    asked = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "Hi"}], "n": 3}
    assert answering.ask(asked, player=player).status == 200
    assert (len(player.checked), player.ran) == (1, [1, 1, 1])
