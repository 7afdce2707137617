"""The meaning of a failed Codex turn: what of the provider's own words is left, and what follows.

Source: `turn.error` as the binaries of 0.163, 0.169 and 0.171 report it, measured with a provider
on loopback; `tests/engine/codex/turns/test_verdicts.py` has the cases. A 400 and a refusal by
policy come as `other`, their text as the message, and so do a few sentences of Codex's own.
"""

import re
from typing import Any, Final

import msgspec

from engine import envelopes, failures, redaction
from engine.codex.protocol.channel import OVERLOADED, RpcError
from machines import parse

NAMED: Final[dict[str, failures.ProviderFailure]] = {
    "contextWindowExceeded": failures.ProviderFailure(
        code="context_length_exceeded",
        message="The conversation is longer than the model's context window.",
    ),
    "usageLimitExceeded": failures.ProviderFailure(
        code="usage_limit_exceeded", message="The provider's usage limit is reached."
    ),
    "rateLimitExceeded": failures.ProviderFailure(
        code="rate_limit_exceeded", message="The provider's rate limit is reached."
    ),
    "unauthorized": failures.ProviderFailure(
        code="worker_unauthorized", message="The provider refused the worker's login."
    ),
    "modelNotFound": failures.ProviderFailure(
        code="model_not_found", message="The provider does not know this model."
    ),
    "serverOverloaded": failures.ProviderFailure(
        code="upstream_error", message=failures.REDACTED, retryable=True
    ),
    "internalServerError": failures.ProviderFailure(
        code="upstream_error", message=failures.REDACTED, retryable=True
    ),
}
"""Failures that Codex names in `codexErrorInfo`."""

BY_STATUS: Final[dict[int, failures.ProviderFailure]] = {
    401: NAMED["unauthorized"],
    403: failures.ProviderFailure(
        code="provider_forbidden", message="The provider refused the account.", status=403
    ),
    404: NAMED["modelNotFound"],
    413: failures.ProviderFailure(
        code="request_too_large", message="The provider found the request too large.", status=413
    ),
    422: failures.ProviderFailure(
        code="provider_rejected", message="The provider could not process the request.", status=422
    ),
    429: NAMED["rateLimitExceeded"],
}
"""Failures of which Codex keeps only the provider's HTTP status."""

HTTP_WORDS: Final = frozenset(
    {
        "httpConnectionFailed",
        "responseStreamConnectionFailed",
        "responseStreamDisconnected",
        "responseTooManyFailedAttempts",
    }
)
"""Words of `codexErrorInfo` that come with an HTTP status, or with none where no head arrived."""

PERMANENT: Final = frozenset(
    {
        "bioPolicy",
        "cyberPolicy",
        "inferenceHookDenied",
        "misalignmentPolicyViolation",
        "policyCapacityUnavailable",
    }
)
"""Words of `codexErrorInfo` for a refusal that no other attempt changes (0.163 to 0.171)."""

BY_TEXT: Final = frozenset({"other", "badRequest"})
"""Words of `codexErrorInfo` that say nothing: the message does."""

KNOWN_WORDS: Final = frozenset(NAMED) | HTTP_WORDS | PERMANENT | BY_TEXT
"""Words of `codexErrorInfo` that are told apart; every other is a failure of the provider's."""

BODY_CHARACTERS: Final = 256 * 1024
"""Characters of a body up to which it is read: one of 8 MiB would hold every stream for 1.6 s."""

DISCONNECTED: Final = "stream disconnected before completion"
"""How Codex's message begins where a provider's stream broke off, or failed by a code that Codex
does not know."""

OWN_SENTENCES: Final = (
    "Missing environment variable",
    "Fatal error",
    "internal error;",
    "unsupported operation",
    "spawn failed",
    "sandbox error",
    "timeout waiting",
    "no thread with id",
    "thread not found",
    "session configured event",
    "interrupted",
    "failed to load configuration",
    "error sending request",
    "Connection failed",
    "unexpected status",
    "exceeded retry limit",
)
"""How the errors of Codex itself begin (0.163 to 0.171): none of these is a provider's refusal."""

_INCOMPLETE: Final = re.compile(
    rf"(?:{DISCONNECTED}: )?Incomplete response returned, reason: (\w{{1,64}})"
)

REFUSED: Final = "The model provider refused the request."
"""In place of a refusal's text where it has none, or is a page for a browser."""


class Incomplete(msgspec.Struct, frozen=True):
    """Not a failure: the provider ended the answer early, and said why."""

    reason: str


def classify(
    word: str, status: int | None, message: str, known: redaction.Redaction
) -> failures.ProviderFailure | Incomplete:
    """Return the failure that `turn.error` stands for, with the provider's own words.

    Args:
        word: the word of `codexErrorInfo`; empty without one.
        status: the provider's HTTP status, as far as Codex tells.
        message: Codex's text; of a 400 it is the provider's body.
        known: the server's own secrets, which a provider may repeat.
    """
    incomplete = _INCOMPLETE.match(message)
    if incomplete:
        return Incomplete(incomplete[1])
    return msgspec.structs.replace(
        _failure(word, status, message, known),
        word=failures.word(word, known),
        detail=failures.detail(message, known),
    )


def _failure(
    word: str, status: int | None, message: str, known: redaction.Redaction
) -> failures.ProviderFailure:
    if word in NAMED:
        return NAMED[word]
    if word in HTTP_WORDS:
        return _from_status(status)
    if word in PERMANENT:
        return _refusal({"message": message, "code": _snake(word)}, known)
    if message.startswith(DISCONNECTED):
        return failures.DISCONNECTED
    if message.startswith("Missing environment variable"):
        return NAMED["unauthorized"]
    value = _value(message)
    # Without a word only an error in its envelope is known to be the provider's.
    is_body = word in BY_TEXT or (not word and isinstance(value, dict) and "error" in value)
    if not is_body or message.startswith(OWN_SENTENCES):
        return failures.ProviderFailure(code="upstream_error", message=failures.REDACTED)
    return _refusal(envelopes.members(value), known)


def _from_status(status: int | None) -> failures.ProviderFailure:
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status is not None and 300 <= status < 400:
        return failures.REDIRECTED
    if status is not None and 400 <= status < 500:
        return failures.ProviderFailure(code="provider_rejected", message=REFUSED, status=status)
    return NAMED["internalServerError"]


def _value(message: str) -> Any:
    """Return the JSON value of a body, or its text if it is meant for people to read."""
    if len(message) > BODY_CHARACTERS:
        return envelopes.prose(message[:BODY_CHARACTERS])
    try:
        return parse.lenient(message)
    except parse.ParseError:
        return envelopes.prose(message)


def refused(error: RpcError, known: redaction.Redaction) -> failures.ProviderFailure:
    """Return the failure of a turn one of whose requests Codex has refused."""
    if error.code == OVERLOADED:
        return msgspec.structs.replace(failures.BUSY, retryable=True)
    return failures.ProviderFailure(
        code="upstream_error",
        message=failures.REDACTED,
        detail=failures.detail(str(error), known),
    )


def _refusal(error: dict[str, Any], known: redaction.Redaction) -> failures.ProviderFailure:
    """A refusal arrives whole: its message, param and code are the client's to see."""
    return failures.ProviderFailure(
        code=failures.word(error.get("code"), known) or "provider_rejected",
        message=envelopes.message(error, known) or REFUSED,
        status=400,
        param=failures.word(error.get("param"), known),
    )


def _snake(word: str) -> str:
    """The API's spelling of a word of Codex's: `cyberPolicy` is `cyber_policy` there."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).lower()
