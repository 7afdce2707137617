"""The meaning of an HTTP upstream's failures to a client: statuses, error objects, broken
streams."""

from typing import Any, Final

import msgspec

from engine import failures, redaction
from engine.failures import ProviderFailure
from machines import parse

MESSAGE_BYTES: Final = 4 * (failures.MESSAGE_CHARACTERS + redaction.MAX_SECRET)
"""Most bytes of an upstream's message that are looked at."""

RETRIED: Final = frozenset({500, 502, 503, 529})
"""Statuses that another attempt may change. 504 is not one of them: that attempt has had its
time."""

UNREACHABLE: Final = ProviderFailure(
    code="upstream_unreachable", message="The model's server cannot be reached."
)
"""The connection was refused, the host does not exist, or there is no common version of TLS."""

UNREACHABLE_IN_TIME: Final = ProviderFailure(
    code="upstream_unreachable",
    message="The model's server did not take the connection in time.",
    status=504,
)
"""No connection was made within the time for it."""

EXHAUSTED: Final = ProviderFailure(
    kind="rejected",
    code="worker_not_ready",
    message="The server has no connection left for the model's server.",
    retry_after=1,
    retryable=True,
)
"""Our own descriptors or memory are used up: the upstream has no part in it."""

DISCONNECTED: Final = msgspec.structs.replace(failures.DISCONNECTED, retryable=False)
"""The connection broke. The client may try again; here it could double what is paid for."""

TRUNCATED: Final = ProviderFailure(
    code="upstream_truncated",
    message="The provider's stream ended without saying that the answer is complete.",
)
"""The body ended as it should, and the answer did not."""

LOST: Final = ProviderFailure(
    code="upstream_output_lost",
    message="The provider sent output that has no place in the answer.",
)
"""There was text or a call behind a finish, of a choice that nobody asked for, or of an unknown
type: without it the answer would look whole and be cut."""

EMPTY: Final = ProviderFailure(
    kind="empty", code="empty_upstream", message="The provider sent no answer."
)
"""The event stream had no event."""

NO_ANSWER: Final = ProviderFailure(
    code="upstream_error", message="The provider's response is not an answer."
)
"""A 200 was neither an event stream nor a completion."""

UNDECODABLE: Final = ProviderFailure(
    code="upstream_decode_error", message="The provider sent an event that is not JSON."
)
"""The answer cannot be read."""

TOO_LARGE: Final = ProviderFailure(
    code="upstream_event_too_large", message="The provider sent an event over the size limit."
)
"""One event is larger than what is kept of one."""

_CODES: Final = {401: "worker_unauthorized", 403: "provider_forbidden", 429: "rate_limit_exceeded"}
"""The code of `server.http.errors` for a status whose error names none of its own."""

_STATUSES: Final = {
    "authentication_error": 401,
    "billing_error": 402,
    "context_length_exceeded": 400,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "invalid_request_error": 400,
    "model_not_found": 404,
    "not_found_error": 404,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "request_too_large": 413,
}
"""The status that a type or a code of an error stands for. Source: the OpenAI and Anthropic error
pages."""


def refused(
    status: int, body: bytes, retry_after: float | None, known: redaction.Redaction
) -> ProviderFailure:
    """Return the failure that a response stands for whose status is no success.

    Args:
        body: the start of it, whatever it is labelled.
        retry_after: seconds, as the upstream said.
        known: the server's own secrets, which it may repeat.
    """
    if not 400 <= status < 500:
        return ProviderFailure(
            code="upstream_error",
            message=failures.REDACTED,
            retry_after=retry_after,
            retryable=status in RETRIED,
        )
    error = _error_object(_parsed(body))
    return ProviderFailure(
        code=_text(error, "code", known) or _CODES.get(status, "invalid_request"),
        message=_message(error, known)
        or f"The provider refused the request with status {status}.",
        status=status,
        param=_text(error, "param", known),
        retry_after=retry_after,
    )


def reported(value: Any, known: redaction.Redaction) -> ProviderFailure:
    """Return the failure that came as an event or in the body of a 200.

    Args:
        value: the decoded event, or a text.
        known: as `refused` has them.
    """
    error = _error_object(value)
    status = _status(error)
    return ProviderFailure(
        code=_text(error, "code", known) or _CODES.get(status or 0, "upstream_error"),
        message=_message(error, known) or failures.REDACTED,
        status=status,
        param=_text(error, "param", known),
    )


def _parsed(body: bytes) -> Any:
    """Return the JSON value of a body, or its text if it is meant for people to read."""
    try:
        return parse.value(body)
    except parse.ParseError:
        text = body.decode("utf-8", "replace").strip()
        return "" if text.startswith(("<", "{", "[")) else text


def _error_object(value: Any) -> dict[str, Any]:
    """Return the members of an error, however deep it is wrapped."""
    match value:
        case {"error": dict() | str() as inner} | [{"error": dict() | str() as inner}, *_]:
            return _error_object(inner)
        case dict():
            return value
        case str():
            return {"message": value}
    return {}


def _message(error: dict[str, Any], known: redaction.Redaction) -> str:
    match error:
        case {"message": str(text)} | {"detail": str(text)} | {"detail": [{"msg": str(text)}, *_]}:
            return failures.safe(text, known)
    return ""


def _text(error: dict[str, Any], key: str, known: redaction.Redaction) -> str | None:
    """Return a member that is a text; a number only repeats the status."""
    value = error.get(key)
    if not isinstance(value, str) or not value or value.isdigit():
        return None
    return failures.safe(value, known)


def _status(error: dict[str, Any]) -> int | None:
    """Return the 4xx that an error stands for; for any other status a client sees the code's
    own."""
    for key in ("status", "status_code", "code"):
        value = error.get(key)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:4])
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            return value if value < 500 else None
    words = (error.get("code"), error.get("type"))
    return next(
        (_STATUSES[word] for word in words if isinstance(word, str) and word in _STATUSES), None
    )
