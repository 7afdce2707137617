"""The fault matrix on the real Codex binary: model providers that refuse, fail and break off.

Each fault is asked for twice at once, streamed and not. What Codex leaves of a provider's own
words is in `docs/codex.md`.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pytest

from machines import events
from tests.faults import codexstage, expected, scene
from tests.faults.codexstage import Binary
from tests.support.process import machinetime
from tests.support.providers import replies
from tests.support.providers.replies import Closed, Cut, Failed, HttpError, Message, Stream, Usage
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

HOSTS = ("inner.example", "10.1.2.3")
"""What no client may see."""

HIDDEN = ("sk-hidden", "abc.def")
"""What no operator may see either."""

SECRETIVE = (
    "No: see https://inner.example:8443/v1?q=1, host 10.1.2.3:99, key sk-hidden-7c1d, "
    "Bearer abc.def-ghi"
)
"""A provider's message that names it."""

BROKE_OFF = "The provider's stream ended before the answer was complete."

FAILED_TO_ANSWER = "The model provider failed to answer."

INVALID, SERVER = "invalid_request_error", "server_error"

FINAL: Mapping[str, str] = {}

AGAIN = {"retry-after": "1"}

NEVER = {"x-should-retry": "false"}

SO_FAR = expected.role(asks_usage=True) + expected.content("so ", "far", asks_usage=True)


@pytest.fixture(scope="module")
def on() -> Iterator[Binary]:
    with codexstage.binary(hidden=HIDDEN) as binary:
        yield binary


class Refusal(NamedTuple):
    """A fault before any output, and what a client gets of it.

    Attributes:
        headers: beside the body, or their absence.
        attempts: how often the provider is asked.
    """

    answer: replies.Answer
    status: int
    type: str
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = FINAL
    attempts: int = 1


def rejected(status: int, **members: str) -> HttpError:
    """An HTTP error of the provider with an error object."""
    error = {"message": SECRETIVE, **members}
    return HttpError(status, {"error": error}, headers=(("retry-after", "1"),))


def assert_refused(on: Binary, fault: Refusal) -> None:
    """The fault is an HTTP status, told once, and nothing is left of it."""
    prompt, *answers = on.both(*[fault.answer] * fault.attempts)
    for answer in answers:
        assert (answer.status, answer.whole) == (fault.status, True)
        assert answer.headers["content-type"] == "application/json"
        assert {"error": answer.error} == expected.error_object(
            fault.code, fault.message, fault.type, fault.param
        )
        for name in ("retry-after", "x-should-retry"):
            assert answer.headers.get(name) == fault.headers.get(name), name
    assert on.attempts(prompt) == fault.attempts
    on.stage.survived("upstream_error", fault.code, *answers)


def assert_broken(on: Binary, answer: Stream) -> None:
    """The fault came after two pieces of text."""
    prompt, streamed, whole = on.both(answer)
    assert (streamed.status, streamed.whole) == (200, True)
    assert streamed.body == SO_FAR + expected.error("upstream_disconnected", BROKE_OFF)
    assert whole.status == 502
    assert {"error": whole.error} == expected.error_object("upstream_disconnected", BROKE_OFF)
    assert on.attempts(prompt) == 1
    for last in on.stage.survived("upstream_error", "upstream_disconnected", streamed, whole):
        assert last.usage is None


def test_row_01_a_provider_that_has_finished_and_stays_is_let_go(on: Binary) -> None:
    finished = Stream((Message(("so ", "far")),), then=Gate())
    with machinetime.within(scene.SECOND):
        prompt, streamed, whole = on.both(finished)
    ending = expected.finish("stop", asks_usage=True) + expected.usage(10, 5, 3, 1)
    assert streamed.body == SO_FAR + ending + expected.DONE
    assert whole.status == 200
    on.stopped(prompt)
    on.stage.survived("completed", None, streamed, whole)


def test_row_02_a_reset_after_some_deltas(on: Binary) -> None:
    assert_broken(on, Stream((Message(("so ", "far", Cut())),)))


def test_row_03_a_clean_end_after_some_deltas(on: Binary) -> None:
    assert_broken(on, Stream((Message(("so ", "far")),), end=Closed()))


def test_row_09_no_event_at_all(on: Binary) -> None:
    fault = Refusal(
        Stream(end=Closed()), 502, SERVER, "upstream_disconnected", BROKE_OFF, None, AGAIN, 3
    )
    assert_refused(on, fault)


def test_row_09_an_answer_without_a_word(on: Binary) -> None:
    _, streamed, whole = on.both(Stream(usage=Usage(21, 8, 0, 8)))
    assert streamed.body == (
        expected.role(asks_usage=True)
        + expected.finish("stop", asks_usage=True)
        + expected.usage(21, 8, 0, 8)
        + expected.DONE
    )
    assert whole.status == 200
    on.stage.survived("completed", None, streamed, whole)


RATE = Refusal(
    rejected(429),
    429,
    "rate_limit_error",
    "rate_limit_exceeded",
    "The provider's rate limit is reached.",
    headers=AGAIN,
)

QUOTA = Refusal(
    rejected(429, type="usage_limit_reached"),
    429,
    "insufficient_quota",
    "usage_limit_exceeded",
    "The provider's usage limit is reached.",
    headers=NEVER,
)

ROW_10 = {
    "plain": RATE,
    "in the stream": RATE._replace(answer=Stream(end=Failed("rate_limit_exceeded", SECRETIVE))),
    "usage limit": QUOTA,
    "quota": QUOTA._replace(answer=Stream(end=Failed("insufficient_quota", SECRETIVE))),
}


@pytest.mark.parametrize("name", ROW_10)
def test_row_10_a_429_is_one_although_codex_loses_its_retry_after(on: Binary, name: str) -> None:
    assert_refused(on, ROW_10[name])


ROW_11 = {
    400: Refusal(
        rejected(400, code="bad", param="input[0]"),
        400,
        INVALID,
        "bad",
        "No: see ********, host ********, key ********, ********",
        param="input[0]",
    ),
    401: Refusal(
        rejected(401),
        401,
        "authentication_error",
        "worker_unauthorized",
        "The provider refused the worker's login.",
    ),
    403: Refusal(
        rejected(403),
        403,
        "permission_error",
        "provider_forbidden",
        "The provider refused the account.",
    ),
    404: Refusal(
        rejected(404), 404, INVALID, "model_not_found", "The provider does not know this model."
    ),
    413: Refusal(
        rejected(413),
        413,
        INVALID,
        "request_too_large",
        "The provider found the request too large.",
    ),
    422: Refusal(
        rejected(422),
        422,
        INVALID,
        "provider_rejected",
        "The provider could not process the request.",
    ),
}


@pytest.mark.long(usual=("400", "403", "404", "413", "422"))
@pytest.mark.parametrize("status", ROW_11)
def test_row_11_a_refusal_keeps_what_codex_keeps_of_it(on: Binary, status: int) -> None:
    assert_refused(on, ROW_11[status])


ROW_12: dict[str, replies.Answer] = {
    "500": rejected(500),
    "502": rejected(502),
    "503": rejected(503),
    "overloaded": Stream(end=Failed("server_is_overloaded", SECRETIVE)),
}


@pytest.mark.parametrize("name", ROW_12)
def test_row_12_a_5xx_is_tried_twice_more_and_then_told_redacted(on: Binary, name: str) -> None:
    fault = Refusal(ROW_12[name], 502, SERVER, "upstream_error", FAILED_TO_ANSWER, None, AGAIN, 3)
    assert_refused(on, fault)


@pytest.mark.parametrize("failures", [1, 2])
def test_row_12_a_provider_that_recovers_is_never_told_of(on: Binary, failures: int) -> None:
    prompt = on.plan.prompt(*[rejected(500)] * failures, Stream((Message(("so ", "far")),)))
    answer = on.stage.ask(prompt, stream=True)
    assert answer.body == (
        expected.role() + expected.content("so ", "far") + expected.finish("stop") + expected.DONE
    )
    assert on.attempts(prompt) == failures + 1
    on.stage.survived("completed", None, answer)
    told = [each for each in on.stage.story(answer) if isinstance(each, events.RetryScheduled)]
    assert [each.code for each in told] == ["upstream_error"] * failures


def test_row_13_a_connection_that_breaks_before_the_head(on: Binary) -> None:
    fault = Refusal(Cut(), 502, SERVER, "upstream_disconnected", BROKE_OFF, None, AGAIN, 3)
    assert_refused(on, fault)


ROW_14 = {
    "context": Refusal(
        Stream(end=Failed("context_length_exceeded", SECRETIVE)),
        400,
        INVALID,
        "context_length_exceeded",
        "The conversation is longer than the model's context window.",
    ),
    "server error": Refusal(
        Stream(end=Failed("server_error", SECRETIVE)),
        502,
        SERVER,
        "upstream_disconnected",
        BROKE_OFF,
        headers=AGAIN,
        attempts=3,
    ),
    "reset": Refusal(
        Stream((Cut(),)),
        502,
        SERVER,
        "upstream_disconnected",
        BROKE_OFF,
        headers=AGAIN,
        attempts=3,
    ),
}


@pytest.mark.parametrize("name", ROW_14)
def test_row_14_a_stream_that_begins_with_its_failure_is_an_http_error(
    on: Binary, name: str
) -> None:
    assert_refused(on, ROW_14[name])


def test_row_15_a_failure_after_content_is_told_once(on: Binary) -> None:
    failed = Failed("server_error", SECRETIVE)
    assert_broken(on, Stream((Message(("so ", "far")),), end=failed))


def test_row_26_counts_that_never_came_are_not_made_up(on: Binary) -> None:
    _, streamed, whole = on.both(Stream((Message(("so ", "far")),), usage=None))
    assert streamed.body == (
        SO_FAR
        + expected.finish("stop", asks_usage=True)
        + expected.UNKNOWN
        + expected.usage(0, 0)
        + expected.DONE
    )
    assert whole.headers["x-turntape-usage"] == "unknown"
    for last in on.stage.survived("completed", None, streamed, whole):
        assert last.usage is None


def test_row_27_a_text_that_only_comes_with_its_end_stands_before_the_finish(on: Binary) -> None:
    _, streamed, whole = on.both(Stream((Message(("so far",), streamed=False),)))
    assert streamed.body == (
        expected.role(asks_usage=True)
        + expected.content("so far", asks_usage=True)
        + expected.finish("stop", asks_usage=True)
        + expected.usage(10, 5, 3, 1)
        + expected.DONE
    )
    assert whole.status == 200
    on.stage.survived("completed", None, streamed, whole)


def test_row_29_several_messages_are_one_choice_with_stable_ids(on: Binary) -> None:
    several = Stream((Message(("so ",)), Message(("far",)), Message((), streamed=False)))
    answer = on.stage.ask(on.plan.prompt(several), stream=True)
    assert answer.body == (
        expected.role()
        + expected.content("so ", "\n\n", "far")
        + expected.finish("stop")
        + expected.DONE
    )
    assert len({line.split(b'"object"')[0] for line in answer.raw.split(b"data: {")[1:]}) == 1
    on.stage.survived("completed", None, answer)


def test_row_34_json_in_place_of_a_stream_is_no_answer(on: Binary) -> None:
    body = {"id": "resp_1", "object": "response", "status": "completed", "output": []}
    fault = Refusal(
        HttpError(200, body), 502, SERVER, "upstream_disconnected", BROKE_OFF, None, AGAIN, 3
    )
    assert_refused(on, fault)
