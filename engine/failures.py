"""The meaning of a failed Codex turn to a client: its code, its status, and whether to try again.

Source: the outcomes measured on the real binary, listed in `docs/codex.md`.
"""

import random
import re
from typing import Any, Final

import msgspec

from engine import redaction
from machines import events, outputs, parse

MESSAGE_CHARACTERS: Final = 2000
"""Most characters of a provider's message that are looked at and passed on: some echo the whole
request."""

WORD_CHARACTERS: Final = 128
"""Most characters of a provider's own code, or of the name of a field, that are passed on."""

REDACTED: Final = "The model provider failed to answer."
"""In place of any text of a 5xx: it may name hosts, and tells a client nothing it can act on."""

BEFORE_OUTPUT_RETRIES: Final = 2
"""Further attempts after a provider's failure, as long as the client has seen nothing."""

RETRY_BASE_S: Final = 0.5
"""First delay before another attempt; doubles, and jitter takes away up to a half."""

_SECRETS: Final = re.compile(
    r"""
      ,?[ ]?url:[ ]\S+ | \b[a-z][a-z\d+.-]{0,20}://\S+
    | \bBearer\s+\S+ | \bsk-[\w*-]+ | \beyJ[\w.-]+               # the last is a JSON Web Token
    | \b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?
    | \[(?=[\da-f]{0,4}:)[\da-f:.]{2,45}(?:%\w{1,15})?\](?::\d+)?  # IPv6 as URLs have it
    | (?<![\w:])(?=[\da-f:]*::|(?:[\da-f]+:){7})[\da-f:.]+(?:%\w+)?  # IPv6, not the time of day
    | \blocalhost(?::\d+)? | \b[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}:\d+
    | \b(?:[\w-]{1,63}\.){1,8}(?:ai|app|cloud|co|com|corp|dev|internal|io|lan|local|net|org|svc)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_INCOMPLETE: Final = re.compile(r"Incomplete response returned, reason: (\w{1,64})")


class Incomplete(msgspec.Struct, frozen=True):
    """Not a failure: the provider ended the answer early, and said why."""

    reason: str


class ProviderFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A failure of the provider as a client shall see it.

    Attributes:
        retryable: whether another attempt may succeed, if the client has seen nothing yet.
    """

    kind: events.TerminalKind = "upstream_error"
    code: str
    message: str
    status: int | None = None
    param: str | None = None
    retry_after: float | None = None
    retryable: bool = False

    def event(self, choice: int) -> events.TurnFailed:
        """The failure as an event of its turn."""
        return events.TurnFailed(
            self.kind,
            self.code,
            self.message,
            choice,
            self.status,
            self.param,
            self.retry_after,
        )


NAMED: Final[dict[str, ProviderFailure]] = {
    "contextWindowExceeded": ProviderFailure(
        code="context_length_exceeded",
        message="The conversation is longer than the model's context window.",
    ),
    "usageLimitExceeded": ProviderFailure(
        code="usage_limit_exceeded", message="The provider's usage limit is reached."
    ),
    "rateLimitExceeded": ProviderFailure(
        code="rate_limit_exceeded", message="The provider's rate limit is reached."
    ),
    "unauthorized": ProviderFailure(
        code="worker_unauthorized", message="The provider refused the worker's login."
    ),
    "modelNotFound": ProviderFailure(
        code="model_not_found", message="The provider does not know this model."
    ),
    "serverOverloaded": ProviderFailure(code="upstream_error", message=REDACTED, retryable=True),
    "internalServerError": ProviderFailure(
        code="upstream_error", message=REDACTED, retryable=True
    ),
}
"""Failures that Codex names in `codexErrorInfo`."""

BY_STATUS: Final[dict[int, ProviderFailure]] = {
    401: NAMED["unauthorized"],
    403: ProviderFailure(
        code="provider_forbidden", message="The provider refused the account.", status=403
    ),
    404: NAMED["modelNotFound"],
    413: ProviderFailure(
        code="request_too_large", message="The provider found the request too large.", status=413
    ),
    422: ProviderFailure(
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

DISCONNECTED: Final = ProviderFailure(
    code="upstream_disconnected",
    message="The provider's stream ended before the answer was complete.",
    retryable=True,
)


INTERRUPTED: Final = ProviderFailure(
    code="upstream_error", message="The worker interrupted the turn."
)
"""A turn that ended as if somebody had stopped it, and nobody here had."""


LOST: Final = ProviderFailure(
    kind="worker_lost",
    code="worker_exited",
    message="The worker's process ended before the answer was complete.",
    retryable=True,
)
"""The process behind a turn has gone."""

DEAF: Final = ProviderFailure(
    code="upstream_error", message="The worker did not answer.", retryable=True
)
"""A request that the worker left without a reply."""

DEFECT: Final = ProviderFailure(
    kind="defect", code=outputs.DEFECT.code, message=outputs.DEFECT.message
)
"""A bug of ours: its traceback is in the diagnostics, and nowhere else."""

UNREADABLE: Final = ProviderFailure(
    code="upstream_decode_error", message="The worker sent a line that cannot be read."
)
"""A part of the answer is missing, and nobody knows which."""

TOO_LARGE: Final = ProviderFailure(
    code="upstream_event_too_large", message="The worker sent a line over the size limit."
)
"""A line was longer than what is read of one."""

TEXT_MISMATCH: Final = ProviderFailure(
    code="upstream_text_mismatch",
    message="The whole text of a message does not continue the pieces that were sent of it.",
)
"""A piece was lost on the way, or the provider said another text than it had sent."""

RUNAWAY: Final = ProviderFailure(
    code="upstream_error",
    message="The model kept calling functions that it was not given.",
)
"""A turn that Codex would never end."""

UNCALLED: Final = ProviderFailure(
    code="tool_choice_unsatisfied",
    message="The model did not call a function, although the request demanded it.",
)
"""An answer without the call that `tool_choice` asks for, after as many tries as there are."""

BUSY: Final = ProviderFailure(
    kind="rejected",
    code="worker_busy",
    message="Every worker is at its turn limit. Try again shortly.",
    retry_after=1,
)
"""No seat within the time a request may wait for one."""

NOT_READY: Final = ProviderFailure(
    kind="rejected", code="worker_not_ready", message="No worker is ready.", retry_after=1
)
"""No process to take a turn."""


def retry_delay(attempt: int) -> float:
    """Seconds from the failure of an attempt, counted from 1, to the next."""
    return RETRY_BASE_S * 2.0 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311 - jitter


def safe(message: str, known: redaction.Redaction, limit: int = MESSAGE_CHARACTERS) -> str:
    """The beginning of a message, without URLs, hosts, addresses and keys.

    Args:
        known: the server's own secrets. They go first: a form may be only a part of one.
    """
    return _SECRETS.sub("", known.start_of(message, limit, "")).strip()


def classify(
    word: str, status: int | None, message: str, known: redaction.Redaction
) -> ProviderFailure | Incomplete:
    """Return the failure that `turn.error` stands for.

    Args:
        word: the word of `codexErrorInfo`, `other` without one.
        status: the provider's HTTP status, as far as Codex tells.
        message: Codex's text; of a 400 it is the provider's body.
        known: the server's own secrets, which a provider may repeat.
    """
    incomplete = _INCOMPLETE.search(message[:MESSAGE_CHARACTERS])
    if incomplete:
        return Incomplete(incomplete[1])
    if word in NAMED:
        return NAMED[word]
    if word in HTTP_WORDS:
        return _from_status(status)
    if message.startswith("stream disconnected before completion"):
        return DISCONNECTED
    if message.startswith("Missing environment variable"):
        return NAMED["unauthorized"]
    return _from_body(message, known)


def _from_status(status: int | None) -> ProviderFailure:
    if status in BY_STATUS:
        return BY_STATUS[status]
    if status is not None and status < 500:
        return ProviderFailure(
            code="provider_rejected", message="The provider refused the request.", status=status
        )
    return NAMED["internalServerError"]


def _from_body(message: str, known: redaction.Redaction) -> ProviderFailure:
    """A 400 arrives whole: its message, param and code are the client's to see."""
    try:
        error: Any = parse.lenient(message)["error"]
        text = error["message"]
    except (parse.ParseError, KeyError, TypeError):
        return ProviderFailure(code="upstream_error", message=REDACTED)
    return ProviderFailure(
        code=_word(error.get("code"), known) or "provider_rejected",
        message=(safe(text, known) if isinstance(text, str) else "") or REDACTED,
        status=400,
        param=_word(error.get("param"), known),
    )


def _word(value: object, known: redaction.Redaction) -> str | None:
    """A provider's own code or param, without keys and of bounded length; None for none."""
    word = safe(value, known, WORD_CHARACTERS) if isinstance(value, str) else ""
    return word or None
