"""The meaning of an HTTP upstream's failures to a client: statuses, error objects, broken
streams."""

import contextlib
import re
from typing import Any, Final

import msgspec

from engine import envelopes, failures, redaction
from engine.failures import ProviderFailure
from machines import events, parse

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

_OF_THE_ACCOUNT: Final = frozenset({401, 402, 403})
"""Statuses that are about the server's own account."""

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


class Advice(msgspec.Struct, frozen=True):
    """The word of an upstream's headers on trying again.

    Attributes:
        retry_after: seconds until then.
        should_retry: whether it is of use at all.
    """

    retry_after: float | None = None
    should_retry: bool | None = None


NO_ADVICE: Final = Advice()

_CLIENTS_FAULT: Final = re.compile(
    r"(?!.*\b(?:cuda|hip|nccl|gpu|device|driver|memory|upstream|replica)\b)"
    r".*\b(?:not supported|unsupported|requires? --|must (?:be|have|not)|too (?:long|large))",
    re.IGNORECASE | re.DOTALL,
)
"""Matches the text of a 500 whose request is at fault: llama.cpp, LM Studio and others answer such
a request with 500, and would each time. What speaks of the machinery may be over the next time."""


def refused(
    status: int,
    body: bytes,
    advice: Advice,
    known: redaction.Redaction,
    location: str | None = None,
) -> ProviderFailure:
    """Return the failure that a response stands for whose status is no success.

    Args:
        body: the start of it, whatever it is labelled.
        known: the server's own secrets, which it may repeat.
        location: where a redirect leads; the operator is told, for it says what is wrong with the
            address that is configured.
    """
    error = envelopes.members(_parsed(body))
    failure = _refused(status, error, known)
    should_retry = advice.should_retry
    if should_retry is None:
        should_retry = failure.should_retry
    told = body.decode("utf-8", "replace")
    if failure is failures.REDIRECTED and location is not None:
        told = f"{status}, location: {location}\n{told}"
    return msgspec.structs.replace(
        failure,
        word=failures.word(error.get("type"), known),
        detail=failures.detail(told, known),
        retry_after=advice.retry_after,
        should_retry=should_retry,
    )


def _refused(status: int, error: dict[str, Any], known: redaction.Redaction) -> ProviderFailure:
    if 300 <= status < 400:
        return failures.REDIRECTED
    if not 400 <= status < 500:
        faulty = status == 500 and _CLIENTS_FAULT.match(envelopes.message(error, known))
        return ProviderFailure(
            code="upstream_error",
            message=failures.REDACTED,
            retryable=status in RETRIED and not faulty,
            should_retry=False if faulty else None,
        )
    return ProviderFailure(
        code=_code(error, known) or _CODES.get(status, "invalid_request"),
        message=envelopes.message(error, known)
        or f"The provider refused the request with status {status}.",
        status=status,
        param=failures.word(error.get("param"), known),
        members=_further(status, error, known),
    )


def _further(status: int | None, error: dict[str, Any], known: redaction.Redaction) -> msgspec.Raw:
    """Return the further members of an error that a client is told: of those whose fault its
    request is. What the account of the server's is refused for is not the client's."""
    if status is None or status in _OF_THE_ACCOUNT:
        return events.NO_MEMBERS
    return envelopes.further(error, known)


def reported(value: Any, known: redaction.Redaction) -> ProviderFailure:
    """Return the failure that came as an event or in the body of a 200.

    Args:
        value: the decoded event, or a text.
        known: as `refused` has them.
    """
    error = envelopes.members(value)
    status = _status(error)
    return ProviderFailure(
        code=_code(error, known) or _CODES.get(status or 0, "upstream_error"),
        message=envelopes.message(error, known) or failures.REDACTED,
        status=status,
        param=failures.word(error.get("param"), known),
        word=failures.word(error.get("type"), known),
        detail=failures.detail(_text(value), known),
        members=_further(status, error, known),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _parsed(body: bytes) -> Any:
    """Return the JSON value of a body, also of one with bad UTF-8, half surrogates or NaN; or its
    text if it is meant for people to read."""
    for read in (parse.value, parse.lenient):
        with contextlib.suppress(parse.ParseError):
            return read(body)
    return envelopes.prose(body.decode("utf-8", "replace"))


def _code(error: dict[str, Any], known: redaction.Redaction) -> str | None:
    """Return an error's own code; a number that only repeats a status is none."""
    code = failures.word(error.get("code"), known)
    is_status = code is not None and re.fullmatch(r"[1-5]\d\d", code, re.ASCII)
    return None if is_status else code


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
