"""Every ending has a sentence of its own, and none says what cannot be."""

from typing import get_args

import pytest
from hypothesis import given, strategies as st

from engine.log.timeline import causes, codes, timeline
from machines import events, vocabulary
from machines.stream import states
from server.http import errors
from server.metrics import fault

KINDS = (*get_args(vocabulary.TerminalKind), "open", "later_kind")
TRIGGERS = (
    *(str(kind.__struct_config__.tag) for kind in get_args(events.StreamInput)),
    "recovery",
    "later_event",
)
CODES = (None, *errors.CASES, "their_own_code")
CAUSES = (None, *get_args(vocabulary.GoneCause))
TIMERS = ("", *get_args(vocabulary.TimerName))

ENDINGS = st.builds(
    timeline.Ending,
    kind=st.sampled_from(KINDS),
    at_us=st.integers(0, 10**9),
    trigger=st.sampled_from(TRIGGERS),
    code=st.sampled_from(CODES) | st.text(max_size=9),
    cause=st.sampled_from(CAUSES),
    status=st.sampled_from((0, 200, 400, 429, 500, 502)),
)

PARTIES: dict[str, set[str]] = {
    "open": {"nobody"},
    "completed": {"nobody"},
    "truncated": {"worker", "server"},
    "empty": {"provider"},
    "timeout": {"provider"},
    "client_gone": {"client"},
    "worker_lost": {"worker"},
    "shutdown": {"server"},
    "defect": {"server"},
    "upstream_error": {"provider", "worker", "client", "server"},
    "rejected": {"client", "server", "worker", "provider"},
    "later_kind": {"nobody"},
}
"""Whose doing an ending of each kind may be said to be."""


@given(ENDINGS, st.sampled_from(TIMERS))
def test_no_ending_has_an_empty_or_a_misleading_sentence(
    ending: timeline.Ending, timer: str
) -> None:
    found = causes.cause(ending, timer)
    assert found.sentence.endswith(".")
    assert found.step.endswith((".", "`."))
    if ending.trigger == causes.RECOVERED:
        assert found.party == "server"
        return
    assert found.party in PARTIES[ending.kind]
    whole = "The answer is whole" in found.sentence
    assert whole == (ending.kind == "completed")
    known = ending.code in errors.CASES or ending.code is None
    if ending.kind in ("upstream_error", "rejected") and not known:
        assert f"`{ending.code}`" in found.sentence


def test_every_code_has_a_sentence_of_its_own() -> None:
    assert codes.REFUSED.keys() | codes.PROVIDER.keys() == errors.CASES.keys()
    assert not codes.REFUSED.keys() & codes.PROVIDER.keys()
    said = [*codes.REFUSED.values(), *codes.PROVIDER.values(), *codes.SAID_BY_PROVIDER.values()]
    assert len({cause.sentence for cause in said}) == len(said)


@pytest.mark.parametrize("code", errors.CASES)
def test_a_code_is_laid_at_the_door_where_the_metrics_lay_it(code: str) -> None:
    refused = causes.cause(timeline.Ending(kind="rejected", at_us=0, code=code))
    assert refused.party == fault.fault_of(code).value
    failed = causes.cause(timeline.Ending(kind="upstream_error", at_us=0, code=code))
    assert failed.party == fault.fault_of(code, of_stream=True).value


def test_each_kind_is_told_from_the_others() -> None:
    said = {
        causes.cause(timeline.Ending(kind=kind, at_us=0, trigger="turn_failed")).sentence
        for kind in KINDS
    }
    assert len(said) == len(KINDS)


@pytest.mark.parametrize("timer", states.TIMEOUTS)
def test_each_deadline_that_fails_a_stream_has_its_sentence(timer: str) -> None:
    code = states.TIMEOUTS[timer][1]  # type: ignore[index]  # the names are those of timers
    ending = timeline.Ending(kind="timeout", at_us=0, trigger="timer_fired", code=code)
    sentences = {causes.cause(ending, each).sentence for each in states.TIMEOUTS}
    assert len(sentences) == len(states.TIMEOUTS)
    assert causes.cause(ending, timer).party == "provider"


@pytest.mark.parametrize("cause", get_args(vocabulary.GoneCause))
def test_a_client_that_is_gone_went_in_its_own_way(cause: events.GoneCause) -> None:
    ending = timeline.Ending(kind="client_gone", at_us=0, trigger="client_gone", cause=cause)
    words = {"left": "closed its connection", "write_stall": "stopped reading"}
    assert words.get(cause, "asked for an end") in causes.cause(ending).sentence


def test_a_key_that_the_provider_refused_is_not_the_clients() -> None:
    of_stream = timeline.Ending(kind="upstream_error", at_us=0, code="invalid_api_key")
    of_client = timeline.Ending(kind="rejected", at_us=0, code="invalid_api_key")
    assert "PROXY_UPSTREAM_API_KEY" in causes.cause(of_stream).step
    assert "PROXY_API_KEY" in causes.cause(of_client).step
