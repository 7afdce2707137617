"""Rows 41 and 50 of the fault matrix: bugs of the server's own, in front of an upstream."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import defects, observed, planting, scene
from tests.faults.defects import BODIES, EARLY, SENT, STREAMED, Bug
from tests.faults.upstreamstage import FINISHED, SO_FAR, TOLD, Staged, upstream
from tests.support.client import httpclient
from tests.support.process import machinetime
from tests.support.providers import scripted
from tests.support.providers.upstreams import STREAM_HEAD, chunk, framed, sse

READING = (Bug("upstream's event", 1, None), Bug("upstream's event", 2, 1))


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    room: dict[str, Any] = {
        "PROXY_SSE_MAX_CONCURRENCY": "4",
        "PROXY_SSE_KEEPALIVE_MS": "100",
        observed.PLANTED: "{}",
    }
    with upstream(**room) as staged:
        yield staged


def ask(staged: Staged, bug: Bug, stream: bool) -> scene.Answer:
    """The answer that hits a bug; of a stream each part comes in a wake-up of its own."""
    gates = [scripted.Gate() for _ in defects.TEXTS] if stream else []
    first, second = (framed(sse(chunk(text))) for text in defects.TEXTS)
    prompt = staged.source.prompt(
        [STREAM_HEAD + first, *gates[:1], second, *gates[1:], FINISHED, "close"]
    )
    headers = {"x-request-id": bug.request_id(), "x-no-keepalive": "1"}
    with staged.stage.asked(prompt, headers, stream=stream) as live:
        for text, gate in zip(defects.TEXTS[: bug.texts or 0], gates, strict=False):
            live.until(b'"%b"' % text.encode())
            gate.open()
        answer = live.answer()
    for gate in gates:  # who waits there would not notice that nobody listens
        gate.open()
    return answer


@defects.named((*EARLY, *STREAMED, *SENT, *READING, defects.FINISHED_EARLIER))
def test_row_41_a_bug_costs_the_stream_that_meets_it(staged: Staged, bug: Bug) -> None:
    with staged.neighbours():
        answer = ask(staged, bug, stream=True)
        defects.check_stream(bug, answer)
    defects.check_end(staged.stage, bug, answer)


@defects.named((*EARLY, *BODIES, *READING[:1]))
def test_row_41_a_bug_in_an_answer_that_is_not_streamed_is_a_500(staged: Staged, bug: Bug) -> None:
    with staged.neighbours():
        answer = ask(staged, bug, stream=False)
        defects.check_body(bug, answer)
    defects.check_end(staged.stage, bug, answer)


def test_row_41_an_answer_that_cannot_even_be_refused_is_cut_off(staged: Staged) -> None:
    headers = {"x-request-id": planting.hit("whole answer", 1, planting.FROM_THEN_ON)}
    with (
        staged.neighbours(),
        staged.stage.asked(scene.PLAIN, headers) as live,
        pytest.raises(httpclient.CutOff),
    ):
        live.answer()
    staged.survived("completed", None, live)
    staged.stage.broke(live)


def test_row_41_a_bug_when_a_timer_fires_ends_its_own_stream(staged: Staged) -> None:
    prompt = staged.source.prompt([TOLD, "stall"])
    with staged.neighbours():
        answer = staged.stage.ask(prompt, {"x-request-id": planting.hit("timer")}, stream=True)
    assert answer.body == SO_FAR + defects.ERROR
    machinetime.until(staged.source.request_for(prompt).left.is_set, scene.SECOND)
    staged.survived("defect", "internal_error", answer)
    staged.stage.broke(answer)


def test_row_41_a_turn_that_fails_to_stop_keeps_nothing(staged: Staged) -> None:
    prompt = staged.source.prompt([TOLD, "stall"])
    headers = {"x-request-id": planting.hit("upstream's cancel")}
    with staged.neighbours():
        with staged.stage.asked(prompt, headers, stream=True) as leaving:
            leaving.until(b'"lo"')
        machinetime.until(staged.source.request_for(prompt).left.is_set, scene.SECOND)
    staged.survived("client_gone", None, leaving, cause="left")
    staged.stage.broke(leaving)


def test_row_50_the_watch_of_an_upstream_is_begun_again() -> None:
    watches: dict[str, Any] = {
        "constants": {"engine.upstream.worker.REFRESH_S": 0.2, **defects.PROMPTLY},
        "PROXY_SSE_MAX_CONCURRENCY": "3",
        observed.PLANTED: json.dumps({"engine.upstream.client.Client.models": [1, 3, 4]}),
    }
    with upstream(**watches) as staged:
        with staged.neighbours():
            lines = staged.stage.defects(3)
            asked = len(staged.source.server.listings)
            machinetime.until(lambda: len(staged.source.server.listings) > asked)
        assert [line["task"] for line in lines] == ["watch_upstream"] * 3
        assert staged.stage.server.defects() == {"task": 3}
        assert staged.stage.server.get("/readyz")[0] == 200


def test_row_50_pruning_that_fails_is_begun_again() -> None:
    with upstream(**{**defects.PRUNING, "PROXY_SSE_MAX_CONCURRENCY": "3"}) as staged:
        with staged.neighbours():
            defects.check_pruning(staged.stage)
        staged.stage.released()
