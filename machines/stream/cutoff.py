"""Decides where an answer is cut: at a stop sequence, or past its byte budget.

Theory of operation. Text comes in any split; what is released must not depend on it. A character
is held back exactly as long as it may still belong to a stop sequence: for each sequence a
Knuth-Morris-Pratt matcher knows the longest prefix of the sequence that the text so far ends
with, and the longest of these is what is held. The first sequence to be completed ends the
answer before its own first character; of several completed by one character, the longest.
Released text is charged to the byte budget; the first code point that would exceed it ends the
answer. Time is linear in the text.
"""

from typing import Final

from machines import outputs

BROKEN: Final = {
    "call_limit": outputs.Failure(
        "too_many_tool_calls",
        "The model made more tool calls than this server takes of one answer.",
    ),
    "mismatch": outputs.Failure(
        "upstream_text_mismatch",
        "The provider repeated a tool call with other arguments than it had sent.",
    ),
}
"""The cuts that make an answer a failure, each with the error that its client gets."""


class StopMatcher:
    """Follows one stop sequence through a text, character by character."""

    def __init__(self, sequence: str) -> None:
        self.sequence = sequence
        self.matched = 0
        self._fallback = _fallbacks(sequence)

    def advance(self, character: str) -> bool:
        """Take one character; return whether it completes the sequence. `matched` is the length of
        the matched prefix."""
        while self.matched and self.sequence[self.matched] != character:
            self.matched = self._fallback[self.matched - 1]
        if self.sequence[self.matched] == character:
            self.matched += 1
        return self.matched == len(self.sequence)


class CutOff:
    """Decides how much of one choice's text is released.

    Args:
        stop: non-empty stop sequences.
        max_bytes: UTF-8 bytes that may be released; None for no limit.
    """

    def __init__(self, stop: tuple[str, ...], max_bytes: int | None) -> None:
        self._matchers = [StopMatcher(sequence) for sequence in stop]
        self._held = ""
        self._left = max_bytes

    def feed(self, text: str) -> outputs.Decision:
        """Decide about the held text and `text` together."""
        buffer = self._held + text
        start = len(self._held)
        for position in range(start, len(buffer)):
            longest = self._completed(buffer[position])
            if longest:
                return self._release(buffer, position + 1 - longest, "stop")
        held = max((matcher.matched for matcher in self._matchers), default=0)
        return self._release(buffer, len(buffer) - held, None)

    def end(self) -> outputs.Decision:
        """Decide about the held text when no more can come."""
        return self._release(self._held, len(self._held), None)

    def _completed(self, character: str) -> int:
        """Return the length of the longest sequence that a character completes, 0 for none."""
        longest = 0
        for matcher in self._matchers:
            if matcher.advance(character):
                longest = max(longest, len(matcher.sequence))
        return longest

    def _release(self, buffer: str, count: int, cut: outputs.Cut | None) -> outputs.Decision:
        self._held = buffer[count:]
        if self._left is None:
            return outputs.Decision(count, cut)
        size = len(buffer[:count].encode())
        if size <= self._left:
            self._left -= size
            return outputs.Decision(count, cut)
        fits = len(buffer[:count].encode()[: self._left].decode(errors="ignore"))
        return outputs.Decision(fits, "length")


def _fallbacks(sequence: str) -> list[int]:
    """Return, for each prefix, the length of its longest proper suffix that is a prefix too."""
    table = [0] * len(sequence)
    length = 0
    for index in range(1, len(sequence)):
        while length and sequence[index] != sequence[length]:
            length = table[length - 1]
        if sequence[index] == sequence[length]:
            length += 1
        table[index] = length
    return table
