"""The API's own types of the members that an upstream's answer may have and the server does not
read.

Readers that are strict fail on a member of another type, and then on the whole answer. So these
are looked at, and no others: what the API does not know has any type. A test holds them against
the types of OpenAI's SDK.
"""

from typing import Any, Final, Literal

import msgspec

from machines import events

COUNTS: Final = frozenset(
    {
        "accepted_prediction_tokens",
        "audio_tokens",
        "cache_write_tokens",
        "image_tokens",
        "rejected_prediction_tokens",
        "text_tokens",
    }
)
"""The members of the counts' details that are numbers. Source: `openai.types.CompletionUsage`."""


class _TokenAlternative(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _Token(msgspec.Struct):
    token: str
    logprob: float
    top_logprobs: list[_TokenAlternative]
    bytes: list[int] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None
    refusal: list[_Token] | None = None


class _UrlCitation(msgspec.Struct):
    start_index: int
    end_index: int
    title: str
    url: str


class _Annotation(msgspec.Struct):
    type: Literal["url_citation"]
    url_citation: _UrlCitation


class _Audio(msgspec.Struct):
    id: str | None = None
    data: str | None = None
    expires_at: int | None = None
    transcript: str | None = None


class _Moderated(msgspec.Struct):
    categories: dict[str, bool]
    category_applied_input_types: dict[str, list[Literal["text", "image"]]]
    category_scores: dict[str, float]
    flagged: bool
    model: str
    type: Literal["moderation_result"]


class _ModerationResults(msgspec.Struct, tag_field="type", tag="moderation_results"):
    model: str
    results: list[_Moderated]


class _ModerationError(msgspec.Struct, tag_field="type", tag="error"):
    code: str
    message: str


class _Moderation(msgspec.Struct):
    input: _ModerationResults | _ModerationError
    output: _ModerationResults | _ModerationError


ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast"]
"""The words for how a request was served."""

TYPED: Final[dict[events.MembersPlace, dict[str, Any]]] = {
    "chunk": {
        "metadata": dict[str, str],
        "moderation": _Moderation,
        "service_tier": ServiceTier,
        "system_fingerprint": str,
    },
    "choice": {"logprobs": _Logprobs},
    "delta": {"annotations": list[_Annotation], "audio": _Audio},
    "usage": {},
}
"""The types of the members that the API knows. Source: `openai.types.chat`, whose strict readers
fail on others."""


def fits(value: Any, kind: Any) -> bool:
    """Return whether a decoded value is of a type of `TYPED`."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
