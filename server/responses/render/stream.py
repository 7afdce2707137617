"""Outputs of a stream to the typed events of the Responses API: a token's last step there."""

from typing import Any, Final

import msgspec

from machines import events, outputs
from server.chat import sse, tool_render
from server.responses.render.answer import Answer
from server.responses.render.echo import Echo
from server.responses.render.parts import Event, Part

_BEFORE_SEQUENCE: Final = (
    b"event: response.output_text.delta\n"
    b'data: {"type":"response.output_text.delta","sequence_number":%d,'
)
_BEFORE_DELTA: Final = b',"delta":%b,"logprobs":[]}\n\n'

_encode: Final = msgspec.json.encode


class ResponseEvents:
    """Renders one stream's outputs as the events of the Responses API.

    Attributes:
        streams: always; see `server.api.reply.Renderer`.
        frames: events and sentinels rendered so far.
    """

    streams: Final = True

    def __init__(self, opened: events.Opened, repeated: Echo | None = None) -> None:
        self.frames = 0
        self.answer = Answer(opened, repeated)
        self._comments = opened.tools.sse_comments
        self._counts = tool_render.Counts()
        self._sequence = 0
        self._part: Part | None = None
        self._delta = b""

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of every event stream."""
        return list(sse.HEADERS)

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Return the bytes of one output, before HTTP framing; empty for those a client does not
        see."""
        match output:
            case outputs.Content(text, choice):
                return self.contents(choice, [text])
            case outputs.ToolCounts():
                self._counts.add(output)
                return self._counts.comments() if self._comments else b""
            case outputs.UsageTotals():
                self.answer.take(output, now)
                return sse.usage_comment(output) if self._comments else b""
        frames = self._frames(self.answer.take(output, now))
        if isinstance(output, outputs.Done | outputs.Failure):
            self.frames += 1
            return frames + sse.DONE
        return frames

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Return the bytes of a `Content` for each of the texts: the last step of a token."""
        part, opening = self.answer.text()
        begun = self._frames(opening)
        if self.answer.logprobs:
            begun += self._frames([part.delta(texts[0], self.answer.tokens())])
            texts = texts[1:]
        if part is not self._part:
            self._part = part
            place = _encode(part.place)[1:-1].replace(b"%", b"%%")
            self._delta = _BEFORE_SEQUENCE + place + _BEFORE_DELTA
        part.texts += texts
        first, delta = self._sequence, self._delta
        self._sequence += len(texts)
        self.frames += len(texts)
        return begun + b"".join(
            delta % (number, _encode(text)) for number, text in enumerate(texts, first)
        )

    def cancelled(self) -> bytes:
        """Return the events of a response that its client stopped, for those who follow it."""
        return self._frames(self.answer.cancelled()) + sse.DONE

    def _frames(self, emitted: list[Event]) -> bytes:
        frames = []
        for number, event in enumerate(emitted, self._sequence):
            members: dict[str, Any] = {"type": event["type"], "sequence_number": number}
            data = _encode(members | event)
            frames.append(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), data))
        self._sequence += len(emitted)
        self.frames += len(emitted)
        return b"".join(frames)
