"""Estimates the tokens of a turn that was cut here, since its worker gives no counts for it.

The measure is the one that `max_tokens` cuts by. The bytes of the prompt are known when a stream
opens; those of the answer are added up as it goes to the client.
"""

from collections.abc import Callable
from typing import Any, Final

from machines import events, outputs

BYTES_PER_TOKEN: Final = 4
"""UTF-8 bytes that count as one token, because no tokenizer is at hand: OpenAI's rule of thumb
for English text."""


def tokens(size: int) -> int:
    """Return the tokens that so many bytes stand for; what is begun counts as whole."""
    return -(-size // BYTES_PER_TOKEN)


class AnswerSize:
    """The UTF-8 bytes of an answer, by choice.

    Attributes:
        said: of texts, refusals and calls.
        thought: of reasoning.
    """

    __slots__ = ("said", "thought")

    def __init__(self, choices: int) -> None:
        self.said = [0] * choices
        self.thought = [0] * choices

    def add(self, emitted: tuple[outputs.AnyOutput, ...]) -> None:
        """Add what goes to the client."""
        for output in emitted:
            measure = _MEASURES.get(type(output))
            if measure is not None:
                measure(self, output)

    def usage(self, opened: events.Opened, choice: int) -> events.Usage:
        """Return an estimate of the tokens of one choice and its prompt."""
        prompt_bytes = opened.prompt_bytes or 0
        if opened.prompt_sizes:
            prompt_bytes = opened.prompt_sizes[choice * len(opened.prompt_sizes) // opened.n]
        thought = tokens(self.thought[choice])
        said = tokens(self.said[choice])
        return events.Usage(tokens(prompt_bytes), thought + said, reasoning_tokens=thought)

    def _say(self, output: outputs.Content | outputs.Refusal) -> None:
        self.said[output.choice] += len(output.text.encode())

    def _think(self, output: outputs.Reasoning) -> None:
        self.thought[output.choice] += len(output.text.encode())

    def _call(self, output: outputs.ToolCall) -> None:
        self.said[output.choice] += len(output.name.encode()) + len(output.arguments.encode())

    def _go_on(self, output: outputs.ToolArguments) -> None:
        self.said[output.choice] += len(output.arguments.encode())


_MEASURES: Final[dict[type, Callable[[AnswerSize, Any], None]]] = {
    outputs.Content: AnswerSize._say,
    outputs.Refusal: AnswerSize._say,
    outputs.Reasoning: AnswerSize._think,
    outputs.ToolCall: AnswerSize._call,
    outputs.ToolArguments: AnswerSize._go_on,
}
"""The method that measures each output; a `ToolBlock` repeats a call, and any other is no text."""
