"""Row 44 of the fault matrix: requests, and what Codex says, nested up to and past the limit."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench import standin
from tests.faults import codexstage, depth, instep, observed
from tests.faults.codexstage import Binary, StandIn
from tests.support.providers.replies import FunctionCall, Stream

TOOLS: dict[str, Any] = {"tools": [depth.FUNCTION]}

END = (
    '{"method":"turn/completed","params":{"threadId":"{thread}","turn":{"id":"{turn}","items":[],'
    '"status":"failed","error":{"message":%s,"codexErrorInfo":null}}}}'
)
"""The end of a turn that failed."""


def refusal(levels: int) -> str:
    """The body of a provider's error."""
    return f'{{"error":{{"message":"No.","x":{depth.nested(levels - 2)}}}}}'


@pytest.fixture(scope="module")
def on() -> Iterator[StandIn]:
    turns = {
        "hi": standin.Turn(deltas=1, texts=("Hello",)),
        **{
            f"block {each}": standin.Turn(deltas=1, texts=(depth.block(depth.nested(each)),))
            for each in depth.DEPTHS
        },
        **{
            f"error {each}": standin.Turn(before=(END % json.dumps(refusal(each)),))
            for each in depth.DEPTHS
        },
    }
    with instep.stand_in(turns, **{observed.MEASURED: "1"}) as on:
        yield on
        depth.check_replays(on.stage)


@depth.each
def test_row_44_a_request_is_read_to_the_limit(on: StandIn, levels: int) -> None:
    with instep.beside(on):
        depth.check_requests(on.stage, levels)
    on.stage.released()


@depth.each
def test_row_44_a_block_may_hold_what_is_nested_at_will(on: StandIn, levels: int) -> None:
    with instep.beside(on):
        streamed = on.stage.ask(f"block {levels}", stream=True, **TOOLS)
    whole = on.stage.ask(f"block {levels}", **TOOLS)
    depth.check_block(streamed, whole, depth.nested(levels))
    on.stage.survived("completed", None, streamed, whole)


@depth.each
def test_row_44_the_body_of_a_refusal_is_read_to_the_limit(on: StandIn, levels: int) -> None:
    with instep.beside(on):
        got = on.stage.ask(f"error {levels}")
    told = (got.status, got.error["message"], got.error["code"])
    if depth.is_read(levels):
        assert told == (400, "No.", "provider_rejected")
    else:
        assert told == (502, "The model provider failed to answer.", "upstream_error")
    on.stage.survived("upstream_error", told[2], got)


@pytest.fixture(scope="module")
def real() -> Iterator[Binary]:
    room: dict[str, Any] = {"WORKER_MAX_CONCURRENCY": "4", "PROXY_SSE_MAX_CONCURRENCY": "4"}
    with codexstage.binary(**room) as real:
        yield real
        depth.check_replays(real.stage)


@pytest.mark.long(usual=("127", "128", "129"))
@pytest.mark.codex
@pytest.mark.parametrize("levels", (100, 120, *depth.DEPTHS))
def test_row_44_arguments_of_a_call_are_exact_or_an_error(real: Binary, levels: int) -> None:
    arguments = f'{{"x":{depth.nested(levels - 1)}}}'
    call = Stream((FunctionCall("call_1", "f", (arguments,)),))
    with real.neighbours():
        got = real.stage.ask(real.plan.prompt(call), **TOOLS)
    # Codex writes arguments into its lines as what they are, not as text, to a depth of its own.
    if got.status == 200:
        assert depth.call_of(got) == ("f", arguments)
        real.stage.survived("completed", None, got)
    else:
        assert 120 < levels <= 128
        assert (got.status, got.error["code"]) == (502, "upstream_decode_error")
        real.stage.survived("upstream_error", "upstream_decode_error", got)
