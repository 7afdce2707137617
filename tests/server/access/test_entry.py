"""How much the line of a request wants to be read."""

import pytest

from machines import events
from machines.vocabulary import TerminalKind
from server.access.entry import Entry, Severity, StreamEnd
from server.http.errors import ApiError

OPENED = events.Opened(
    request_id="r", completion_id="c", created=0, model="m", target="m", worker="codex"
)


def entry(**fields: object) -> Entry:
    made = Entry("r", "POST", "/x", "127.0.0.1", 0.0, route="/x", key="")
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def ended(
    kind: TerminalKind, code: str | None = None, trigger: str = "turn_finished"
) -> StreamEnd:
    terminal = events.Terminal(kind=kind, emission_trigger=trigger, status=200, code=code)
    return StreamEnd("st_1", OPENED, terminal)


@pytest.mark.parametrize(
    ("end", "severity"),
    [
        (ended("completed"), Severity.INFO),
        (ended("truncated"), Severity.INFO),
        (ended("truncated", trigger="timer_fired"), Severity.INFO),
        (ended("truncated", trigger="turn_failed"), Severity.WARNING),
        (ended("empty"), Severity.INFO),
        (ended("client_gone"), Severity.INFO),
        (ended("rejected", "concurrency_exceeded"), Severity.WARNING),
        (ended("upstream_error", "upstream_disconnected"), Severity.ERROR),
        (ended("timeout", "idle_timeout"), Severity.ERROR),
        (ended("defect", "internal_error"), Severity.ERROR),
        (ended("worker_lost"), Severity.ERROR),
    ],
)
def test_a_stream_that_failed_is_an_error_also_after_a_200(
    end: StreamEnd, severity: Severity
) -> None:
    made = entry(stream=end, status=200)
    assert (made.kind, made.severity) == (end.terminal.kind, severity)


@pytest.mark.parametrize(
    ("code", "severity"),
    [
        ("invalid_api_key", Severity.WARNING),
        ("concurrency_exceeded", Severity.WARNING),
        ("maintenance", Severity.WARNING),
        ("worker_not_ready", Severity.ERROR),
        ("internal_error", Severity.ERROR),
    ],
)
def test_a_refusal_is_a_warning_and_a_failure_of_ours_an_error(
    code: str, severity: Severity
) -> None:
    error = ApiError(code, "no")
    made = entry(error=error, status=error.status)
    assert (made.kind, made.code, made.severity) == ("rejected", code, severity)


def test_a_client_that_left_before_any_answer_is_gone() -> None:
    assert (entry().kind, entry().severity) == ("client_gone", Severity.INFO)


def test_probes_are_for_debugging_whatever_they_say() -> None:
    for status in (200, 503):
        assert entry(route="/readyz", status=status).severity is Severity.DEBUG
