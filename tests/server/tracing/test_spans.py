"""An ended request becomes spans with the ids and the times that it had."""

from typing import Any

import pytest

from machines import events
from machines.vocabulary import TerminalKind
from server.access.entry import Entry, StreamEnd
from server.access.tracecontext import SAMPLED, TraceContext
from server.http.errors import ApiError
from server.tracing import spans
from server.tracing.attributes import Ended

OPENED = events.Opened(
    request_id="r", completion_id="c", created=0, model="m", target="m", worker="codex"
)


def entry(**fields: Any) -> Entry:
    made = Entry("r", "POST", "/x", "192.0.2.1", 1.5, route="/x", key="", status=200, ended=4.0)
    made.trace = TraceContext(1, 2, 3, 4, SAMPLED)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def stream(kind: TerminalKind, code: str | None = None) -> StreamEnd:
    terminal = events.Terminal(
        kind=kind, emission_trigger="x", status=200, code=code, duration_us=2_000_000
    )
    return StreamEnd("st_1", OPENED, terminal)


def test_each_span_has_its_place_and_its_time() -> None:
    ended = Ended(entry(stream=stream("completed"), stream_ended=3.75))
    request = spans.of_request(ended, "gen-ai-0.1.0")
    assert (request.span_id, request.parent_id) == (3, 2)
    assert (request.start_us, request.end_us) == (1_500_000, 4_000_000)
    assert (request.name, request.kind) == ("POST /x", spans.Kind.SERVER)
    answer = spans.of_answer(ended, "gen-ai-0.1.0")
    assert (answer.span_id, answer.parent_id) == (4, 3)
    assert (answer.start_us, answer.end_us) == (1_750_000, 3_750_000)
    assert (answer.name, answer.kind) == ("chat m", spans.Kind.CLIENT)


@pytest.mark.parametrize(
    ("kind", "code", "request_failed", "answer_failed"),
    [
        ("completed", None, False, False),
        ("truncated", None, False, False),
        ("client_gone", None, False, False),
        ("upstream_error", "upstream_disconnected", True, True),
        ("rejected", "concurrency_exceeded", False, True),
        ("defect", "internal_error", True, True),
    ],
)
def test_a_failure_is_an_error_on_the_side_that_failed(
    kind: TerminalKind, code: str | None, request_failed: bool, answer_failed: bool
) -> None:
    ended = Ended(entry(stream=stream(kind, code)))
    assert spans.of_request(ended, "gen-ai-0.1.0").failed is request_failed
    assert spans.of_answer(ended, "gen-ai-0.1.0").failed is answer_failed


def test_a_client_that_is_wrong_is_no_error_of_the_server() -> None:
    wrong = Ended(entry(error=ApiError("invalid_json", "no"), status=400))
    assert not spans.of_request(wrong, "1.28.0").failed
    ours = Ended(entry(error=ApiError("internal_error", "no"), status=500))
    assert spans.of_request(ours, "1.28.0").failed
