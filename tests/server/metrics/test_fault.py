"""Every error is somebody's fault."""

import pytest

from server.http import errors
from server.metrics import fault


def test_every_code_has_somebody_whose_fault_it_is() -> None:
    assert fault.FAULTS.keys() == errors.CASES.keys()


@pytest.mark.parametrize(
    ("code", "whose"),
    [
        ("invalid_json", fault.Fault.CLIENT),
        ("upstream_disconnected", fault.Fault.PROVIDER),
        ("worker_exited", fault.Fault.WORKER),
        ("internal_error", fault.Fault.SERVER),
        ("a provider's own word", fault.Fault.PROVIDER),
    ],
)
def test_a_code_says_where_to_look(code: str, whose: fault.Fault) -> None:
    assert fault.fault_of(code) is whose


@pytest.mark.parametrize("code", ["invalid_api_key", "rate_limit_exceeded"])
def test_a_provider_that_refuses_us_is_to_be_looked_at(code: str) -> None:
    assert fault.fault_of(code) is fault.Fault.CLIENT
    assert fault.fault_of_stream(code) is fault.Fault.PROVIDER


@pytest.mark.parametrize(
    ("status", "whose"),
    [
        (400, fault.Fault.CLIENT),
        (422, fault.Fault.CLIENT),
        (403, fault.Fault.PROVIDER),
        (408, fault.Fault.PROVIDER),
        (409, fault.Fault.PROVIDER),
        (425, fault.Fault.PROVIDER),
    ],
)
def test_a_providers_own_code_means_the_fault_that_its_status_says(
    status: int, whose: fault.Fault
) -> None:
    assert fault.fault_of_stream("invalid_image", status) is whose


def test_what_an_upstream_cannot_mean_is_another_ones_fault() -> None:
    codes = ("worker_unauthorized", "worker_not_ready")
    found = [fault.fault_of_stream(code, 404, "upstream") for code in (*codes, "invalid_request")]
    assert found == [fault.Fault.PROVIDER, fault.Fault.SERVER, fault.Fault.SERVER]
    assert {fault.fault_of_stream(code, 0, "codex") for code in codes} == {fault.Fault.WORKER}
