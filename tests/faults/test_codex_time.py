"""Rows 7, 8 and 33 of the fault matrix: a model provider that says nothing for too long."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.faults import codexstage, expected
from tests.faults.codexstage import STREAMED, Binary
from tests.support.providers.provider import HELLO
from tests.support.providers.replies import Held, HttpError, Message, Reasoning, Stream
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

NO_OUTPUT = "The model sent no output within the time limit."

STOPPED = "The model stopped sending output before its answer was complete."

OPEN = Stream((Message(("so ", "far", Gate())),))
"""Some text and no end."""

SO_FAR = expected.role(asks_usage=True) + expected.content("so ", "far", asks_usage=True)

WHOLE = (
    expected.role(asks_usage=True)
    + expected.content("Hello", " world", asks_usage=True)
    + expected.finish("stop", asks_usage=True)
    + expected.usage(10, 5, 3, 1)
    + expected.DONE
)


@pytest.fixture(scope="module")
def patient() -> Iterator[Binary]:
    """A server that sends the head early, and whose limits come after it."""
    with codexstage.binary(
        PROXY_HEAD_HOLD_MS="150",
        PROXY_SSE_KEEPALIVE_MS="70",
        PROXY_STREAM_IDLE_TIMEOUT_MS="400",
        PROXY_FIRST_CHUNK_TIMEOUT_MS="800",
    ) as binary:
        yield binary


@pytest.fixture(scope="module")
def hasty() -> Iterator[Binary]:
    """A server whose first-chunk limit is shorter than its hold."""
    with codexstage.binary(PROXY_FIRST_CHUNK_TIMEOUT_MS="400") as binary:
        yield binary


def without_heartbeats(body: bytes, least: int) -> bytes:
    """What else is in a body that has so many heartbeats."""
    assert body.count(expected.KEEPALIVE) >= least
    return body.replace(expected.KEEPALIVE, b"")


def test_row_07_no_output_in_time_is_a_504(hasty: Binary) -> None:
    prompt, *answers = hasty.both(Held(Gate()))
    for answer in answers:
        assert answer.status == 504
        assert {"error": answer.error} == expected.error_object("request_timeout", NO_OUTPUT)
        assert answer.headers["x-should-retry"] == "false"
        assert "retry-after" not in answer.headers
    hasty.stopped(prompt)
    hasty.stage.survived("timeout", "request_timeout", *answers)


def test_row_07_no_output_after_the_head_is_an_error_frame(patient: Binary) -> None:
    prompt, streamed, whole = patient.both(Held(Gate()))
    assert streamed.status == 200
    told = without_heartbeats(streamed.body, least=5)
    assert told == expected.error("request_timeout", NO_OUTPUT)
    assert (whole.status, whole.error["code"]) == (504, "request_timeout")
    patient.stopped(prompt)
    patient.stage.survived("timeout", "request_timeout", streamed, whole)


def test_row_07_without_heartbeats_the_head_waits_for_output(patient: Binary) -> None:
    prompt = patient.plan.prompt(Held(Gate()))
    answer = patient.stage.ask(prompt, {"x-no-keepalive": "1"}, **STREAMED)
    assert (answer.status, answer.error["code"]) == (504, "request_timeout")
    patient.stopped(prompt)
    patient.stage.survived("timeout", "request_timeout", answer)


def test_row_08_a_stall_fails_the_stream_whatever_the_heartbeats(patient: Binary) -> None:
    prompt, streamed, whole = patient.both(OPEN)
    told = without_heartbeats(streamed.body, least=3)
    assert told == SO_FAR + expected.error("idle_timeout", STOPPED)
    assert whole.status == 504
    assert {"error": whole.error} == expected.error_object("idle_timeout", STOPPED)
    patient.stopped(prompt)
    patient.stage.survived("timeout", "idle_timeout", streamed, whole)


def test_row_08_reasoning_is_no_stall(patient: Binary) -> None:
    thoughts = Reasoning(summary=(("a ",) * 8,))
    prompt = patient.plan.prompt(Stream((thoughts, Message(("so far",))), delay=0.1))
    answer = patient.stage.ask(prompt, stream=True)
    told = without_heartbeats(answer.body, least=0)
    assert told.endswith(expected.content("so far") + expected.finish("stop") + expected.DONE)
    assert told.count(b'"reasoning_content":"a "') == 8
    (last,) = patient.stage.survived("completed", None, answer)
    assert last.duration_us > 800_000


def test_row_33_heartbeats_until_the_answer_comes_and_none_after(patient: Binary) -> None:
    gate = Gate()
    with patient.stage.asked(patient.plan.prompt(Held(gate, HELLO)), **STREAMED) as waiting:
        waiting.until(expected.KEEPALIVE * 3)
        gate.open()
        answer = waiting.answer()
    beats = answer.raw.count(expected.KEEPALIVE)
    assert answer.body == expected.KEEPALIVE * beats + WHOLE
    patient.stage.survived("completed", None, answer)


def test_row_33_a_failure_after_heartbeats_is_an_error_frame(patient: Binary) -> None:
    gate = Gate()
    refusal = HttpError(400, {"error": {"message": "No.", "code": "bad"}})
    with patient.stage.asked(patient.plan.prompt(Held(gate, refusal)), **STREAMED) as waiting:
        waiting.until(expected.KEEPALIVE)
        gate.open()
        answer = waiting.answer()
    told = without_heartbeats(answer.body, least=1)
    assert told == expected.error("bad", "No.", "invalid_request_error")
    patient.stage.survived("upstream_error", "bad", answer)


def test_row_33_no_heartbeat_is_in_a_whole_answer_and_none_troubles_the_sdk(
    patient: Binary,
) -> None:
    slow = Stream((Message(("Hello", " world")),), delay=0.1)
    with OpenAI(base_url=patient.stage.server.url, api_key="none", max_retries=0) as client:
        prompt = patient.plan.prompt(slow)
        with client.chat.completions.stream(
            model="gpt-5.5", messages=[{"role": "user", "content": prompt}]
        ) as stream:
            told = stream.get_final_completion()
    assert told.choices[0].message.content == "Hello world"
    answer = patient.stage.ask(patient.plan.prompt(slow))
    assert (answer.status, answer.raw[:1], answer.raw[-1:]) == (200, b"{", b"}")
    patient.stage.survived("completed", None, answer)
