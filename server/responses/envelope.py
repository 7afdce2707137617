"""The response object: what of it is known when the stream opens, and what its end adds."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from machines import events, outputs, parse
from server.errors import case_of
from server.reading import Members

ECHOED: Final[dict[str, Any]] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""Members that repeat the request, and what they are where it does not say. Source: the API's
response object, of which Open Responses requires every one."""

ERROR_CODES: Final = frozenset({"rate_limit_exceeded", "server_error"})
"""Codes that `response.error` may have of those that occur here; SDKs refuse any other."""

INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer with such a finish reason is not whole."""


ENCRYPTED_REASONING: Final = "reasoning.encrypted_content"
"""The member of `include` that has reasoning items show what only their provider can read."""


class Envelope:
    """One response, without its output items.

    Args:
        members: of the request; None where the log's is all there is.

    Attributes:
        shows_encrypted: whether the request wants reasoning items with their encrypted content.
    """

    def __init__(self, opened: events.Opened, members: Members | None = None) -> None:
        asked = _logged(opened) if members is None else _repeated(members)
        self._head = {
            "id": opened.completion_id,
            "object": "response",
            "created_at": opened.created,
        }
        self.shows_encrypted = ENCRYPTED_REASONING in _list(asked, "include")
        self._echoed = {name: asked.get(name, absent) for name, absent in ECHOED.items()}
        self._echoed |= {
            "model": opened.model,
            "store": opened.stored,
            "reasoning": _reasoning(asked),
            "text": {"format": {"type": "text"}, "verbosity": "medium"} | _object(asked, "text"),
            "tool_choice": asked.get("tool_choice", "auto"),
            "tools": [_tool(tool) for tool in _list(asked, "tools") if _is_function(tool)],
        }

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
        """The response as the API shows it.

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
            **self._echoed,
            "output": output,
            "usage": usage,
        }


def usage_object(usage: events.Usage | None) -> dict[str, Any]:
    """The API's usage object; zeros where the counts are unknown."""
    counts = usage or events.Usage(0, 0)
    return {
        "input_tokens": counts.prompt_tokens,
        "input_tokens_details": {"cached_tokens": counts.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": counts.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        "total_tokens": counts.total_tokens,
    }


def error_object(failure: outputs.Failure) -> dict[str, Any]:
    """The error of a failed response."""
    case = case_of(failure.code, failure.status)
    code = failure.code if failure.code in ERROR_CODES else "server_error"
    return {"code": code, "message": failure.message, "type": case.type, "param": failure.param}


def _repeated(members: Members) -> dict[str, Any]:
    """The members that an answer repeats, and that say something."""
    names = (*ECHOED, "include", "reasoning", "text", "tool_choice", "tools")
    return _said({name: parse.value(members[name]) for name in names if name in members})


def _logged(opened: events.Opened) -> dict[str, Any]:
    """The request's members that say something; a masked log's may be of other types."""
    try:
        asked = parse.value(opened.request)
    except parse.ParseError:
        return {}
    return _said(asked) if isinstance(asked, dict) else {}


def _said(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _object(asked: dict[str, Any], name: str) -> dict[str, Any]:
    value = asked.get(name)
    return _said(value) if isinstance(value, dict) else {}


def _list(asked: dict[str, Any], name: str) -> list[Any]:
    value = asked.get(name)
    return value if isinstance(value, list) else []


def _reasoning(asked: dict[str, Any]) -> dict[str, Any]:
    given = {"effort": None, "summary": None} | _object(asked, "reasoning")
    # Some clients send the word; SDKs know it in no answer.
    return given | {"summary": None} if given["summary"] == "none" else given


def _is_function(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "function"


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A declared function with every member that the API's echo has."""
    return {"description": None, "parameters": None, "strict": None, **tool}
