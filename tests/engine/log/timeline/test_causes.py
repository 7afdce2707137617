"""Every ending has a sentence of its own, and none says what cannot be."""

import itertools
from typing import Any, get_args

import pytest
from hypothesis import given, strategies as st

from engine.log.timeline import causes, codes, leaving, timeline
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
    "completed": {"nobody", "provider"},
    "truncated": {"worker", "server"},
    "empty": {"provider"},
    "timeout": {"provider", "worker"},
    "client_gone": {"client"},
    "worker_lost": {"worker"},
    "shutdown": {"server"},
    "defect": {"server"},
    "upstream_error": {"provider", "worker", "client", "server"},
    "rejected": {"client", "server", "worker", "provider"},
    "later_kind": {"nobody"},
}
"""Whose doing an ending of each kind may be said to be."""


AROUNDS = st.builds(
    causes.Around,
    timer=st.sampled_from(TIMERS),
    worker=st.sampled_from(("", "codex", "upstream")),
    model=st.sampled_from(("", "gpt-9")),
    status=st.sampled_from((0, 400, 401, 404, 422, 429)),
    finishes=st.sampled_from(((), ("stop",), ("length",), ("stop", "content_filter"), (None,))),
    left=st.none() | st.builds(leaving.Left, st.integers(0, 10**9), st.integers(0, 10**9)),
    queued=st.booleans(),
    masked=st.booleans(),
)


@given(ENDINGS, AROUNDS)
def test_no_ending_has_an_empty_or_a_misleading_sentence(
    ending: timeline.Ending, around: causes.Around
) -> None:
    found = causes.cause(ending, around)
    assert found.sentence.endswith(".")
    assert found.step.endswith((".", "`."))
    if ending.trigger == causes.RECOVERED:
        assert found.party == "server"
        return
    assert found.party in PARTIES[ending.kind]
    whole = "The answer is whole" in found.sentence
    is_cut = not {"length", "content_filter"}.isdisjoint(around.finishes)
    assert whole == (ending.kind == "completed" and not is_cut)
    known = ending.code in errors.CASES or ending.code is None
    if ending.kind in ("upstream_error", "rejected") and not known:
        assert f"`{ending.code}`" in found.sentence or causes.is_masked(ending.code or "")


def test_every_code_has_a_sentence_of_its_own() -> None:
    assert codes.REFUSED.keys() | codes.PROVIDER.keys() == errors.CASES.keys()
    assert not codes.REFUSED.keys() & codes.PROVIDER.keys()
    said = [*codes.REFUSED.values(), *codes.PROVIDER.values(), *codes.SAID_BY_PROVIDER.values()]
    assert len({cause.sentence for cause in said}) == len(said)


@pytest.mark.parametrize("code", [*errors.CASES, "their_own_code"])
def test_a_code_is_laid_at_the_door_where_the_metrics_lay_it(code: str) -> None:
    if code in errors.CASES:
        refused = causes.cause(timeline.Ending(kind="rejected", at_us=0, code=code))
        assert refused.party == fault.fault_of(code).value
    statuses = (0, 400, 401, 403, 404, 405, 408, 409, 422, 425, 429, 500)
    for worker, own, told in itertools.product(("codex", "upstream"), statuses, (0, 200, 502)):
        ending = timeline.Ending(kind="upstream_error", at_us=0, code=code, status=told)
        party = causes.cause(ending, causes.Around(worker=worker, status=own)).party
        assert party == fault.fault_of_stream(code, own or told, worker).value, (worker, own, told)


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
    sentences = {
        causes.cause(ending, causes.Around(timer=each)).sentence for each in states.TIMEOUTS
    }
    assert len(sentences) == len(states.TIMEOUTS)
    assert causes.cause(ending, causes.Around(timer=timer)).party == "provider"


@pytest.mark.parametrize("cause", get_args(vocabulary.GoneCause))
def test_a_client_that_is_gone_went_in_its_own_way(cause: events.GoneCause) -> None:
    ending = timeline.Ending(kind="client_gone", at_us=0, trigger="client_gone", cause=cause)
    words = {"left": "closed its connection", "write_stall": "stopped reading"}
    around = causes.Around(left=leaving.Left(5_000_000))
    assert words.get(cause, "asked for an end") in causes.cause(ending, around).sentence


def test_a_key_that_the_provider_refused_is_not_the_clients() -> None:
    of_stream = timeline.Ending(kind="upstream_error", at_us=0, code="invalid_api_key")
    of_client = timeline.Ending(kind="rejected", at_us=0, code="invalid_api_key")
    assert "PROXY_UPSTREAM_API_KEY" in causes.cause(of_stream).step
    assert "PROXY_API_KEY" in causes.cause(of_client).step


def refused(code: str, status: int, **members: Any) -> timeline.Ending:
    """The ending of a stream that a provider has refused."""
    return timeline.Ending(
        kind="upstream_error", at_us=0, trigger="turn_failed", code=code, status=status, **members
    )


@pytest.mark.parametrize(
    ("status", "party"),
    [(400, "client"), (404, "client"), (422, "client"), (402, "provider"), (503, "provider")],
)
def test_a_providers_own_code_means_the_fault_that_its_status_says(
    status: int, party: str
) -> None:
    found = causes.cause(refused("invalid_image", status))
    assert found.party == party
    assert f"`invalid_image` (status {status})" in found.sentence


def test_a_status_that_came_behind_the_head_counts_too() -> None:
    ending = refused("invalid_image", 200)
    assert causes.cause(ending).party == "provider"
    assert causes.cause(ending, causes.Around(status=400)).party == "client"


def test_what_only_an_upstream_can_mean_is_told_for_it() -> None:
    codex = causes.cause(refused("worker_unauthorized", 401), causes.Around(worker="codex"))
    upstream = causes.cause(refused("worker_unauthorized", 401), causes.Around(worker="upstream"))
    assert "turntape login" in codex.step
    assert "PROXY_UPSTREAM_API_KEY" in upstream.step


def test_an_address_where_nothing_is_was_set_by_the_operator() -> None:
    found = causes.cause(refused("invalid_request", 404), causes.Around(worker="upstream"))
    assert (found.party, "PROXY_UPSTREAM_URL" in found.step) == ("server", True)
    of_codex = causes.cause(refused("invalid_request", 404), causes.Around(worker="codex"))
    assert "PROXY_UPSTREAM_URL" not in of_codex.step


@pytest.mark.parametrize("code", ["invalid_request", "provider_rejected", "still_locked"])
@pytest.mark.parametrize("status", [408, 409, 425])
def test_what_is_asked_again_by_itself_is_not_the_clients(code: str, status: int) -> None:
    found = causes.cause(refused(code, status))
    assert found.party == "provider"
    assert "the same" not in found.step


@pytest.mark.parametrize("kind", ["rejected", "upstream_error"])
def test_a_model_that_nobody_knows_is_named(kind: str) -> None:
    ending = timeline.Ending(kind=kind, at_us=0, code="model_not_found", status=404)
    assert "`gpt-9`" in causes.cause(ending, causes.Around(model="gpt-9")).sentence
    assert "``" not in causes.cause(ending).sentence


def test_a_field_that_is_at_fault_is_named_in_what_to_do() -> None:
    ending = refused("invalid_request", 400, param="messages[2].role")
    assert causes.cause(ending, causes.Around(masked=True)).step.startswith(
        "Correct `messages[2].role`;"
    )


@pytest.mark.parametrize("code", ["upstream_error", "upstream_decode_error", "invalid_request"])
def test_what_to_do_is_possible_on_a_masked_log(code: str) -> None:
    ending = refused(code, 502)
    step = causes.cause(ending, causes.Around(masked=True, key="ci")).step
    assert "PUT /admin/logging for the key ci, or PROXY_EVENT_LOG=full." in step
    without = causes.cause(ending, causes.Around(masked=True)).step
    assert without.endswith("of the next one here: PROXY_EVENT_LOG=full.")
    assert "/admin/logging" not in causes.cause(ending).step


def test_of_a_refusal_only_the_setting_keeps_the_words() -> None:
    ending = timeline.Ending(kind="rejected", at_us=0, code="invalid_request", status=400)
    step = causes.cause(ending, causes.Around(masked=True)).step
    assert "PROXY_EVENT_LOG=full" in step
    assert "/admin/logging" not in step


def test_the_limit_of_an_answer_is_named_as_each_api_has_it() -> None:
    ending = timeline.Ending(kind="completed", at_us=0)
    step = causes.cause(ending, causes.Around(finishes=("length",))).step
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        assert name in step


def test_a_turn_that_never_got_a_place_is_not_the_providers() -> None:
    ending = timeline.Ending(kind="timeout", at_us=0, code="request_timeout", status=504)
    found = causes.cause(ending, causes.Around(timer="first_chunk", queued=True))
    assert found.party == "worker"
    assert "No place on a worker" in found.sentence


@pytest.mark.parametrize(
    ("text", "masked"), [("*** ***: *.*", True), ("a * b", False), ("", False), ("...", False)]
)
def test_a_masked_text_is_known_by_its_look(text: str, masked: bool) -> None:
    assert causes.is_masked(text) is masked
