"""The likely cause of each error code, and the next step of who looks into it."""

from typing import Final, Literal, NamedTuple

from engine.log.timeline import timeline

Needs = Literal["nothing", "words", "field"]
"""The texts of a log that a step reads: the other side's words about a failure, or the name of the
field that is at fault."""


class Cause(NamedTuple):
    """Why a stream ended as it did.

    Attributes:
        party: whose doing it was.
        sentence: what happened and its likely cause, for a person.
        step: what to do next, or where to look.
        needs: what of the log the step reads, if it is something that may be masked.
    """

    party: timeline.Party
    sentence: str
    step: str
    needs: Needs = "nothing"


def _of(
    party: timeline.Party, **codes: tuple[str, str] | tuple[str, str, Needs]
) -> dict[str, Cause]:
    return {code: Cause(party, *words) for code, words in codes.items()}


REFUSED: Final[dict[str, Cause]] = {
    **_of(
        "client",
        invalid_request=(
            "The request was refused: a field is missing, mistyped or out of range.",
            "Correct the field that the message names; the same request gets the same answer.",
            "field",
        ),
        invalid_json=(
            "The request was refused: its body is not a JSON object in UTF-8.",
            "Look at how the client encodes its body.",
        ),
        array_above_max_length=(
            "The request was refused: it has more messages, parts or tools than the server takes.",
            "Send a shorter history, or raise PROXY_MAX_INPUT_ITEMS.",
        ),
        object_above_max_properties=(
            "The request was refused: an object in it has more members than the server takes.",
            "Send a smaller object, or raise PROXY_MAX_INPUT_ITEMS.",
        ),
        websocket_connection_limit_reached=(
            "The WebSocket has reached the age at which it is closed, which no answer is cut by.",
            "Open another; PROXY_WEBSOCKET_MAX_AGE_MS says how old one may be.",
        ),
        model_required=(
            "The request was refused: it names no model.",
            "Name one of GET /v1/models.",
        ),
        unsupported_parameter=(
            "The request was refused: it has a parameter that the worker cannot honour.",
            "Leave that parameter out, or ask a model that knows it.",
        ),
        unsupported_content=(
            "The request was refused: it has a content part that the worker cannot take.",
            "Send that part in another form, or ask another model.",
        ),
        context_length_exceeded=(
            "The prompt is too long for the model.",
            "Send a shorter history, or ask a model with a larger context.",
        ),
        unsupported_operation=(
            "The client asked for an operation of the API that no worker here has.",
            "Have the client do without it: docs/api.md lists what there is.",
        ),
        provider_rejected=(
            "The model's provider refused the request itself.",
            "Change the request: the same again gets the same answer.",
        ),
        bad_http=(
            "The connection brought something that is not HTTP/1.1.",
            "Look at what connects there: a client with TLS, or another protocol.",
        ),
        invalid_api_key=(
            "The client's API key is missing or wrong.",
            "Give the client the key that is in PROXY_API_KEY, or one of `turntape keys`.",
        ),
        host_not_allowed=(
            "The request was refused: without a key only this machine itself is served.",
            "Set PROXY_API_KEY, or ask from this machine under its own name.",
        ),
        origin_not_allowed=(
            "A page of another site asked for a WebSocket.",
            "Add its origin to PROXY_CORS_ALLOWED_ORIGINS, if it is to drive this server.",
        ),
        not_found=(
            "The path is none that the server has.",
            "Check the client's base URL: it must end with /v1.",
        ),
        previous_response_not_found=(
            "There is no response with the id in `previous_response_id`, or it is another key's.",
            "Send the history itself, or look whether the store keeps responses long enough.",
        ),
        usage_not_kept=(
            "There is no usage to tell while PROXY_EVENT_LOG is off.",
            "Set PROXY_EVENT_LOG to masked.",
        ),
        response_not_found=(
            "There is no such stored response, or it is another key's.",
            "Look whether it was stored, and how long PROXY_STORE_TTL_S keeps it.",
        ),
        model_not_found=(
            "The model is none that is known, or none that this key may use.",
            "Name one of GET /v1/models.",
        ),
        method_not_allowed=(
            "The route exists, but not with this method.",
            "Look at the header Allow of the answer.",
        ),
        request_timeout_client=(
            "The client sent its request too slowly.",
            "Look at the client's connection, or at a proxy between.",
        ),
        request_too_large=(
            "The request is too large.",
            "Send less, or raise PROXY_MAX_BODY_BYTES and the limit of a proxy in front.",
        ),
        unsupported_media_type=(
            "The body is not labelled as application/json.",
            "Have the client send content-type: application/json.",
        ),
        expectation_failed=(
            "The request has an Expect header that the server cannot meet.",
            "Have the client send no Expect, or 100-continue.",
        ),
        upgrade_required=(
            "The client asked for a WebSocket in a version that is not spoken.",
            "Have the client use version 13, or HTTP.",
        ),
        headers_too_large=(
            "The request's head is over 64 KiB.",
            "Look for a large cookie or token that the client sends.",
        ),
        rate_limit_exceeded=(
            "The key has used up its limit of requests or tokens.",
            "Wait for the time in retry-after, or raise the key's limit.",
        ),
        client_gone=(
            "The client left before it was answered.",
            "Look at the client's own time limit, and that of a proxy between.",
        ),
    ),
    **_of(
        "server",
        concurrency_exceeded=(
            "Every place for a stream was taken.",
            "Raise PROXY_SSE_MAX_CONCURRENCY or the key's limit, or look for answers that hang.",
        ),
        app_server_disabled=(
            "The Codex worker is switched off.",
            "Set PROXY_USE_APP_SERVER to true, or ask another model.",
        ),
        internal_error=(
            "A bug of the server itself ended it: nobody else is to blame.",
            "Find the line `defect` with this id in the diagnostics, and report its traceback.",
        ),
        server_shutdown=(
            "The server was stopping.",
            "Look at who stopped it; a client may simply ask again.",
        ),
        maintenance=(
            "The server was in maintenance.",
            "End the maintenance when the work is done; clients may ask again.",
        ),
        maintenance_not_kept=(
            "A change by an operator could not be kept, and nothing was changed.",
            "Look whether PROXY_DATA_DIR can be written.",
        ),
        store_unavailable=(
            "The store of responses could not be written.",
            "Look whether its disk is full, and for `store` lines in the diagnostics.",
        ),
        usage_unavailable=(
            "The usage could not be read.",
            "Look whether PROXY_DATA_DIR can be read.",
        ),
    ),
    **_of(
        "worker",
        worker_busy=(
            "Every worker was at its turn limit for as long as a request may wait.",
            "Send fewer requests at a time, or add workers.",
        ),
        worker_not_ready=(
            "No worker was ready, or one did not answer.",
            "Look at /readyz and at the worker's own life: `turntape log --worker codex-0`.",
        ),
        worker_exited=(
            "The worker's process ended before the answer was complete.",
            "Look at how it ended: -9 is a kill, mostly by the system for want of memory.",
        ),
        worker_unauthorized=(
            "The provider refused the worker's own login: it is missing or has expired.",
            "Log in again: turntape login.",
        ),
    ),
}
"""Codes of our own that a request may be refused with, or a stream may fail by."""

PROVIDER: Final = _of(
    "provider",
    upstream_error=(
        "The model's provider failed to answer.",
        "Read its own words, then its log or its status page at that time.",
        "words",
    ),
    upstream_redirected=(
        "The provider answered with a redirect, which is not followed.",
        "Set PROXY_UPSTREAM_URL to the address that it leads to.",
    ),
    upstream_disconnected=(
        "The provider's connection broke off before the answer was complete.",
        "Look at the provider, and at a proxy or a network between; the client may ask again.",
    ),
    upstream_truncated=(
        "The provider's stream ended without a finish: its answer is not whole.",
        "Look into the provider's log: it stopped in the middle and said no more.",
    ),
    upstream_unreachable=(
        "The provider could not be connected to.",
        "Check that the name in PROXY_UPSTREAM_URL resolves and is listened at: turntape doctor.",
    ),
    upstream_decode_error=(
        "The provider sent something that cannot be read, so a part of the answer is missing.",
        "Look at the record upstream_garbled, which has the beginning of what it sent.",
        "words",
    ),
    upstream_event_too_large=(
        "The provider sent one event over the size limit.",
        "Ask for less in one piece: an event of over 16 MiB is no text, but mostly an image.",
    ),
    upstream_text_mismatch=(
        "The provider said its text or call again, and it was another: a piece was lost.",
        "Look at the provider or a proxy between that loses pieces; the client may ask again.",
    ),
    upstream_output_lost=(
        "The provider sent output behind its own finish, or out of place.",
        "Look at the provider's version: its stream is not in order.",
    ),
    too_many_tool_calls=(
        "The model made more tool calls than the server takes of one answer.",
        "Look at the calls for a loop, or raise PROXY_MAX_TOOL_CALLS.",
    ),
    tool_choice_unsatisfied=(
        "The model did not call a function, although `tool_choice` demands one.",
        "Describe the function better, ask another model, or demand no call.",
    ),
    empty_upstream=(
        "The provider sent no answer at all.",
        "Look into the provider's log at that time; PROXY_EMPTY_UPSTREAM says what clients see.",
    ),
    request_timeout=(
        "No answer came within the time limit.",
        "Look at the longest silence: a model that thinks for longer needs a longer limit.",
    ),
    idle_timeout=(
        "The model stopped sending in the middle of its answer.",
        "Look into the provider's log, or raise PROXY_STREAM_IDLE_TIMEOUT_MS.",
    ),
    usage_limit_exceeded=(
        "The account's usage limit at the provider is spent.",
        "Wait until it is renewed, or use another account or model.",
    ),
    insufficient_quota=(
        "The account's quota at the provider is spent.",
        "Add credit there, or use another account or model.",
    ),
    provider_forbidden=(
        "The provider refused the account.",
        "Look at what the account may do there: a region, a model, a policy.",
    ),
)
"""Codes that a provider is to blame for."""

SAID_BY_PROVIDER: Final = {
    **_of(
        "provider",
        invalid_api_key=(
            "The provider refused the server's key; the client's own was good.",
            "Check PROXY_UPSTREAM_API_KEY, and that PROXY_UPSTREAM_URL is the address it is for.",
        ),
        rate_limit_exceeded=(
            "The provider's rate limit for the account is used up.",
            "Wait for the time in retry-after, send less at a time, or use another account.",
        ),
    ),
    **_of(
        "client",
        invalid_request=(
            "The provider refused the request: it finds something in it wrong.",
            "Correct what its words name; the same request gets the same answer.",
            "field",
        ),
        request_too_large=(
            "The provider found the request too large; the server's own limit let it through.",
            "Send less: a shorter history, fewer or smaller images.",
        ),
        model_not_found=(
            "The provider does not know the model that it was asked for.",
            "Look up its name for the model, and set that as the target in the models file.",
        ),
    ),
}
"""Codes that mean another thing where a worker has ended an answer with them."""

OF_UPSTREAM: Final = {
    "worker_unauthorized": Cause(
        "provider",
        "The provider refused the server's key, or there is none.",
        "Check PROXY_UPSTREAM_API_KEY, and that PROXY_UPSTREAM_URL is the address it is for.",
    ),
    "worker_not_ready": Cause(
        "server",
        "The server had no connection left for the provider: its open files or memory are used"
        " up.",
        "Look at `turntape doctor` for the limit of open files, and for answers that hang.",
    ),
}
"""Codes that mean another thing of a worker that is no process of ours."""

NOT_FOUND: Final = Cause(
    "server",
    "The provider has nothing at the path that it was asked at, or does not know the model.",
    "Check that PROXY_UPSTREAM_URL ends as the provider has it, mostly with /v1, and the model's"
    " name.",
)
"""A 404 of an upstream that says no more: most likely of the address that the server is given."""

NOT_NOW: Final = Cause(
    "provider",
    "The provider could not take the request at that moment: it may be good at another.",
    "Ask again, as the SDKs do by themselves; if it stays so, look into the provider's log.",
)
"""A status of a provider that is about the time of a request."""
