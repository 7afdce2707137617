"""Rows 48 and 56: errors that are named like the server's own, and requests that it refuses."""

from collections.abc import Iterator

import pytest

from tests.faults import refusals
from tests.faults.upstreamstage import Staged, upstream
from tests.support.providers import upstreams


@pytest.fixture(scope="module")
def staged() -> Iterator[Staged]:
    with upstream() as staged:
        yield staged


@pytest.mark.long(usual=("worker_busy-503", "maintenance-429"))
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("code", ["concurrency_exceeded", "worker_busy", "maintenance"])
def test_row_48_an_error_that_is_named_like_ours_frees_and_takes_nothing(
    staged: Staged, code: str, status: int
) -> None:
    """The server takes one stream at a time: a permit that is lost, or given back twice, shows."""
    refusal = upstreams.response(status, {"error": {"message": "Not now.", "code": code}})
    for _ in range(3):
        answer = staged.streamed(refusal, refusal, refusal)
        assert answer.status in (429, 502)
        assert answer.error["code"] in (code, "upstream_error")
    staged.survived("upstream_error", answer.error["code"], answer)


@pytest.mark.parametrize("name", refusals.REFUSED)
def test_row_56_a_refusal_leaves_one_record_and_one_line(staged: Staged, name: str) -> None:
    refusals.leaves_a_trace(staged.stage, name)
