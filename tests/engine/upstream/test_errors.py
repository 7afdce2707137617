"""What a client is told of an upstream's errors."""

import json
from typing import Any

import pytest

from engine import failures, redaction
from engine.failures import ProviderFailure
from engine.upstream import errors as upstreamerrors

OPENAI = {
    "error": {
        "message": "Unsupported value: 'top_k'.",
        "type": "invalid_request_error",
        "param": "top_k",
        "code": "unsupported_value",
    }
}


def refused(status: int, body: Any, retry_after: float | None = None) -> ProviderFailure:
    """The meaning of a response."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return upstreamerrors.refused(status, data, retry_after, redaction.NONE)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
def test_row_11_a_4xx_keeps_status_message_code_and_param(status: int) -> None:
    assert refused(status, OPENAI) == ProviderFailure(
        code="unsupported_value",
        message="Unsupported value: 'top_k'.",
        status=status,
        param="top_k",
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "no such model"}, "no such model"),
        ({"object": "error", "message": "too long", "code": 400}, "too long"),
        ({"detail": "Not here"}, "Not here"),
        ({"detail": [{"loc": ["body", "n"], "msg": "not an int"}]}, "not an int"),
        ([{"error": {"message": "from a list"}}], "from a list"),
        ({"type": "error", "error": {"type": "x", "message": "wrapped"}}, "wrapped"),
        (b"plain words\n", "plain words"),
    ],
)
def test_row_11_the_message_is_found_in_every_form(body: Any, message: str) -> None:
    failure = refused(400, body)
    assert (failure.message, failure.code) == (message, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>nginx</html>", b'{"error":', b"[]", b"null", b'{"error":{}}'],
)
def test_row_11_without_a_message_there_is_one(body: bytes) -> None:
    message = "The provider refused the request with status 404."
    assert refused(404, body).message == message


@pytest.mark.parametrize("levels", [127, 128, 129, 950, 5000])
def test_row_44_an_error_is_read_to_the_limit_of_depth_whatever_the_stack(levels: int) -> None:
    inner = b"[" * (levels - 1) + b"]" * (levels - 1)
    message = refused(400, b'{"message":"m","x":%b}' % inner).message
    read = message == "m"
    assert read or message == "The provider refused the request with status 400."
    assert read == (levels <= 128)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_request"),
        (401, "worker_unauthorized"),
        (403, "provider_forbidden"),
        (429, "rate_limit_exceeded"),
    ],
)
def test_row_11_an_error_without_a_code_has_that_of_its_status(status: int, code: str) -> None:
    empties: tuple[Any, ...] = (None, "", 17, "429", {})
    for empty in empties:
        assert refused(status, {"error": {"message": "m", "code": empty}}).code == code


def test_messages_are_stripped_of_hosts_and_keys_and_have_an_end() -> None:
    text = (
        "Key sk-abc123 is wrong at http://10.1.2.3:8000/v1, see gpu-7.corp.internal " + "x" * 9999
    )
    message = refused(401, {"error": {"message": text}}).message
    assert not any(word in message for word in ("sk-abc", "10.1.2.3", "8000", "gpu-7"))
    assert message.startswith("Key  is wrong at")
    assert len(message) <= 2000


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 301, 304])
def test_row_12_any_other_status_says_nothing_of_the_upstream(status: int) -> None:
    failure = refused(status, OPENAI, 2.0)
    assert (failure.code, failure.message, failure.status, failure.param, failure.retry_after) == (
        "upstream_error",
        failures.REDACTED,
        None,
        None,
        2.0,
    )
    assert failure.retryable == (status in (500, 502, 503, 529))


def test_row_10_retry_after_is_kept() -> None:
    assert refused(429, OPENAI, 7.0).retry_after == 7.0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": 429}, 429),
        ({"code": "404"}, 404),
        ({"status": 422, "code": "x"}, 422),
        ({"status_code": 401}, 401),
        ({"type": "rate_limit_error"}, 429),
        ({"type": "x", "code": "context_length_exceeded"}, 400),
        ({"type": "authentication_error", "code": None}, 401),
        ({"code": 503}, None),
        ({"code": 200}, None),
        ({"code": True, "type": 5}, None),
        ({"code": "9" * 5000}, None),
        ({"type": "server_error"}, None),
    ],
)
def test_row_14_the_status_of_an_error_event(error: dict[str, Any], status: int | None) -> None:
    assert (
        upstreamerrors.reported({"error": {"message": "m", **error}}, redaction.NONE).status
        == status
    )
