"""The response object: what of it is known when the stream opens, and what its end adds."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from machines import events, outputs
from server.http.errors import case_of
from server.responses.render import echo

ERROR_CODES: Final = frozenset({"rate_limit_exceeded", "server_error"})
"""The codes of `response.error` that occur here; SDKs refuse any that the API does not list."""

INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""The `incomplete_details.reason` of an answer with such a finish reason."""


class Envelope:
    """One response object, without its output items.

    Args:
        repeated: what it repeats of its request; None where the log's is all there is.

    Attributes:
        shows_encrypted: whether the request wants reasoning items with their encrypted content.
    """

    def __init__(self, opened: events.Opened, repeated: echo.Echo | None = None) -> None:
        repeated = repeated or echo.logged(opened)
        self.shows_encrypted = repeated.shows_encrypted
        self._head = {
            "id": opened.completion_id,
            "object": "response",
            "created_at": opened.created,
        }
        self._repeated = repeated.members | {"model": opened.model, "store": opened.stored}

    def object(
        self,
        status: str,
        output: Sequence[dict[str, Any] | msgspec.Raw],
        *,
        usage: dict[str, Any] | None = None,
        completed_at: int | None = None,
        reason: str | None = None,
        error: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make the response object as the API shows it.

        Args:
            completed_at: seconds since the epoch.
            reason: why it is incomplete.
        """
        return {
            **self._head,
            "status": status,
            "completed_at": completed_at,
            "error": error,
            "incomplete_details": {"reason": reason} if reason is not None else None,
            **self._repeated,
            "output": output,
            "usage": usage,
        }


def usage_object(usage: events.Usage | None) -> dict[str, Any]:
    """Make the API's usage object; its counts are zeros where they are unknown."""
    counts = usage or events.Usage(0, 0)
    return {
        "input_tokens": counts.prompt_tokens,
        "input_tokens_details": {"cached_tokens": counts.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": counts.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        "total_tokens": counts.total_tokens,
    }


def error_object(failure: outputs.Failure) -> dict[str, Any]:
    """Make the error of a failed response."""
    case = case_of(failure.code, failure.status)
    code = failure.code if failure.code in ERROR_CODES else "server_error"
    return {"code": code, "message": failure.message, "type": case.type, "param": failure.param}
