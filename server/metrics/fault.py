"""Whose fault an error is: where an on-call engineer looks first."""

import enum
from typing import Final

from engine import workerkinds


class Fault(enum.Enum):
    """The part that has to do something about an error.

    CLIENT: the request is wrong, or comes too often. PROVIDER: the model or who serves it failed,
    or refuses the account. WORKER: the process between, or its login. SERVER: Turntape itself, its
    limits and its operator.
    """

    CLIENT = "client"
    PROVIDER = "provider"
    WORKER = "worker"
    SERVER = "server"


FAULTS: Final[dict[str, Fault]] = {
    **dict.fromkeys(
        (
            "array_above_max_length",
            "bad_http",
            "client_gone",
            "context_length_exceeded",
            "expectation_failed",
            "headers_too_large",
            "host_not_allowed",
            "invalid_api_key",
            "invalid_json",
            "invalid_request",
            "method_not_allowed",
            "model_not_found",
            "model_required",
            "not_found",
            "object_above_max_properties",
            "origin_not_allowed",
            "previous_response_not_found",
            "provider_rejected",
            "rate_limit_exceeded",
            "request_timeout_client",
            "request_too_large",
            "response_not_found",
            "unsupported_content",
            "unsupported_media_type",
            "unsupported_operation",
            "unsupported_parameter",
            "upgrade_required",
            "usage_not_kept",
            "websocket_connection_limit_reached",
        ),
        Fault.CLIENT,
    ),
    **dict.fromkeys(
        (
            "empty_upstream",
            "idle_timeout",
            "insufficient_quota",
            "provider_forbidden",
            "request_timeout",
            "too_many_tool_calls",
            "tool_choice_unsatisfied",
            "upstream_decode_error",
            "upstream_disconnected",
            "upstream_error",
            "upstream_event_too_large",
            "upstream_output_lost",
            "upstream_redirected",
            "upstream_text_mismatch",
            "upstream_truncated",
            "upstream_unreachable",
            "usage_limit_exceeded",
        ),
        Fault.PROVIDER,
    ),
    **dict.fromkeys(
        ("worker_busy", "worker_exited", "worker_not_ready", "worker_unauthorized"), Fault.WORKER
    ),
    **dict.fromkeys(
        (
            "app_server_disabled",
            "concurrency_exceeded",
            "internal_error",
            "maintenance",
            "maintenance_not_kept",
            "server_shutdown",
            "store_unavailable",
            "usage_unavailable",
        ),
        Fault.SERVER,
    ),
}
"""Whose fault each code of `server.http.errors` is."""


_SAID_BY_A_WORKER: Final = frozenset(("invalid_api_key", "rate_limit_exceeded"))
"""Codes that a provider has for us too: it refuses our key, or our account asks too often."""

_SAID_OF_UPSTREAM: Final = {
    "worker_unauthorized": Fault.PROVIDER,
    "worker_not_ready": Fault.SERVER,
}
"""Codes that mean another thing of a worker that is no process of ours: the provider refuses our
key, and our descriptors or memory are used up."""

_NOT_NOW: Final = frozenset((408, 409, 425))
"""Statuses of a provider that are about the time of a request: the SDKs ask again."""

_OF_THE_REQUEST: Final = frozenset(range(400, 500)) - {401, 402, 403, 429} - _NOT_NOW
"""Statuses of a provider that are about what it was asked, and not about who asks, or when."""

_BARE: Final = frozenset(("invalid_request", "provider_rejected"))
"""The codes of a refusal of which the provider gave no code of its own."""


def fault_of(code: str) -> Fault:
    """Return whose fault a refusal of ours is."""
    return FAULTS.get(code, Fault.PROVIDER)


def fault_of_stream(code: str, status: int = 0, worker: str = "") -> Fault:
    """Return whose fault it is that an answer failed. A code that is none of ours is the
    provider's own, and its status says whose fault it means.

    Args:
        status: that the failure came with, or else that the client was told; 0: nobody saw one.
        worker: the name of the kind that was asked last.
    """
    if worker == workerkinds.UPSTREAM.name:
        if code in _SAID_OF_UPSTREAM:
            return _SAID_OF_UPSTREAM[code]
        if code == "invalid_request" and status in (404, 405):
            return Fault.SERVER  # the address is wrong that it is asked at
    if code in _SAID_BY_A_WORKER or (code in _BARE and status in _NOT_NOW):
        return Fault.PROVIDER
    if code in FAULTS:
        return FAULTS[code]
    return Fault.CLIENT if status in _OF_THE_REQUEST else Fault.PROVIDER
