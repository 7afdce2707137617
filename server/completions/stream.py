"""Outputs of a stream to the events of the legacy completions: a token's last step there."""

from typing import Final

import msgspec

from engine import jsonstrings
from machines import events, outputs
from server.chat import sse
from server.completions import finish

_encode: Final = msgspec.json.encode


class CompletionChunks:
    """Renders one stream's outputs as `text_completion` frames.

    Args:
        echoed: the prompts that the answers begin with, as `finish.echo_of` takes them.

    Attributes:
        streams: always; see `server.api.reply.Renderer`.
        frames: data frames rendered so far.
    """

    streams: Final = True

    def __init__(self, opened: events.Opened, echoed: tuple[bytes, ...] = ()) -> None:
        self.frames = 0
        self._opened = opened
        self._echoed = echoed
        self._comments = opened.tools.sse_comments
        head = {
            "id": opened.completion_id,
            "object": "text_completion",
            "created": opened.created,
            "model": opened.model,
        }
        self._head = b"data: " + _encode(head)[:-1]
        self._end = (b',"usage":null' if opened.include_usage else b"") + b"}\n\n"
        self._before_text = self._head + b',"choices":[{"text":'
        self._after_text = [self._after(index, b"null") for index in range(opened.n)]
        self._usage_members = events.NO_MEMBERS

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of every event stream."""
        return list(sse.HEADERS)

    def render(self, output: outputs.AnyOutput, now: int = 0) -> bytes:
        """Return the bytes of one output, before HTTP framing; empty for those a client does not
        see."""
        match output:
            case outputs.Content(text, choice) | outputs.Refusal(text, choice):
                return self.contents(choice, [text])
            case outputs.Role(choice) if echo := finish.echo_of(
                self._opened, self._echoed, choice
            ):
                self.frames += 1
                return self._before_text + echo + self._after_text[choice]
            case outputs.Members("usage", members):
                self._usage_members = members
            case outputs.Finish(reason, choice):
                self.frames += 1
                after = self._after(choice, _encode(finish.reason(reason)))
                return self._before_text + b'""' + after
            case outputs.UsageTotals() if self._opened.include_usage:
                self.frames += 1
                counts = _encode(sse.usage_object(output.usage, self._usage_members))
                comment = sse.usage_comment(output) if self._comments else b""
                return comment + self._head + b',"choices":[],"usage":' + counts + b"}\n\n"
            case outputs.Done():
                self.frames += 1
                return sse.DONE
            case outputs.Keepalive():
                return sse.KEEPALIVE
            case outputs.Failure():
                self.frames += 1
                return sse.failure_frame(output)
        return b""

    def contents(self, choice: int, texts: list[str]) -> bytes:
        """Return the bytes of a `Content` for each of the texts: the last step of a token."""
        self.frames += len(texts)
        before, after = self._before_text, self._after_text[choice]
        return before + jsonstrings.join(texts, after + before) + after

    def _after(self, choice: int, reason: bytes) -> bytes:
        """Return what stands behind the text of a frame."""
        place = b',"index":%d,"logprobs":null,"finish_reason":%b}]' % (choice, reason)
        return place + self._end
