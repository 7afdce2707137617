"""The failures of what stands behind a model: what a client and the operator are told of each.

What an answer of either worker can fail by is here. What only one of them can tell is in its room:
`engine.codex.turns.verdicts`, `engine.upstream.errors`.
"""

import random
import re
from typing import Final

import msgspec

from engine import redaction
from machines import events, outputs, silences

MESSAGE_CHARACTERS: Final = 2000
"""Most characters of a provider's message that are looked at and passed on: some echo the whole
request."""

WORD_CHARACTERS: Final = 128
"""Most characters of a provider's own code, or of the name of a field, that are passed on."""

DETAIL_BYTES: Final = 1024
"""Most bytes of the other side's own words that go on record, for the operator alone."""

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


_ADDRESS: Final = re.compile(r"[^\s\"'<>`]+")
"""Matches a URL up to where one ends that stands in quotes or brackets."""

_PUNCTUATION: Final = ".,;:!?)]}\"'>`"
"""Characters behind a URL that are the sentence's."""


class ProviderFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A failure of the provider as a client shall see it.

    Attributes:
        retryable: whether another attempt may succeed, if the client has seen nothing yet.
        word: the other side's own code for it.
        detail: its own words, as `detail` makes them: for the operator, and no client.
        should_retry: its own word for whether a client shall try again.
        members: further members of its error, as a JSON object that is safe for a client.
    """

    kind: events.TerminalKind = "upstream_error"
    code: str
    message: str
    status: int | None = None
    param: str | None = None
    retry_after: float | None = None
    retryable: bool = False
    word: str | None = None
    detail: str | None = None
    should_retry: bool | None = None
    members: msgspec.Raw = events.NO_MEMBERS

    def retried(self, attempt: int, delay: float, choice: int) -> events.RetryScheduled:
        """Return the event for an attempt that failed by it, and is followed by another.

        Args:
            attempt: counted from 1.
            delay: seconds until the next.
        """
        return events.RetryScheduled(attempt, int(delay * 1000), self.code, choice, self.detail)

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
            self.word,
            self.detail,
            self.should_retry,
            self.members,
        )


DISCONNECTED: Final = ProviderFailure(
    code="upstream_disconnected",
    message="The provider's stream ended before the answer was complete.",
    retryable=True,
)


REDIRECTED: Final = ProviderFailure(
    code="upstream_redirected",
    message="The provider answered with a redirect: its address is configured wrongly.",
)
"""A redirect is not followed: it could lead the key, and the conversation, to anybody."""

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
    code="worker_not_ready",
    message="The worker did not answer.",
    retryable=True,
    retry_after=1,
)
"""A request that the worker left without a reply: no provider has heard of it."""

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

NO_MESSAGE: Final = ProviderFailure(
    code="upstream_error",
    message="The provider's answer holds nothing that can be read, such as a message without a"
    " role or a call without an id.",
)
"""The provider counts tokens of an answer, and Codex could read no item of it."""

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

UNKNOWN_VERBOSITY: Final = ProviderFailure(
    code="invalid_request",
    message="The worker does not know this verbosity.",
    param="verbosity",
)
"""A word for how much an answer shall say that the worker itself refuses."""

BUSY: Final = ProviderFailure(
    kind="rejected",
    code=silences.BUSY,
    message="Every worker is at its turn limit. Try again shortly.",
    retry_after=1,
)
"""No seat within the time a request may wait for one."""

NOT_READY: Final = ProviderFailure(
    kind="rejected", code="worker_not_ready", message="No worker is ready.", retry_after=1
)
"""No process to take a turn."""


_KEYS: Final = re.compile(
    r"\bBearer\s+\S+|\bsk-[\w*-]+|\beyJ[\w.-]+|(?<=://)[^\s/@]{1,256}@", re.IGNORECASE
)
"""Matches keys, and the login in a URL."""


def retry_delay(attempt: int) -> float:
    """Seconds from the failure of an attempt, counted from 1, to the next."""
    return RETRY_BASE_S * 2.0 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311 - jitter


def safe(message: str, known: redaction.Redaction) -> str:
    """The beginning of a message, with a stand-in for each URL, host, address and key; a URL that
    the client sent itself stays. Empty where nothing else is in it.

    Args:
        known: the server's own secrets. They go first: a form may be only a part of one.
    """

    def stand_in(found: re.Match[str]) -> str:
        return _stand_in(found[0], known)

    shown = _SECRETS.sub(stand_in, known.start_of(message, MESSAGE_CHARACTERS))
    shown = shown[:MESSAGE_CHARACTERS].strip()
    return shown if shown.replace(redaction.HIDDEN, "").strip(_PUNCTUATION + " ") else ""


def _stand_in(found: str, known: redaction.Redaction) -> str:
    """Return what stands in a message in place of a secret."""
    if found.lstrip(", ").lower().startswith("url: "):
        return ""  # as some HTTP libraries end their messages
    address = _ADDRESS.match(found) if "://" in found else None
    if address is not None:
        url = address[0].rstrip(_PUNCTUATION)
        rest = found[len(url) :]
        if not rest.strip(_PUNCTUATION) and known.was_sent(url):
            return found
    return redaction.HIDDEN + found[len(found.rstrip(_PUNCTUATION)) :]


def without_keys(text: str) -> str:
    """A foreign text as it may go on record."""
    return _KEYS.sub("", text)


def detail(text: str, known: redaction.Redaction) -> str | None:
    """The beginning of what the other side said, for the operator: hosts stay, keys do not."""
    start = text[: DETAIL_BYTES + redaction.MAX_SECRET].encode("utf-8", "replace")
    shown = known.start_of_bytes(start, DETAIL_BYTES)
    return without_keys(shown).strip() or None


def word(value: object, known: redaction.Redaction) -> str | None:
    """A provider's own code, or the name of a field, without keys and of bounded length; None for
    none. Some providers number their errors."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return None
    return _SECRETS.sub("", known.start_of(value, WORD_CHARACTERS, "")).strip() or None
