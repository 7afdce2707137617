"""Rows 16, 18-21 and 28 of the fault matrix: an app-server that breaks its protocol.

A stand-in for the binary does it: the real one is not known to.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from bench import standin
from engine.codex.child import stderrlog
from tests.faults import codexstage, expected, scene
from tests.faults.codexstage import STREAMED, StandIn
from tests.support.logs import serverlog
from tests.support.process import machinetime

OPEN = standin.Turn(deltas=2, texts=("so ", "far"), ending="silent")
"""Some text and no end."""

SHORT = {
    **codexstage.PROMPTLY,
    "engine.codex.turns.states.STEP_GRACE_S": 0.3,
    "engine.codex.turns.states.ITEM_GRACE_S": 0.3,
    "engine.codex.turns.thread.INTERRUPT_GRACE_S": 0.5,
}
"""Constants of a server that waits less."""

DELTA = (
    '{"method":"item/agentMessage/delta","params":'
    '{"threadId":"{thread}","turnId":"{turn}","itemId":"msg_0","delta":"early"}}'
)

COMPLETED = (
    '{"method":"turn/completed","params":{"threadId":"{thread}","turn":'
    '{"id":"{turn}","items":[],"status":"completed","error":null}}}'
)

USER_INPUT = (
    '{"id":2,"method":"item/tool/requestUserInput","params":'
    '{"threadId":"{thread}","turnId":"{turn}","itemId":"call_1","questions":[]}}'
)

GARBAGE = (
    standin.GARBAGE,
    "{",
    "[]",
    "null",
    '{"method":7}',
    "\x00\x1b[31m",
    '{"id":1}',
    '{"method":"item/agentMessage/delta","params":{"threadId":"no-such-thread","delta":7}}',
    '{"method":"item/started","params":[]}',
)
"""Lines that are no JSON-RPC, or not what their method says, and about no turn."""

HOLES = {
    "delta": '{"method":"item/agentMessage/delta","params":{"threadId":"{thread}","delta":7}}',
    "end": '{"method":"turn/completed","params":{"threadId":"{thread}","turn":{"status":"x"}}}',
    "deep": '{"method":"item/started","params":{"threadId":"{thread}","item":'
    + "[" * 5000
    + "]" * 5000
    + "}}",
    "half": '{"method":"item/agentMessage/delta","params":{"threadId":"{thread}","turnId',
}
"""Lines of a turn that cannot be read: something of it is lost."""

ASKS = {
    "approval": (standin.APPROVAL, 0),
    "elicitation": (standin.ELICITATION, 1),
    "user input": (USER_INPUT, 2),
}
"""Requests of the worker's, and their ids."""

TURNS = {
    "open": OPEN,
    "garbage": standin.Turn(before=GARBAGE, deltas=2),
    **{name: standin.Turn(before=(line,), deltas=2) for name, line in HOLES.items()},
    "stderr": standin.Turn(stderr_lines=20_000, deltas=2),
    "endless": standin.Turn(deltas=2, texts=("so ", "far"), ending="endless"),
    "exit": standin.Turn(deltas=2, texts=("so ", "far"), ending="exit"),
    "exit_whole": standin.Turn(deltas=2, texts=("so ", "far"), ending="exit_whole"),
    "exit_mid_line": standin.Turn(deltas=2, texts=("so ", "far"), ending="exit_mid_line"),
    "early": standin.Turn(before=(DELTA, COMPLETED)),
    "sentinel": standin.Turn(deltas=2, texts=("data: [DONE]\n\n", "[DONE]")),
    **{name: standin.Turn(before=(line,), deltas=2) for name, (line, _) in ASKS.items()},
}
"""How a turn goes, by its prompt."""

STUBBORN = {
    "unanswered": standin.Scenario(turns=TURNS, deaf=("turn/interrupt",)),
    "refused": standin.Scenario(turns=TURNS, overloads={"turn/interrupt": 1000}),
}
"""Processes that cannot be had to stop a turn."""

SO_FAR = expected.role(asks_usage=True) + expected.content("so ", "far", asks_usage=True)

TWO_TOKENS = (
    expected.role(asks_usage=True)
    + expected.content("token ", "token ", asks_usage=True)
    + expected.finish("stop", asks_usage=True)
    + expected.usage(10, 2)
    + expected.DONE
)
"""A stream that was not troubled."""

UNCOUNTED = (
    expected.finish("stop", asks_usage=True)
    + expected.UNKNOWN
    + expected.usage(0, 0)
    + expected.DONE
)
"""How a whole answer ends whose counts never came."""

WORKER_EXITED = expected.error(
    "worker_exited", "The worker's process ended before the answer was complete."
)


SETTINGS: dict[str, Any] = {"PROXY_STREAM_IDLE_TIMEOUT_MS": "600", "PROXY_WORKER_EXIT": "error"}


@pytest.fixture(scope="module")
def on() -> Iterator[StandIn]:
    scenario = standin.Scenario(turns=TURNS)
    with codexstage.stand_in(scenario, constants=SHORT, **SETTINGS) as up:
        yield up


def told(on: StandIn, name: str) -> scene.Answer:
    """The answer to a prompt."""
    return on.stage.ask(name, **STREAMED)


def promptly(on: StandIn, name: str) -> scene.Answer:
    """The answer to a prompt, which takes a second at most."""
    with machinetime.within(scene.SECOND):
        return told(on, name)


def test_row_16_what_is_no_json_is_said_and_skipped(on: StandIn) -> None:
    answer = told(on, "garbage")
    assert answer.body == TWO_TOKENS
    on.stage.survived("completed", None, answer)
    machinetime.until(lambda: len(on.said("undecodable_line")) >= len(GARBAGE))
    assert len(on.said("undecodable_line")) == len(GARBAGE)


@pytest.mark.parametrize("name", HOLES)
def test_row_16_a_turn_whose_line_cannot_be_read_ends_and_says_so(on: StandIn, name: str) -> None:
    answer = on.stage.ask(name)
    assert (answer.status, answer.error["code"]) == (502, "upstream_decode_error")
    on.stage.survived("upstream_error", "upstream_decode_error", answer)
    garbled = [each["data"] for each in on.stage.server.records() if "data" in each]

    assert garbled[-1].startswith(HOLES[name][:40])
    assert len(garbled[-1]) <= 1024


def test_row_18_a_whole_answer_does_not_wait_for_the_last_word(on: StandIn) -> None:
    before = len(on.received("turn/interrupt"))
    streamed = promptly(on, "endless")
    assert streamed.body == SO_FAR + UNCOUNTED
    whole = on.stage.ask("endless")
    assert whole.status == 200
    for last in on.stage.survived("completed", None, streamed, whole):
        assert last.usage is None
    assert len(on.received("turn/interrupt")) == before + 2


def test_row_18_an_answer_that_is_not_whole_fails_in_the_end(on: StandIn) -> None:
    before = len(on.received("turn/interrupt"))
    answer = told(on, "open")  # the error says which limit ran out, and no other is in reach
    assert answer.body == SO_FAR + expected.error(
        "idle_timeout", "The model stopped sending output before its answer was complete."
    )
    on.stage.survived("timeout", "idle_timeout", answer)
    assert len(on.received("turn/interrupt")) == before + 1


def test_row_18_a_deaf_process_with_a_whole_answer_is_replaced() -> None:
    with codexstage.stand_in(STUBBORN["unanswered"], standin.Scenario(), constants=SHORT) as on:
        answer = promptly(on, "endless")
        assert answer.body == SO_FAR + UNCOUNTED
        on.stage.recorded("completed", None, answer)
        machinetime.until(lambda: len(on.starts) == 2, scene.SECOND)
        on.stage.survived("completed", None, answer)


@pytest.mark.parametrize("how", STUBBORN)
def test_row_19_a_process_that_will_not_be_interrupted_is_replaced(how: str) -> None:
    with codexstage.stand_in(STUBBORN[how], standin.Scenario(), constants=SHORT) as on:
        leave(on)
        machinetime.until(lambda: len(on.starts) == 2, scene.SECOND)
        on.stage.released()
        machinetime.until(lambda: bool(on.said("worker_lost")))
        (line,) = on.said("worker_lost")
        # Of one that refuses again and again the last answer may come after the time is up.
        ways = {"unanswered": ("unanswered",), "refused": ("refused", "unanswered")}
        assert line["reason"] in [f"retired: turn/interrupt {way}" for way in ways[how]]


def test_row_19_an_interrupt_that_is_refused_for_now_is_tried_again() -> None:
    busy = standin.Scenario(turns=TURNS, overloads={"turn/interrupt": 3})
    with codexstage.stand_in(busy, constants=SHORT) as on:
        leave(on)
        machinetime.until(lambda: len(on.received("turn/interrupt")) == 4, scene.SECOND)
        on.stage.released()
        assert len(on.received("turn/interrupt")) == 4
        assert len(on.starts) == 1


def leave(on: StandIn) -> None:
    """Leave in the middle of a stream: for the client it is over at once."""
    with on.stage.asked("open", stream=True) as leaving:
        leaving.until(b"far")
    machinetime.until(lambda: on.stage.server.get("/healthz")[1]["streams"] == 0, scene.SECOND)
    on.stage.recorded("client_gone", None, leaving, cause="left")


def test_row_19_an_interrupt_may_race_the_end_of_its_turn(on: StandIn) -> None:
    before = len(on.starts)
    for _ in range(40):
        with on.stage.asked("a turn of eight tokens", stream=True) as leaving:
            leaving.until(b"token ")
        machinetime.until(
            lambda: serverlog.has_ended(on.stage.server, leaving.request_id), scene.SECOND
        )
        assert serverlog.terminal(on.stage.server, leaving.request_id).code is None
    on.stage.released()
    assert len(on.starts) == before


def test_row_20_a_flood_on_stderr_is_drained_and_bounded(on: StandIn) -> None:
    began = time.monotonic()
    answer = told(on, "stderr")
    assert answer.body == TWO_TOKENS
    seconds = int(time.monotonic() - began) + 2  # so many may be begun in that time
    on.stage.survived("completed", None, answer)
    machinetime.until(lambda: bool(on.said("worker_stderr")))
    lines = on.said("worker_stderr")
    assert len(lines) <= seconds * stderrlog.STDERR_LINES_A_SECOND
    assert "stand-in is worried" in lines[-1]["text"]


@pytest.mark.parametrize("name", ["exit", "exit_mid_line"])
def test_row_20_an_end_of_output_ends_every_stream(on: StandIn, name: str) -> None:
    answer = promptly(on, name)
    assert answer.body == SO_FAR + WORKER_EXITED
    on.stage.survived("worker_lost", "worker_exited", answer)


def test_row_20_an_end_of_output_after_a_whole_item_is_no_failure(on: StandIn) -> None:
    answer = promptly(on, "exit_whole")
    assert answer.body == SO_FAR + UNCOUNTED
    on.stage.survived("completed", None, answer)


@pytest.mark.parametrize("name", ASKS)
def test_row_21_what_a_worker_asks_is_refused_at_once(on: StandIn, name: str) -> None:
    answer = promptly(on, name)
    assert answer.body == TWO_TOKENS
    on.stage.survived("completed", None, answer)
    refused = [line for line in standin.received(on.directory) if "error" in line]
    assert refused[-1]["id"] == ASKS[name][1]
    assert refused[-1]["error"] == {
        "code": -32601,
        "message": "This client does not answer such requests.",
    }


def test_row_28_an_end_without_the_end_of_its_message_and_what_comes_after_it(
    on: StandIn,
) -> None:
    answer = told(on, "early")
    early = expected.role(asks_usage=True) + expected.content("early", asks_usage=True)
    assert answer.body == early + UNCOUNTED
    on.stage.survived("completed", None, answer)


def test_row_28_a_sentinel_in_a_text_is_text(on: StandIn) -> None:
    answer = told(on, "sentinel")
    assert answer.body == (
        expected.role(asks_usage=True)
        + expected.content("data: [DONE]\n\n", "[DONE]", asks_usage=True)
        + expected.finish("stop", asks_usage=True)
        + expected.usage(10, 2)
        + expected.DONE
    )
    on.stage.survived("completed", None, answer)
