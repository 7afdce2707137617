"""Row 46 of the fault matrix: the most of each repeated item, to Codex and from it."""

import collections
from collections.abc import Iterator
from typing import Any

import pytest

from bench import standin
from tests.faults import biggest, instep, observed, scene
from tests.faults.codexstage import StandIn

DELTAS = 4000

LARGE = 1 << 20


@pytest.fixture(scope="module")
def on() -> Iterator[StandIn]:
    turns = {
        "deltas": standin.Turn(deltas=DELTAS),
        "large deltas": standin.Turn(deltas=4, line_bytes=LARGE),
        "blocks": standin.Turn(
            deltas=biggest.CALLS, texts=("<use_tool><name>f</name><a>1</a></use_tool>",)
        ),
    }
    with instep.stand_in(turns, **{observed.MEASURED: "1"}) as on:
        yield on


ITEMS = {
    "messages": biggest.ITEMS,
    "calls": biggest.ITEMS,
    "calls and results": biggest.ITEMS - 1,
}
"""Items of a conversation that Codex is given; of others one, whatever it is full of."""


@pytest.mark.long(usual=("messages",))
@biggest.each
def test_row_46_the_biggest_requests_arrive_whole(on: StandIn, kind: str) -> None:
    before = len(standin.received(on.directory))
    biggest.ask(on.stage, kind)
    counts = given(on, before)
    assert max(counts.values()) == ITEMS.get(kind, 1), counts
    with instep.beside(on):
        biggest.ask(on.stage, kind)
    on.stage.released()


def given(on: StandIn, before: int) -> collections.Counter[str]:
    """How many items each thread was given since so many lines."""
    counts: collections.Counter[str] = collections.Counter()
    for line in standin.received(on.directory)[before:]:
        params = line.get("params")
        if isinstance(params, dict):
            for items in (params.get("items"), params.get("input")):
                counts[params.get("threadId", "")] += len(items or ())
    return counts


def answered(on: StandIn, prompt: str, **fields: Any) -> scene.Answer:
    """An answer, while others are asked for."""
    with instep.beside(on):
        answer = biggest.answered(on.stage, prompt, **fields)
    on.stage.survived("completed", None, answer)
    return answer


def test_row_46_very_many_deltas_are_told(on: StandIn) -> None:
    assert biggest.text(answered(on, "deltas")) == "token " * DELTAS


def test_row_46_very_large_deltas_are_told(on: StandIn) -> None:
    told = biggest.text(answered(on, "large deltas"))
    assert 4 * (LARGE - 512) < len(told) < 4 * LARGE
    assert told.replace("x", "") == "token " * 4


@pytest.mark.long
def test_row_46_as_many_calls_as_there_may_be_are_told(on: StandIn) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    told = biggest.arguments(answered(on, "blocks", tools=tools))
    assert told == dict.fromkeys(range(biggest.CALLS), '{"a":"1"}')
