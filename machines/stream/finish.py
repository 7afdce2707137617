"""Maps a worker's word for how an answer ended to the API's own `finish_reason`.

Every provider has its words. One table holds them all; a word that it does not hold means `stop`,
because a client that meets an unknown reason fails, and the event log keeps the original.
"""

from typing import Literal, get_args

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]
"""The reasons that a client may see. Source: `openai.types.chat.chat_completion.Choice`."""

CANONICAL: tuple[FinishReason, ...] = get_args(FinishReason)
"""The canonical reasons, for checks at run time."""

WORDS: dict[str, FinishReason] = {
    **{word: word for word in CANONICAL},
    "max_tokens": "length",
    "max_output_tokens": "length",
    "token_limit": "length",
    "token_limit_reached": "length",
    "truncated": "length",
    "completed": "stop",
    "complete": "stop",
    "done": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "requires_tool": "tool_calls",
    "safety": "content_filter",
    "filtered": "content_filter",
    "moderation": "content_filter",
}
"""Every word that is understood, in lower case."""


def canonical(word: str | None, calls: bool = False) -> FinishReason:
    """Return the `finish_reason` of one choice.

    Args:
        word: what its worker said, in any case; None where it said nothing.
        calls: whether the choice emitted tool calls. Then an answer that merely stopped is one
            that waits for their results; `length` and `content_filter` stay.
    """
    reason = WORDS.get(word.lower(), "stop") if word is not None else "stop"
    if calls and reason in ("stop", "function_call"):
        return "tool_calls"
    return reason


def shown(word: str, calls: bool, legacy: bool) -> FinishReason:
    """Return the `finish_reason` of one choice as its client knows the word for calls.

    Args:
        legacy: whether the client asked with `functions`, and so for `function_call`.
    """
    reason = canonical(word, calls)
    return "function_call" if legacy and reason == "tool_calls" else reason
