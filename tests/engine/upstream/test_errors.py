"""What a client is told of an upstream's errors."""

import json
from typing import Any

import msgspec
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
    """The meaning of a response to a client."""
    return msgspec.structs.replace(whole(status, body, retry_after), word=None, detail=None)


def whole(status: int, body: Any, retry_after: float | None = None) -> ProviderFailure:
    """The same, with what the operator is told."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    advice = upstreamerrors.Advice(retry_after)
    return upstreamerrors.refused(status, data, advice, redaction.NONE)


def test_the_operator_has_the_upstreams_own_words() -> None:
    found = whole(500, {"error": {"message": "CUDA out of memory on shard 12", "type": "oom"}})
    assert (found.message, found.word) == (failures.REDACTED, "oom")
    assert found.detail is not None and "CUDA out of memory on shard 12" in found.detail
    reported = upstreamerrors.reported({"error": {"message": "m", "type": "t"}}, redaction.NONE)
    assert (reported.word, reported.detail) == ("t", '{"error":{"message":"m","type":"t"}}')


@pytest.mark.parametrize(
    ("message", "retryable"),
    [
        ("image input is not supported - hint: you may need mmproj", False),
        ("tools param requires --jinja flag", False),
        ("System message must be at the beginning.", False),
        ("CUDA out of memory", True),
        ("CUDA error: invalid device context", True),
        ("CUDA error: operation not supported", True),
        ("Invalid state of the scheduler", True),
        ("the model requires a warm replica", True),
    ],
)
def test_a_500_that_is_the_requests_fault_is_tried_once(message: str, retryable: bool) -> None:
    found = whole(500, {"error": {"message": message}})
    assert (found.retryable, found.should_retry) == (retryable, None if retryable else False)


def test_a_refusal_has_its_message_however_badly_it_is_written() -> None:
    body = b'{"error":{"message":"No.","a":NaN,"b":1e999,"c":"\\ud800","d":"\xff"}}'
    failure = whole(400, body)
    assert (failure.status, failure.message) == (400, "No.")
    assert json.loads(bytes(failure.members))["c"] == "\ufffd"


@pytest.mark.parametrize("status", [502, 503, 529])
def test_a_gateways_failure_is_tried_again_whatever_it_says(status: int) -> None:
    message = "This is not supported: an invalid response from an upstream must not be passed on."
    found = whole(status, {"error": {"message": message}})
    assert (found.retryable, found.should_retry) == (True, None)


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308])
def test_a_redirect_is_said_to_be_one(status: int) -> None:
    assert refused(status, b"") == failures.REDIRECTED


def test_where_a_redirect_leads_is_the_operators_to_know() -> None:
    location = "https://internal-host:8443/v2?key=sk-abcdefghijklmnopqrstuvwx\x1b[31m" + "x" * 4000
    found = upstreamerrors.refused(
        308, b"<html>", upstreamerrors.NO_ADVICE, redaction.NONE, location
    )
    assert (found.code, found.message) == ("upstream_redirected", failures.REDIRECTED.message)
    assert found.detail is not None
    assert found.detail.startswith("308, location: https://internal-host:8443/v2?key=")
    assert "sk-" not in found.detail
    assert len(found.detail) <= failures.DETAIL_BYTES
    unmoved = upstreamerrors.refused(308, b"<html>", upstreamerrors.NO_ADVICE, redaction.NONE)
    assert unmoved.detail == "<html>"


def test_numbers_of_a_providers_own_pass_and_statuses_do_not() -> None:
    assert refused(400, {"error": {"message": "m", "code": 1500}}).code == "1500"
    assert refused(400, {"error": {"message": "m", "code": "1113"}}).code == "1113"
    assert refused(400, {"error": {"message": "m", "code": 400}}).code == "invalid_request"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
def test_row_11_a_4xx_keeps_status_message_code_and_param(status: int) -> None:
    is_ours = status in (401, 402, 403)  # of the server's own account
    further = b"{}" if is_ours else b'{"type":"invalid_request_error"}'
    assert refused(status, OPENAI) == ProviderFailure(
        code="unsupported_value",
        message="Unsupported value: 'top_k'.",
        status=status,
        param="top_k",
        members=msgspec.Raw(further),
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
    empties: tuple[Any, ...] = (None, "", 404, "429", {})
    for empty in empties:
        assert refused(status, {"error": {"message": "m", "code": empty}}).code == code


def test_messages_are_stripped_of_hosts_and_keys_and_have_an_end() -> None:
    text = (
        "Key sk-abc123 is wrong at http://10.1.2.3:8000/v1, see gpu-7.corp.internal " + "x" * 9999
    )
    message = refused(401, {"error": {"message": text}}).message
    assert not any(word in message for word in ("sk-abc", "10.1.2.3", "8000", "gpu-7"))
    assert message.startswith("Key ******** is wrong at ********, see ********")
    assert len(message) <= 2000


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
def test_row_12_any_other_status_says_nothing_of_the_upstream(status: int) -> None:
    failure = refused(status, {"error": {"message": "No.", "code": "c", "param": "p"}}, 2.0)
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
