"""Outputs of a stream folded into one `text_completion`: the answer that is not streamed."""

from typing import Final

import msgspec

from machines import events, outputs
from server.chat import sse
from server.chat.fold import body_headers
from server.completions import finish


class CompletionBody:
    """Renders one stream's outputs as a single JSON body, empty until the answer is whole.

    Args:
        echoed: the prompts that the answers begin with, as `finish.echo_of` takes them.

    Attributes:
        streams: never; see `server.api.reply.Renderer`.
        frames: one, the body.
    """

    streams: Final = False
    frames: Final = 1

    def __init__(self, opened: events.Opened, echoed: tuple[bytes, ...] = ()) -> None:
        self._opened = opened
        self._echoed = echoed
        self._texts: list[list[str]] = [[] for _ in range(opened.n)]
        self._reasons: dict[int, str] = {}
        self._totals = outputs.UsageTotals(None)
        self._usage_members = events.NO_MEMBERS

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of a JSON body, with those that are known only when the answer is
        whole."""
        return body_headers(self._totals, None)

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Return the whole body for the output that ends the answer, empty bytes for any other."""
        match output:
            case outputs.Content(text, choice) | outputs.Refusal(text, choice):
                self._texts[choice].append(text)
            case outputs.Members("usage", members):
                self._usage_members = members
            case outputs.Finish(reason, choice):
                self._reasons[choice] = finish.reason(reason)
            case outputs.UsageTotals():
                self._totals = output
            case outputs.Done():
                return self._body()
        return b""

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Add the texts to their choice; no bytes go out before the answer is whole."""
        self._texts[choice] += texts
        return b""

    def _text(self, choice: int) -> str | msgspec.Raw:
        """Return the text of a choice, joined to its prompt as JSON where it begins with one."""
        said = "".join(self._texts[choice])
        echo = finish.echo_of(self._opened, self._echoed, choice)
        return msgspec.Raw(echo[:-1] + msgspec.json.encode(said)[1:]) if echo else said

    def _body(self) -> bytes:
        choices = [
            {
                "text": self._text(index),
                "index": index,
                "logprobs": None,
                "finish_reason": reason,
            }
            for index, reason in sorted(self._reasons.items())
        ]
        return msgspec.json.encode(
            {
                "id": self._opened.completion_id,
                "object": "text_completion",
                "created": self._opened.created,
                "model": self._opened.model,
                "choices": choices,
                "usage": sse.usage_object(self._totals.usage, self._usage_members),
            }
        )
