"""Outputs of a stream folded into one response object: the answer that is not streamed."""

import msgspec

from machines import events, outputs
from server.chat import tool_render as toolrender
from server.http.errors import ApiError
from server.responses.answer import Answer
from server.responses.echo import Echo


class ResponseBody:
    """Renders one stream's outputs as a single JSON body, empty until the answer is whole.

    Attributes:
        status: HTTP status of the answer; 0 until there is one.
        frames: bodies rendered so far.
        headers: what the answer adds to the response's headers.
        chunked: never; see `server.api.sinks.Renderer`.
    """

    chunked = False

    def __init__(self, opened: events.Opened, repeated: Echo | None = None) -> None:
        self.status = 0
        self.frames = 0
        self.headers: list[tuple[str, str]] = [("content-type", "application/json")]
        self.answer = Answer(opened, repeated)
        self._counts: toolrender.Counts | None = None

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """The whole body for the output that ends the answer, empty bytes for any other."""
        if isinstance(output, outputs.Failure):
            error = ApiError.from_failure(output)
            self.status, self.frames = error.status, 1
            self.headers = error.headers()
            return error.body()
        if isinstance(output, outputs.ToolCounts):
            self._counts = toolrender.Counts()
            self._counts.add(output)
        self.answer.take(output, now)
        return self._body() if isinstance(output, outputs.Done) else b""

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Nothing yet, for a `Content` of each of the texts."""
        part, _ = self.answer.text()
        part.texts += texts
        return b""

    def _body(self) -> bytes:
        self.status, self.frames = 200, 1
        if self.answer.usage is None:
            self.headers.append(("x-turntape-usage", "unknown"))
        if self._counts is not None:
            self.headers += self._counts.headers()
        return msgspec.json.encode(self.answer.response)
