"""Of a request's way in each step is taken once, whoever answers in the end."""

from pathlib import Path
from typing import NamedTuple

import pytest
import structlog

from engine import slices, worker
from engine.stream import pump
from machines import events
from server import permits
from server.access import entry as entries
from server.api import ratelimit
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


@pytest.mark.parametrize(("owner", "part"), [(permits.Permits, "counts"), (pump.Pump, "__init__")])
def test_a_stream_that_cannot_be_made_keeps_no_permit(
    owner: type, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[permits.Permit] = []
    take_all = permits.take_all

    def noted(*shares: tuple[permits.Permits, int]) -> permits.Permit | None:
        taken.extend(permit for permit in (take_all(*shares),) if permit is not None)
        return taken[-1]

    def raising(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(permits, "take_all", noted)
    monkeypatch.setattr(owner, part, raising)
    environ = {"PROXY_SSE_MAX_CONCURRENCY": "1", "PROXY_TEST_ENDPOINTS": "true"}
    answer = answering.ask({"stream": True}, environ=environ)
    assert answer.status == 500
    (permit,) = taken
    assert permit._hold is permits.Hold.RELEASED


def test_a_charge_that_fails_costs_no_line_of_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratelimit, "charge", None)  # a bug
    with structlog.testing.capture_logs() as lines:
        assert answering.ask({"model": "gpt-5.5"}).status == 200
    (defect,) = [line for line in lines if line["event"] == "defect"]
    (ended,) = [line for line in lines if line["event"] == "request_ended"]
    assert (ended["kind"], ended["stream"]) == ("completed", defect["stream"])


def test_a_bug_in_what_a_span_tells_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(_: object) -> bool:
        raise RuntimeError("planted")

    monkeypatch.setattr(entries.Entry, "is_traced", property(raising))
    with structlog.testing.capture_logs() as lines:
        answer = answering.ask({})
    assert (answer.status, answer.choice["message"]["content"]) == (200, "Hi")
    defects = [line["boundary"] for line in lines if line["event"] == "defect"]
    assert "projection" in defects
