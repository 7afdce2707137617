"""What Codex says when a turn failed, as it was measured, and what becomes of it."""

import json
from typing import Any

import msgspec
import pytest

from engine import failures, redaction
from engine.codex.protocol import channel, notifications
from engine.codex.turns import verdicts

HIGH_DEMAND = "We're currently experiencing high demand, which may cause temporary errors."
DISCONNECTED = "stream disconnected before completion: "
URL = "url: http://127.0.0.1:11435/v1/responses"


def status(word: str, code: int | None) -> dict[str, Any]:
    return {word: {"httpStatusCode": code}}


def verdict_of(info: object, message: str) -> failures.ProviderFailure | verdicts.Incomplete:
    """What becomes of `turn.error`."""
    error = msgspec.convert(
        {"message": message, "codexErrorInfo": info, "additionalDetails": None},
        notifications.TurnError,
    )
    return verdicts.classify(error.error_word, error.http_status, error.message, redaction.NONE)


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
        (None, "Something new.", ("upstream_error", None, False)),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_failed_turn_has_a_code_a_status_and_a_chance(
    info: object, message: str, expected: tuple[str, int | None, bool]
) -> None:
    failure = verdict_of(info, message)
    assert isinstance(failure, failures.ProviderFailure)
    assert (failure.code, failure.status, failure.retryable) == expected
    assert failure.kind == "upstream_error"
    assert message not in failure.message, "a text of Codex's own is not for clients"
    assert "127.0.0.1" not in failure.message


@pytest.mark.parametrize("prefix", ["", DISCONNECTED])
@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
def test_an_incomplete_answer_is_no_failure(prefix: str, reason: str) -> None:
    message = f"{prefix}Incomplete response returned, reason: {reason}"
    assert verdict_of("other", message) == verdicts.Incomplete(reason)


def test_a_provider_that_quotes_it_cuts_no_answer() -> None:
    """Only Codex itself says so, at the beginning of its message."""
    words = "Incomplete response returned, reason: max_output_tokens"
    for message in (f"You said: {words}", json.dumps({"error": {"message": words}})):
        found = verdict_of("other", message)
        assert isinstance(found, failures.ProviderFailure)
        assert (found.status, found.retryable) == (400, False)


BODIES = {
    '{"error":{"message":"Bad.","type":"t","param":"a.b","code":"c"}}': ("c", "Bad.", "a.b"),
    '{"error":{"message":"Bad.","param":null,"code":null}}': ("provider_rejected", "Bad.", None),
    '{"error":{"message":"Bad.","param":["a"],"code":1500}}': ("1500", "Bad.", None),
    '{"detail":"x problem"}': ("provider_rejected", "x problem", None),
    '{"detail":[{"loc":["body"],"msg":"not an int"}]}': ("provider_rejected", "not an int", None),
    '{"message":"x problem"}': ("provider_rejected", "x problem", None),
    '"x problem"': ("provider_rejected", "x problem", None),
    '{"error":"No such model."}': ("provider_rejected", "No such model.", None),
    '{"code":"bad","error":"No such."}': ("bad", "No such.", None),
    "plain x problem": ("provider_rejected", "plain x problem", None),
    "<html>bad</html>": ("provider_rejected", verdicts.REFUSED, None),
    "": ("provider_rejected", verdicts.REFUSED, None),
    "{}": ("provider_rejected", verdicts.REFUSED, None),
    "[]": ("provider_rejected", verdicts.REFUSED, None),
    "3": ("provider_rejected", verdicts.REFUSED, None),
    '{"error":[]}': ("provider_rejected", verdicts.REFUSED, None),
    "{": ("provider_rejected", verdicts.REFUSED, None),
}
"""Bodies of a provider's 400, which Codex hands on as they are (measured: 0.163, 0.169, 0.171);
code, message and param for the client."""


def test_a_body_beyond_the_limit_is_not_read() -> None:
    """8 MiB of it held every stream for 1.4 s."""
    body = json.dumps({"error": {"message": "m", "x": [[]] * verdicts.BODY_CHARACTERS}})
    found = verdict_of("other", body)
    assert isinstance(found, failures.ProviderFailure)
    assert (found.code, found.status) == ("provider_rejected", 400)
    assert found.message == verdicts.REFUSED


@pytest.mark.parametrize("body", BODIES)
def test_a_400_is_one_in_whatever_form_it_comes(body: str) -> None:
    found = verdict_of("other", body)
    assert isinstance(found, failures.ProviderFailure)
    assert (found.code, found.message, found.param) == BODIES[body]
    assert (found.status, found.retryable) == (400, False)
    assert (found.word, found.detail) == ("other", body or None)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("cyberPolicy", "cyber_policy"),
        ("misalignmentPolicyViolation", "misalignment_policy_violation"),
        ("bioPolicy", "bio_policy"),
        ("inferenceHookDenied", "inference_hook_denied"),
        ("other", "provider_rejected"),  # invalid_prompt; bio_policy before 0.171
    ],
)
def test_a_refusal_for_good_is_a_400_with_the_providers_words(word: str, code: str) -> None:
    found = verdict_of(word, "This prompt is not allowed, see https://x.y/z")
    assert isinstance(found, failures.ProviderFailure)
    assert (found.code, found.status, found.retryable) == (code, 400, False)
    assert found.message == "This prompt is not allowed, see ********"
    assert found.detail == "This prompt is not allowed, see https://x.y/z"
    assert verdicts.refuses_prompt(found)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("other", '{"error":{"message":"No such item.","code":"invalid_value"}}'),
        ("contextWindowExceeded", "Too long."),
        ("internalServerError", "Busy."),
    ],
)
def test_what_another_attempt_may_change_is_no_refusal_of_the_prompt(
    word: str, message: str
) -> None:
    found = verdict_of(word, message)
    assert isinstance(found, failures.ProviderFailure)
    assert not verdicts.refuses_prompt(found)


@pytest.mark.parametrize("code", [301, 302, 304, 307])
def test_a_redirect_is_said_to_be_one(code: int) -> None:
    found = verdict_of(status("httpConnectionFailed", code), f"unexpected status {code} Found")
    assert isinstance(found, failures.ProviderFailure)
    assert (found.code, found.status, found.retryable) == ("upstream_redirected", None, False)


@pytest.mark.parametrize("code", [200, 7, -5, 0, 100, 600, 999_999, True, "403", 403.0, [], None])
def test_what_is_no_status_of_an_error_is_none(code: Any) -> None:
    found = verdict_of(status("httpConnectionFailed", code), "unexpected status")
    assert isinstance(found, failures.ProviderFailure)
    assert (found.code, found.status) == ("upstream_error", None)


@pytest.mark.parametrize("message", [f"{each} of something" for each in verdicts.OWN_SENTENCES])
def test_a_sentence_of_codexs_own_is_no_refusal(message: str) -> None:
    found = verdict_of("other", message)
    assert isinstance(found, failures.ProviderFailure)
    assert found.status is None
    assert found.message != message
    assert found.detail == message


@pytest.mark.parametrize("word", [None, "sandboxError", "threadRollbackFailed", "new"])
def test_a_word_that_is_not_known_says_nothing(word: str | None) -> None:
    found = verdict_of(word, "Something new.")
    assert isinstance(found, failures.ProviderFailure)
    assert (found.code, found.message) == ("upstream_error", failures.REDACTED)
    assert (found.word, found.detail) == (word, "Something new.")


def test_codes_and_params_are_cleaned_and_capped_as_messages_are() -> None:
    secret = "Bearer sk-abcdef1234567890"
    body = {"message": "m" * 100_000, "code": "https://h.example/k?key=1", "param": secret}
    found = verdict_of("other", json.dumps({"error": body}))
    assert isinstance(found, failures.ProviderFailure)
    assert (found.code, found.param) == ("provider_rejected", None)
    assert len(found.message) == failures.MESSAGE_CHARACTERS
    assert found.detail is not None and len(found.detail) <= failures.DETAIL_BYTES
    found = verdict_of("other", json.dumps({"error": {"message": "m", "code": "c" * 100_000}}))
    assert isinstance(found, failures.ProviderFailure)
    assert len(found.code) == failures.WORD_CHARACTERS
    assert "sk-abc" not in repr(verdict_of("other", f"key {secret} is wrong"))


def test_a_400_of_nothing_but_a_host_has_a_message_all_the_same() -> None:
    for message in ("api.internal.example.com", " "):
        found = verdict_of("other", json.dumps({"error": {"message": message}}))
        assert isinstance(found, failures.ProviderFailure)
        assert (found.status, found.message) == (400, verdicts.REFUSED)


def test_a_400_does_not_tell_hosts_or_keys() -> None:
    body = '{"error":{"message":"Wrong key sk-ab*****12, see https://x.y/z"}}'
    failure = verdict_of("other", body)
    assert isinstance(failure, failures.ProviderFailure)
    assert failure.message == "Wrong key ********, see ********"


def test_a_refused_request_is_busy_wrong_or_a_failure_of_codex() -> None:
    def refused(code: int, message: str) -> failures.ProviderFailure:
        return verdicts.refused(channel.RpcError(code, message), redaction.NONE)

    assert refused(channel.OVERLOADED, "Server overloaded; retry later.").retryable
    verbosity = "unknown variant `loud`, expected one of `low`, `high`\nin `model_verbosity`"
    wrong = refused(-32600, f"failed to load configuration: {verbosity}")
    assert (wrong.code, wrong.param, wrong.retryable) == ("invalid_request", "verbosity", False)
    other = refused(-32600, "thread not found")
    assert (other.code, other.message) == ("upstream_error", failures.REDACTED)
    assert other.detail == "-32600: thread not found"
