"""What the times of a client that left speak for."""

import pytest

from engine.log.timeline import leaving

SECOND = 1_000_000


@pytest.mark.parametrize("is_stream", [True, False])
def test_one_that_leaves_at_once_has_run_into_no_limit(is_stream: bool) -> None:
    found = leaving.cause(leaving.Left(20_000, is_stream=is_stream))
    assert "20 ms after its request, before anything had come" in found.sentence
    assert "proxy" not in found.sentence + found.step
    assert "PROXY_SSE_KEEPALIVE_MS" not in found.step


@pytest.mark.parametrize("seconds", [30.02, 60.1, 100.0, 599.9])
def test_one_that_leaves_when_a_usual_limit_is_up(seconds: float) -> None:
    found = leaving.cause(leaving.Left(round(seconds * SECOND), SECOND))
    assert f"after {round(seconds)} s: a usual time limit" in found.sentence
    assert "Raise that limit" in found.step


def test_one_that_leaves_in_the_flow_was_stopped() -> None:
    found = leaving.cause(leaving.Left(7 * SECOND, SECOND // 2, has_begun=True))
    assert "while its answer was coming" in found.sentence
    assert "a user stopped it" in found.sentence
    assert "PROXY_SSE_KEEPALIVE_MS" not in found.step


def test_one_that_waits_for_a_body_had_none_of_it_coming() -> None:
    found = leaving.cause(leaving.Left(2 * SECOND, is_stream=False, has_begun=True))
    assert "before its answer was whole" in found.sentence
    assert "coming" not in found.sentence


def test_one_that_leaves_in_a_silence_may_have_lost_a_proxy() -> None:
    found = leaving.cause(leaving.Left(47 * SECOND, 40 * SECOND, has_begun=True))
    assert "in a silence of the model" in found.sentence
    assert "PROXY_SSE_KEEPALIVE_MS" in found.step


def test_one_that_waits_for_a_body_gets_no_heartbeats() -> None:
    found = leaving.cause(leaving.Left(47 * SECOND, 40 * SECOND, is_stream=False))
    assert "ask for a stream" in found.step
    assert "PROXY_SSE_KEEPALIVE_MS" not in found.step
