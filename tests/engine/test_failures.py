"""What Codex says when a turn failed, as it was measured, and what a client is told of it."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from engine import failures, redaction
from engine.codex.protocol import notifications
from machines import events

HIGH_DEMAND = "We're currently experiencing high demand, which may cause temporary errors."
DISCONNECTED = "stream disconnected before completion: "
URL = "url: http://127.0.0.1:11435/v1/responses"


def status(word: str, code: int | None) -> dict[str, Any]:
    return {word: {"httpStatusCode": code}}


def verdict(info: object, message: str) -> failures.ProviderFailure | failures.Incomplete:
    """What becomes of `turn.error`."""
    error = msgspec.convert(
        {"message": message, "codexErrorInfo": info, "additionalDetails": None},
        notifications.TurnError,
    )
    return failures.classify(error.error_word, error.http_status, error.message, redaction.NONE)


@pytest.mark.parametrize(
    ("info", "message", "expected"),
    [
        (
            status("httpConnectionFailed", 401),
            f"unexpected status 401 Unauthorized: bad key, {URL}",
            ("worker_unauthorized", None, False),
        ),
        (
            status("httpConnectionFailed", 403),
            f"unexpected status 403 Forbidden: no, {URL}",
            ("provider_forbidden", 403, False),
        ),
        (
            status("httpConnectionFailed", 404),
            f"unexpected status 404 Not Found: no, {URL}",
            ("model_not_found", None, False),
        ),
        ("modelNotFound", "The model `x` does not exist", ("model_not_found", None, False)),
        (
            status("httpConnectionFailed", 413),
            f"unexpected status 413 Payload Too Large: no, {URL}",
            ("request_too_large", 413, False),
        ),
        (
            status("httpConnectionFailed", 422),
            f"unexpected status 422 Unprocessable Entity: no, {URL}",
            ("provider_rejected", 422, False),
        ),
        (
            status("httpConnectionFailed", 418),
            f"unexpected status 418 I'm a teapot: no, {URL}",
            ("provider_rejected", 418, False),
        ),
        (
            status("responseTooManyFailedAttempts", 429),
            "exceeded retry limit, last status: 429 Too Many Requests",
            ("rate_limit_exceeded", None, False),
        ),
        ("rateLimitExceeded", "Rate limit reached.", ("rate_limit_exceeded", None, False)),
        ("usageLimitExceeded", "You've hit your limit.", ("usage_limit_exceeded", None, False)),
        ("internalServerError", HIGH_DEMAND, ("upstream_error", None, True)),
        (
            status("httpConnectionFailed", 502),
            f"unexpected status 502 Bad Gateway: no, {URL}",
            ("upstream_error", None, True),
        ),
        (
            status("httpConnectionFailed", 529),
            f"unexpected status 529 <unknown status code>: no, {URL}",
            ("upstream_error", None, True),
        ),
        (
            "serverOverloaded",
            "Selected model is at capacity.",
            ("upstream_error", None, True),
        ),
        (
            status("httpConnectionFailed", None),
            "Connection failed: error sending request",
            ("upstream_error", None, True),
        ),
        (
            "other",
            f"{DISCONNECTED}error sending request",
            ("upstream_disconnected", None, True),
        ),
        (
            "other",
            f"{DISCONNECTED}stream closed before response.completed",
            ("upstream_disconnected", None, True),
        ),
        (
            "other",
            f"{DISCONNECTED}idle timeout waiting for SSE",
            ("upstream_disconnected", None, True),
        ),
        (
            status("responseStreamDisconnected", 401),
            "unexpected status 401 Unauthorized",
            ("worker_unauthorized", None, False),
        ),
        ("contextWindowExceeded", "Too long.", ("context_length_exceeded", None, False)),
        ("other", "Missing environment variable: `KEY`.", ("worker_unauthorized", None, False)),
        ("unauthorized", "Log in again.", ("worker_unauthorized", None, False)),
        ("cyberPolicy", "This request was flagged.", ("upstream_error", None, False)),
        (None, "Something new.", ("upstream_error", None, False)),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_failed_turn_has_a_code_a_status_and_a_chance(
    info: object, message: str, expected: tuple[str, int | None, bool]
) -> None:
    failure = verdict(info, message)
    assert isinstance(failure, failures.ProviderFailure)
    assert (failure.code, failure.status, failure.retryable) == expected
    assert failure.kind == "upstream_error"
    assert message not in failure.message, "a text of Codex's own is not for clients"
    assert "127.0.0.1" not in failure.message


@pytest.mark.parametrize("prefix", ["", DISCONNECTED])
@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
def test_an_incomplete_answer_is_no_failure(prefix: str, reason: str) -> None:
    message = f"{prefix}Incomplete response returned, reason: {reason}"
    assert verdict("other", message) == failures.Incomplete(reason)


def test_a_400_arrives_whole() -> None:
    body = (
        '{"error":{"message":"Unsupported value: \'x\'.","type":"invalid_request_error",'
        '"param":"reasoning.effort","code":"unsupported_value"}}'
    )
    assert verdict("other", body) == failures.ProviderFailure(
        code="unsupported_value",
        message="Unsupported value: 'x'.",
        status=400,
        param="reasoning.effort",
    )


def test_a_400_without_code_or_param_is_still_the_clients_fault() -> None:
    body = '{"error":{"message":"No.","type":"invalid_request_error","param":null,"code":null}}'
    assert verdict("other", body) == failures.ProviderFailure(
        code="provider_rejected", message="No.", status=400
    )
    body = '{"error":{"message":"No.","param":["a"],"code":7}}'
    assert verdict("other", body) == failures.ProviderFailure(
        code="provider_rejected", message="No.", status=400
    )


def test_a_400_of_nothing_but_a_host_has_a_message_all_the_same() -> None:
    for message in ("api.internal.example.com", " "):
        found = failures.classify(
            "other", None, f'{{"error":{{"message":"{message}"}}}}', redaction.NONE
        )
        assert isinstance(found, failures.ProviderFailure)
        assert (found.status, found.message) == (400, failures.REDACTED)


def test_a_400_does_not_tell_hosts_or_keys() -> None:
    failure = verdict("other", '{"error":{"message":"Wrong key sk-ab*****12, see https://x.y/z"}}')
    assert isinstance(failure, failures.ProviderFailure)
    assert failure.message == "Wrong key , see"


@pytest.mark.parametrize("body", ["{}", "[]", "3", '{"error":"no"}', '{"error":[]}', "{", ""])
def test_what_is_no_error_body_is_redacted(body: str) -> None:
    assert verdict("other", body) == failures.ProviderFailure(
        code="upstream_error", message=failures.REDACTED
    )


def test_a_failure_becomes_an_event_of_its_choice() -> None:
    assert failures.BUSY.event(2) == events.TurnFailed(
        "rejected",
        "worker_busy",
        "Every worker is at its turn limit. Try again shortly.",
        2,
        None,
        None,
        1,
    )
    assert failures.LOST.event(0).kind == "worker_lost"
    whole = failures.ProviderFailure(code="c", message="m", status=400, param="p", retry_after=2)
    assert whole.event(1) == events.TurnFailed("upstream_error", "c", "m", 1, 400, "p", 2)


@pytest.mark.parametrize(
    ("message", "safe"),
    [
        (f"bad key, {URL}", "bad key"),
        ("error sending request (https://api.corp:8443/v1?key=1", "error sending request ("),
        ("wss://h/x and postgres://user:pw@db/1 failed", "and  failed"),
        ("no address for api.openai.com.", "no address for ."),
        (
            "connect to 10.0.0.7:443 or [::1]:80 or fe80::1%eth0 failed",
            "connect to  or  or  failed",
        ),
        ("localhost:11435 refused", "refused"),
        ("gateway.eu-1:8080 refused", "refused"),
        ("Incorrect API key provided: sk-proj-a_B-1.", "Incorrect API key provided: ."),
        ("Authorization: Bearer  abc.def", "Authorization:"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.a-b_c", "token"),
    ],
)
def test_a_message_loses_hosts_urls_and_keys(message: str, safe: str) -> None:
    assert failures.safe(message, redaction.NONE) == safe


@pytest.mark.parametrize(
    "message",
    [
        "The model `gpt-5.5` does not support messages[0].content[1].image_url.",
        "Invalid 'tools[0].function.name': expected '^[a-zA-Z0-9_-]+$'.",
        "Text must be shorter than 1,048,576 characters (std::string), e.g. at 10:30:15.",
        "Incomplete response: response.completed was not seen. A task-force for 3:4.",
    ],
)
def test_a_message_keeps_everything_else(message: str) -> None:
    assert failures.safe(message, redaction.NONE) == message


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
HOSTS = st.one_of(
    st.builds("{}.{}.{}".format, NAMES, NAMES, st.sampled_from(["com", "net", "internal", "ai"])),
    st.ip_addresses(v=4).map(str),
    st.just("localhost"),
)
SECRETS = st.one_of(
    HOSTS,
    st.builds("{}:{}".format, HOSTS, st.integers(1, 65535)),
    st.builds(
        "{}://{}/{}".format, st.sampled_from(["http", "https", "HTTPS", "ws", "wss"]), HOSTS, NAMES
    ),
    st.ip_addresses(v=6).map(lambda address: f"[{address.exploded}]:8080"),
    st.ip_addresses(v=6).map(lambda address: address.exploded),
    st.from_regex(r"sk-[A-Za-z0-9_-]{4,40}", fullmatch=True),
    st.from_regex(r"Bearer [A-Za-z0-9._-]{4,40}", fullmatch=True),
)
EDGES = st.sampled_from([" ", ", ", " (", "'", '"', ": ", "\n", "`", "="])


@given(SECRETS, EDGES, EDGES)
def test_no_host_url_or_key_survives(secret: str, before: str, after: str) -> None:
    message = failures.safe(f"The request failed{before}{secret}{after}and so on", redaction.NONE)
    assert secret.split()[-1] not in message
    assert message.startswith("The request failed")
    if "://" not in secret and not secret.startswith("Bearer"):
        assert message.endswith("and so on"), "no more is taken than the secret itself"


@pytest.mark.parametrize("piece", ["a.", "a-", "1.", "a:", "fe:", "::", "[1:", "Bearer ", "eyJ"])
def test_a_message_of_any_length_takes_linear_time(piece: str) -> None:
    begun = time.process_time()
    failures.safe(piece * 100_000, redaction.NONE)
    assert time.process_time() - begun < 5, "backtracking over all of it takes minutes"
