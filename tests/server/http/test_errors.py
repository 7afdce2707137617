"""Every error a client may meet: its status, its envelope, and whether to try again."""

import json

import pytest

from engine import failures
from engine.codex.turns import verdicts
from machines import outputs
from machines.stream import states
from server.http import errors

WANTED: dict[str, tuple[int, str, str | None, str | None]] = {
    "invalid_request": (400, "invalid_request_error", None, None),
    "invalid_json": (400, "invalid_request_error", None, None),
    "array_above_max_length": (400, "invalid_request_error", None, None),
    "object_above_max_properties": (400, "invalid_request_error", None, None),
    "model_required": (400, "invalid_request_error", None, None),
    "unsupported_parameter": (400, "invalid_request_error", None, None),
    "unsupported_operation": (400, "invalid_request_error", None, None),
    "unsupported_content": (400, "invalid_request_error", None, None),
    "context_length_exceeded": (400, "invalid_request_error", None, None),
    "provider_rejected": (400, "invalid_request_error", None, None),
    "bad_http": (400, "invalid_request_error", None, None),
    "websocket_connection_limit_reached": (400, "invalid_request_error", None, None),
    "invalid_api_key": (401, "invalid_request_error", None, None),
    "worker_unauthorized": (401, "authentication_error", None, None),
    "host_not_allowed": (403, "invalid_request_error", None, None),
    "origin_not_allowed": (403, "invalid_request_error", None, None),
    "provider_forbidden": (403, "permission_error", None, None),
    "not_found": (404, "invalid_request_error", None, None),
    "previous_response_not_found": (400, "invalid_request_error", None, None),
    "response_not_found": (404, "invalid_request_error", None, None),
    "model_not_found": (404, "invalid_request_error", None, None),
    "method_not_allowed": (405, "invalid_request_error", None, None),
    "request_timeout_client": (408, "invalid_request_error", None, None),
    "request_too_large": (413, "invalid_request_error", None, None),
    "unsupported_media_type": (415, "invalid_request_error", None, None),
    "expectation_failed": (417, "invalid_request_error", None, None),
    "upgrade_required": (426, "invalid_request_error", None, None),
    "headers_too_large": (431, "invalid_request_error", None, None),
    "rate_limit_exceeded": (429, "rate_limit_error", "1", None),
    "concurrency_exceeded": (429, "rate_limit_error", "1", None),
    "tool_choice_unsatisfied": (502, "server_error", None, "false"),
    "worker_busy": (429, "rate_limit_error", "1", None),
    "insufficient_quota": (429, "insufficient_quota", None, "false"),
    "usage_limit_exceeded": (429, "insufficient_quota", None, "false"),
    "client_gone": (499, "invalid_request_error", None, None),
    "internal_error": (500, "server_error", None, None),
    "upstream_error": (502, "server_error", "1", None),
    "upstream_redirected": (502, "server_error", None, "false"),
    "upstream_disconnected": (502, "server_error", "1", None),
    "upstream_truncated": (502, "server_error", "1", None),
    "upstream_text_mismatch": (502, "server_error", "1", None),
    "upstream_output_lost": (502, "server_error", "1", None),
    "upstream_unreachable": (502, "server_error", "1", None),
    "upstream_decode_error": (502, "server_error", "1", None),
    "upstream_event_too_large": (502, "server_error", None, "false"),
    "too_many_tool_calls": (502, "server_error", None, "false"),
    "empty_upstream": (502, "server_error", "1", None),
    "worker_exited": (503, "server_error", "1", None),
    "store_unavailable": (503, "server_error", "1", None),
    "usage_unavailable": (503, "server_error", "1", None),
    "usage_not_kept": (404, "invalid_request_error", None, None),
    "worker_not_ready": (503, "server_error", "1", None),
    "app_server_disabled": (503, "server_error", "30", None),
    "server_shutdown": (503, "server_error", "1", None),
    "maintenance": (503, "server_error", "30", None),
    "maintenance_not_kept": (503, "server_error", "1", None),
    "request_timeout": (504, "server_error", None, "false"),
    "idle_timeout": (504, "server_error", None, "false"),
}
"""Of each code: status, type, `retry-after`, `x-should-retry`."""


def test_every_code_is_known_here() -> None:
    assert set(errors.CASES) == set(WANTED)


@pytest.mark.parametrize("code", WANTED)
def test_an_error_has_its_status_its_envelope_and_its_headers(code: str) -> None:
    status, kind, retry_after, should_retry = WANTED[code]
    error = errors.ApiError(code, "What went wrong.", "messages[0]")
    assert error.status == status
    assert json.loads(error.body()) == {
        "error": {
            "message": "What went wrong.",
            "type": kind,
            "param": "messages[0]",
            "code": None if code == "invalid_request" else code,
        }
    }
    headers = error.headers()
    assert len(headers) == len(dict(headers)), "a header twice"
    assert dict(headers) == {
        "content-type": "application/json",
        **({"retry-after": retry_after} if retry_after else {}),
        **({"x-should-retry": should_retry} if should_retry else {}),
        **({"www-authenticate": "Bearer"} if code == "invalid_api_key" else {}),
    }


def test_all_four_keys_are_there_when_there_is_nothing_to_say() -> None:
    body = json.loads(errors.ApiError("internal_error", "The server had an error.").body())
    assert body["error"] == {
        "message": "The server had an error.",
        "type": "server_error",
        "param": None,
        "code": "internal_error",
    }


@pytest.mark.parametrize("code", WANTED)
def test_what_a_client_may_repeat_says_when_and_what_it_may_not_says_so(code: str) -> None:
    status, _, retry_after, should_retry = WANTED[code]
    sdks_repeat = status in (408, 409, 429) or status >= 500
    if retry_after:
        assert sdks_repeat
    elif sdks_repeat and code not in ("internal_error", "request_timeout_client"):
        assert should_retry == "false"


@pytest.mark.parametrize(
    ("seconds", "header"), [(0, "1"), (0.2, "1"), (1.6, "2"), (30, "30"), (7.0, "7")]
)
def test_a_pause_is_whole_seconds_and_at_least_one(seconds: float, header: str) -> None:
    error = errors.ApiError("rate_limit_exceeded", "Slow down.", retry_after=seconds)
    assert dict(error.headers())["retry-after"] == header


def test_an_error_may_bring_headers_of_its_own() -> None:
    error = errors.ApiError("method_not_allowed", "No.", headers=(("allow", "GET, HEAD"),))
    assert ("allow", "GET, HEAD") in error.headers()


@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        (None, 502, "server_error"),
        (400, 400, "invalid_request_error"),
        (422, 422, "invalid_request_error"),
        (500, 500, "server_error"),
        (529, 529, "server_error"),
    ],
)
def test_a_providers_own_code_goes_by_its_status(
    status: int | None, expected: int, kind: str
) -> None:
    error = errors.ApiError("weird_code", "No.", status=status)
    assert error.status == expected
    assert json.loads(error.body())["error"]["type"] == kind
    assert json.loads(error.body())["error"]["code"] == "weird_code"


def test_a_providers_status_goes_before_the_codes_own() -> None:
    assert errors.ApiError("request_too_large", "No.", status=400).status == 400


def test_a_streams_failure_keeps_everything_a_client_is_told() -> None:
    failure = outputs.Failure("rate_limit_exceeded", "Slow down.", 429, "model", 12.4)
    error = errors.ApiError.from_failure(failure)
    assert (error.status, error.code, error.message) == (429, "rate_limit_exceeded", "Slow down.")
    assert (error.param, error.retry_after) == ("model", 12.4)
    error = errors.ApiError.from_failure(outputs.Failure("worker_exited", "Gone."))
    assert (error.status, error.retry_after) == (503, 1)


def test_every_failure_of_a_stream_or_a_worker_has_a_case() -> None:
    codes = {code for _, code, _ in states.TIMEOUTS.values()} | {"server_shutdown"}
    made = [*vars(failures).values(), *verdicts.NAMED.values(), *verdicts.BY_STATUS.values()]
    codes |= {each.code for each in made if isinstance(each, failures.ProviderFailure)}
    assert codes <= set(errors.CASES)
