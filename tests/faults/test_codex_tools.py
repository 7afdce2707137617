"""Rows 22, 24 and 25 of the fault matrix: tool calls by way of the real Codex binary."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.codex.toolplay import WEATHER, call
from tests.faults import codexstage, expected, scene
from tests.faults.codexstage import Binary
from tests.support.logs import serverlog
from tests.support.process import machinetime
from tests.support.providers.replies import (
    Completed,
    Cut,
    FunctionCall,
    Incomplete,
    Message,
    Stream,
)
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

TOOLS: dict[str, Any] = {"tools": [WEATHER], "stream": True}

PATIENCE = {**codexstage.PROMPTLY, "engine.codex.turns.states.RESULT_PATIENCE_S": 0.2}
"""Codex says nothing of a step that broke behind a call until it has the call's result."""

BROKE_OFF = expected.error(
    "upstream_disconnected", "The provider's stream ended before the answer was complete."
)

LOOK = Message(("Let me ", "look."))

LOOKED = expected.role() + expected.content("Let me ", "look.")

BLOCK = "<use_tool><name>get_weather</name><city>Paris</city></use_tool>"


def counted(calls: int) -> bytes:
    """The comments before the finish of an answer with calls."""
    comments = (f"x-codex-tool-call-count: {calls}", "x-codex-tool-call-truncated: false")
    return "".join(f": {comment}\n\n" for comment in comments).encode()


@pytest.fixture(scope="module")
def on() -> Iterator[Binary]:
    with codexstage.binary(PATIENCE) as binary:
        yield binary


def test_row_22_two_calls_have_their_indices_ids_names_and_exact_arguments(on: Binary) -> None:
    exact = '{"city": "Oslo", "a": 1.50,  "é\\u00e9": "日本"}'
    prompt = on.plan.prompt(Stream((LOOK, call(1), call(2, exact))))
    answer = on.stage.ask(prompt, **TOOLS)
    assert answer.body == (
        LOOKED
        + expected.call(0, "call_1", "get_weather", '{"city": "Paris"}')
        + expected.call(1, "call_2", "get_weather", exact)
        + counted(2)
        + expected.finish("tool_calls")
        + expected.DONE
    )
    (last,) = on.stage.survived("completed", None, answer)
    assert (last.tool_calls, last.tool_calls_dropped) == (2, 0)


WITHIN = FunctionCall("call_2", "get_weather", ('{"city": ', Cut(), '"Oslo"}'))

ROW_24 = {
    "in the first": (Stream((LOOK, WITHIN)), 0),
    "in the second": (Stream((LOOK, call(1), WITHIN)), 1),
    "between two": (Stream((LOOK, call(1), Cut(), call(2))), 1),
}
"""Streams that die, and how many calls of theirs were whole."""


@pytest.mark.parametrize("name", ROW_24)
def test_row_24_a_stream_that_dies_in_a_call_shows_none(on: Binary, name: str) -> None:
    stream, dropped = ROW_24[name]
    prompt = on.plan.prompt(stream)
    answer = on.stage.ask(prompt, **TOOLS)
    assert answer.body == LOOKED + BROKE_OFF
    (last,) = on.stage.survived("upstream_error", "upstream_disconnected", answer)
    assert (last.tool_calls, last.tool_calls_dropped) == (0, dropped)


def test_row_24_a_step_that_ends_by_its_length_shows_no_call(on: Binary) -> None:
    prompt = on.plan.prompt(Stream((LOOK, call(1)), Incomplete("max_output_tokens")))
    answer = on.stage.ask(prompt, **TOOLS)
    assert answer.body == LOOKED + expected.finish("length") + expected.DONE
    (last,) = on.stage.survived("completed", None, answer)
    assert (last.tool_calls, last.tool_calls_dropped) == (0, 1)


def test_row_24_a_client_that_leaves_while_a_call_is_held_stops_the_turn(on: Binary) -> None:
    prompt = on.plan.prompt(Stream((LOOK, call(1), Gate())))
    with on.stage.asked(prompt, **TOOLS) as leaving:
        leaving.until(b"look.")
        machinetime.until(lambda: "item_started" in names(on, leaving.request_id))
    on.stopped(prompt)
    assert codexstage.so_far(leaving) == LOOKED
    (last,) = on.stage.survived("client_gone", None, leaving, cause="left")
    assert last.tool_calls == 0


def names(on: Binary, request_id: str) -> list[str]:
    """What has happened to a request."""
    story = serverlog.story(on.stage.server, request_id)
    return [str(event.__struct_config__.tag) for event in story]


CALLED = (
    expected.role()
    + expected.call(0, "call_1_0_0", "get_weather", '{"city":"Paris"}')
    + counted(1)
)
"""What `BLOCK` becomes."""


def of_block(answer: scene.Answer) -> bytes:
    """The body of an answer with a block: the id of its call is ours, and another in each run."""
    return re.sub(rb'"id":"call_[0-9a-f]{24}_', b'"id":"call_1_', answer.body)


def test_row_25_a_stop_after_calls_is_tool_calls(on: Binary) -> None:
    """Codex says `completed` of a turn whose calls stand in its text."""
    prompt = on.plan.prompt(Stream((Message((BLOCK,)),), Completed()))
    answer = on.stage.ask(prompt, **TOOLS)
    assert of_block(answer) == CALLED + expected.finish("tool_calls") + expected.DONE
    (last,) = on.stage.survived("completed", None, answer)
    assert (last.finish_words, last.finish_reasons) == (("stop",), ("tool_calls",))


@pytest.mark.parametrize(
    ("word", "reason"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter")],
)
def test_row_25_length_and_filter_stay_after_calls(on: Binary, word: str, reason: str) -> None:
    prompt = on.plan.prompt(Stream((Message((BLOCK,)),), Incomplete(word)))
    answer = on.stage.ask(prompt, **TOOLS)
    assert of_block(answer) == CALLED + expected.finish(reason) + expected.DONE
    (last,) = on.stage.survived("completed", None, answer)
    assert last.finish_reasons == (reason,)
