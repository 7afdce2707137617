"""Outputs of a stream folded into one response object: the answer that is not streamed."""

from typing import Final

import msgspec

from machines import events, outputs
from server.chat import tool_render
from server.chat.fold import body_headers
from server.responses.render.answer import Answer
from server.responses.render.echo import Echo


class ResponseBody:
    """Renders one stream's outputs as a single JSON body, empty until the answer is whole.

    Attributes:
        streams: never; see `server.api.reply.Renderer`.
        frames: one, the body.
    """

    streams: Final = False
    frames: Final = 1

    def __init__(self, opened: events.Opened, repeated: Echo | None = None) -> None:
        self.answer = Answer(opened, repeated)
        self._counts: tool_render.Counts | None = None

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of a JSON body, with those that are known only when the answer is
        whole."""
        return body_headers(self.answer.totals, self._counts)

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Return the whole body for the output that ends the answer, empty bytes for any other."""
        if isinstance(output, outputs.ToolCounts):
            self._counts = tool_render.Counts()
            self._counts.add(output)
        self.answer.take(output, now)
        if isinstance(output, outputs.Done):
            return msgspec.json.encode(self.answer.response)
        return b""

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Add the texts to the answer; no bytes go out before it is whole."""
        part, _ = self.answer.text()
        part.texts += texts
        part.logprobs += self.answer.tokens()
        return b""
