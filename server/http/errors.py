"""The one place where an error code becomes an HTTP status, a type and a body."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from machines import events, outputs, parse


class ErrorCase(NamedTuple):
    """The status, type and retry advice that a client sees of an error code.

    Attributes:
        retry_after: seconds for `Retry-After` where nothing better is known; None: not retryable.
        should_retry: `x-should-retry`, where the status alone would mislead the SDKs.
        meaning: one line for `docs/api.md`.
    """

    status: int
    type: str
    meaning: str
    retry_after: int | None = None
    should_retry: bool | None = None


INVALID = "invalid_request_error"
SERVER = "server_error"

CASES: dict[str, ErrorCase] = {
    "invalid_request": ErrorCase(400, INVALID, "a field is missing, mistyped or out of range"),
    "invalid_json": ErrorCase(400, INVALID, "the body is not JSON, not an object, or not UTF-8"),
    "array_above_max_length": ErrorCase(
        400, INVALID, "more messages, items, parts, calls or tools than `PROXY_MAX_INPUT_ITEMS`"
    ),
    "object_above_max_properties": ErrorCase(
        400, INVALID, "an object of more members than `PROXY_MAX_INPUT_ITEMS`"
    ),
    "model_required": ErrorCase(400, INVALID, "`model` is missing"),
    "unsupported_parameter": ErrorCase(400, INVALID, "a parameter the worker cannot honour"),
    "unsupported_operation": ErrorCase(
        400, INVALID, "an operation of the API that no worker here has"
    ),
    "unsupported_content": ErrorCase(400, INVALID, "a content part the worker cannot take"),
    "context_length_exceeded": ErrorCase(400, INVALID, "the prompt is too long for the model"),
    "provider_rejected": ErrorCase(400, INVALID, "the model's provider refused the request"),
    "bad_http": ErrorCase(400, INVALID, "the request is not HTTP/1.1"),
    "websocket_connection_limit_reached": ErrorCase(
        400, INVALID, "a WebSocket is `PROXY_WEBSOCKET_MAX_AGE_MS` old: open another"
    ),
    "invalid_api_key": ErrorCase(401, INVALID, "no key, or a wrong one"),
    "worker_unauthorized": ErrorCase(
        401, "authentication_error", "the worker's own login is missing or expired"
    ),
    "host_not_allowed": ErrorCase(
        403, INVALID, "without a key, or for metrics a token, only loopback is served"
    ),
    "origin_not_allowed": ErrorCase(
        403, INVALID, "a WebSocket of a page that is not in `PROXY_CORS_ALLOWED_ORIGINS`"
    ),
    "provider_forbidden": ErrorCase(403, "permission_error", "the provider refused the account"),
    "not_found": ErrorCase(404, INVALID, "no such route"),
    "previous_response_not_found": ErrorCase(
        400, INVALID, "no response with the id in `previous_response_id`, or not of this key"
    ),
    "usage_not_kept": ErrorCase(404, INVALID, "there is no usage while `PROXY_EVENT_LOG` is off"),
    "response_not_found": ErrorCase(404, INVALID, "no such response, or not of this key"),
    "model_not_found": ErrorCase(404, INVALID, "no such model, or none for this key"),
    "method_not_allowed": ErrorCase(405, INVALID, "the route has no such method; see `Allow`"),
    "request_timeout_client": ErrorCase(408, INVALID, "the request came too slowly"),
    "request_too_large": ErrorCase(413, INVALID, "the body is over `PROXY_MAX_BODY_BYTES`"),
    "unsupported_media_type": ErrorCase(415, INVALID, "the body is not `application/json`"),
    "expectation_failed": ErrorCase(417, INVALID, "an `Expect` other than `100-continue`"),
    "upgrade_required": ErrorCase(
        426, INVALID, "a WebSocket of another version, or where they are switched off"
    ),
    "headers_too_large": ErrorCase(431, INVALID, "the request's head is over 64 KiB"),
    "rate_limit_exceeded": ErrorCase(
        429, "rate_limit_error", "a limit of the key, or of the provider, is used up", 1
    ),
    "concurrency_exceeded": ErrorCase(
        429,
        "rate_limit_error",
        "more streams than `PROXY_SSE_MAX_CONCURRENCY`, or than the key may have",
        1,
    ),
    "tool_choice_unsatisfied": ErrorCase(
        502,
        SERVER,
        "the model did not call a function, although `tool_choice` demands it",
        None,
        False,
    ),
    "worker_busy": ErrorCase(429, "rate_limit_error", "every worker is at its turn limit", 1),
    "usage_limit_exceeded": ErrorCase(
        429, "insufficient_quota", "the provider's usage limit or quota is spent", None, False
    ),
    "insufficient_quota": ErrorCase(
        429, "insufficient_quota", "the upstream's quota is spent", None, False
    ),
    "client_gone": ErrorCase(499, INVALID, "the client left; nobody sees this status"),
    "internal_error": ErrorCase(500, SERVER, "a defect of this server"),
    "upstream_error": ErrorCase(502, SERVER, "the provider failed, retries included", 1),
    "upstream_redirected": ErrorCase(
        502, SERVER, "the provider answered with a redirect, which is not followed", None, False
    ),
    "upstream_disconnected": ErrorCase(502, SERVER, "the provider's stream broke off", 1),
    "upstream_truncated": ErrorCase(502, SERVER, "the upstream's stream ended unfinished", 1),
    "upstream_unreachable": ErrorCase(502, SERVER, "the upstream cannot be connected to", 1),
    "upstream_decode_error": ErrorCase(502, SERVER, "the upstream sent what is no JSON", 1),
    "upstream_event_too_large": ErrorCase(
        502, SERVER, "the upstream sent an event of over 16 MiB", None, False
    ),
    "upstream_text_mismatch": ErrorCase(
        502, SERVER, "a whole text does not continue the pieces that were sent of it", 1
    ),
    "upstream_output_lost": ErrorCase(
        502, SERVER, "the upstream sent output behind its finish, or out of place", 1
    ),
    "too_many_tool_calls": ErrorCase(
        502, SERVER, "the model made more calls than `PROXY_MAX_TOOL_CALLS`", None, False
    ),
    "empty_upstream": ErrorCase(502, SERVER, "the upstream sent no answer", 1),
    "worker_exited": ErrorCase(503, SERVER, "the worker's process ended before its answer", 1),
    "store_unavailable": ErrorCase(503, SERVER, "the store of responses cannot be written", 1),
    "usage_unavailable": ErrorCase(503, SERVER, "the usage cannot be read", 1),
    "worker_not_ready": ErrorCase(503, SERVER, "no worker is ready", 1),
    "app_server_disabled": ErrorCase(503, SERVER, "the Codex worker is switched off", 30),
    "server_shutdown": ErrorCase(503, SERVER, "the server is stopping", 1),
    "maintenance": ErrorCase(503, SERVER, "the server is in maintenance", 30),
    "maintenance_not_kept": ErrorCase(
        503, SERVER, "the change of an operator cannot be kept; nothing was changed", 1
    ),
    "request_timeout": ErrorCase(
        504, SERVER, "no output within the limit, or the whole request took too long", None, False
    ),
    "idle_timeout": ErrorCase(504, SERVER, "the worker fell silent", None, False),
}
"""Every error code a client may meet. Source: the API's own codes, then the contract's table."""


def case_of(code: str, status: int | None = None) -> ErrorCase:
    """Return the case of a code; one that a provider made up follows from its status."""
    if code in CASES:
        return CASES[code]
    known = status or CASES["upstream_error"].status
    if known == 429:
        return ErrorCase(known, "rate_limit_error", "the provider's own code", 1)
    return ErrorCase(known, INVALID if known < 500 else SERVER, "the provider's own code")


class ApiError(Exception):
    """An answer to a request that is not its result.

    Args:
        code: a key of `CASES`, or a provider's own.
        message: for the client; holds no internals.
        param: the request's field at fault.
        status: overrides the code's own, where an upstream named one.
        retry_after: seconds; overrides the code's own. The SDKs wait for `retry-after-ms` where
            it has a fraction.
        should_retry: overrides the code's own.
        members: a JSON object of further members; a `type` among them overrides the code's own.
    """

    def __init__(
        self,
        code: str,
        message: str,
        param: str | None = None,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        members: msgspec.Raw = events.NO_MEMBERS,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.case = case_of(code, status)
        self.code = code
        self.message = message
        self.param = param
        self.status = status or self.case.status
        self.should_retry = self.case.should_retry if should_retry is None else should_retry
        usual = None if should_retry is False else self.case.retry_after
        self.retry_after = usual if retry_after is None else retry_after
        self._members = members
        self._headers = headers

    @classmethod
    def from_failure(cls, failure: outputs.Failure) -> "ApiError":
        """The HTTP form of a stream's failure, where it is the whole response."""
        return cls(
            failure.code,
            failure.message,
            failure.param,
            status=failure.status,
            retry_after=failure.retry_after,
            should_retry=failure.should_retry,
            members=failure.members,
        )

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers that belong to this error, beside those of every response."""
        found = [("content-type", "application/json"), *self._headers]
        if self.retry_after is not None:
            found.append(("retry-after", str(max(1, round(self.retry_after)))))
            if self.retry_after != round(self.retry_after):
                found.append(("retry-after-ms", str(round(self.retry_after * 1000))))
        if self.should_retry is not None:
            found.append(("x-should-retry", str(self.should_retry).lower()))
        if self.code == "invalid_api_key":
            found.append(("www-authenticate", "Bearer"))
        return found

    def body(self) -> bytes:
        """Return the JSON envelope, which always has all four keys."""
        return envelope(self.code, self.message, self.param, self.status, self._members)

    def response(
        self, usual: Sequence[tuple[str, str]]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body of the answer.

        Args:
            usual: the headers of every response.
        """
        return self.status, [*usual, *self.headers()], self.body()


def defect() -> ApiError:
    """Make the answer to a request that a bug of ours hit."""
    return ApiError.from_failure(outputs.DEFECT)


_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

GENERIC_CODES = frozenset({"invalid_request"})
"""Codes that the API itself leaves null on the wire."""


def envelope(
    code: str,
    message: str,
    param: str | None = None,
    status: int | None = None,
    members: msgspec.Raw = events.NO_MEMBERS,
) -> bytes:
    """Encode `{"error": {"message", "type", "param", "code"}}`.

    Args:
        members: as `ApiError` has them.
    """
    further = parse.parse_outer(members, _members)
    own: dict[str, Any] = {
        "message": message,
        "type": further.pop("type", case_of(code, status).type),
        "param": param,
        "code": None if code in GENERIC_CODES else code,
    }
    return msgspec.json.encode({"error": own | further})
