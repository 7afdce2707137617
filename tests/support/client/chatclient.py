"""A client of `/v1/chat/completions` that sees bytes: answers, and streams frame by frame."""

import itertools
import json
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.support.client import httpclient
from tests.support.process.serving import Serve

Json = dict[str, Any]


class Frame(NamedTuple):
    """One event of a stream: a comment, the sentinel, or a chunk.

    Attributes:
        kind: `comment`, `done`, `error`, or what a chunk is for: `role`, `content`, `reasoning`,
            `finish` or `usage`.
        value: of a comment its text, else the decoded JSON.
    """

    kind: str
    value: Any


class Answer(NamedTuple):
    """A whole answer, streamed or not, or what there was of it.

    Attributes:
        raw: the body as it came, without HTTP's framing.
        frames: of a stream.
    """

    request_id: str
    status: int
    headers: dict[str, str]
    raw: bytes
    frames: tuple[Frame, ...] = ()

    @property
    def body(self) -> Any:
        """The JSON of an answer that is no stream."""
        return json.loads(self.raw)

    @property
    def outline(self) -> list[str]:
        """The kinds of the frames in order, repetitions as one; comments are left out."""
        kinds = (frame.kind for frame in self.frames if frame.kind != "comment")
        return [kind for kind, _ in itertools.groupby(kinds)]

    @property
    def text(self) -> str:
        """The content, streamed or not."""
        if not self.frames:
            return str(self.body["choices"][0]["message"]["content"])
        return "".join(self._deltas("content"))

    @property
    def finish_reason(self) -> str | None:
        """How the first choice ended; None if it did not."""
        if not self.frames:
            return str(self.body["choices"][0]["finish_reason"])
        finished = self._values("finish")
        return finished[0]["choices"][0]["finish_reason"] if finished else None

    @property
    def usage(self) -> Json | None:
        """The counts, where they were told."""
        if not self.frames:
            return dict(self.body["usage"])
        told = self._values("usage")
        return told[0]["usage"] if told else None

    @property
    def error(self) -> Json:
        """The one error, of the body or of a frame."""
        if not self.frames:
            return dict(self.body["error"])
        (found,) = self._values("error")
        return dict(found["error"])

    @property
    def comments(self) -> list[str]:
        """The comments of a stream."""
        return self._values("comment")

    def _values(self, kind: str) -> list[Any]:
        return [frame.value for frame in self.frames if frame.kind == kind]

    def _deltas(self, kind: str) -> Iterator[str]:
        return (chunk["choices"][0]["delta"]["content"] for chunk in self._values(kind))


class LiveChat(httpclient.Exchange):
    """One request on a connection of its own; its answer is read when it is asked for."""

    def __init__(
        self, server: Serve, text: str, headers: dict[str, str] | None = None, **fields: Any
    ) -> None:
        self.request_id = f"req-{secrets.token_hex(8)}"
        body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": text}], **fields}
        sent = {"x-request-id": self.request_id, **(headers or {})}
        data = httpclient.encoded(server.url, "POST", "/chat/completions", body, sent)
        super().__init__(httpclient.connect(server.url), data)
        self._frames: list[Frame] = []

    def next(self, kind: str) -> Frame:
        """The next frame of that kind, once it has come."""
        return next(frame for frame in self._rest() if frame.kind == kind)

    def answer(self) -> Answer:
        """The whole answer, once it has come."""
        if self.head.headers.get("content-type", "").startswith("text/event-stream"):
            for _ in self._rest():
                pass
        status, headers, raw, _ = self.response()
        return Answer(self.request_id, status, headers, raw, tuple(self._frames))

    def _rest(self) -> Iterator[Frame]:
        for line in self.lines():
            if line != b"\n":
                self._frames.append(_frame(line.decode().rstrip("\n")))
                yield self._frames[-1]


def _frame(line: str) -> Frame:
    if line.startswith(":"):
        return Frame("comment", line[1:].strip())
    field, _, data = line.partition(": ")
    assert field == "data", line
    if data == "[DONE]":
        return Frame("done", None)
    value = json.loads(data)
    if "error" in value:
        return Frame("error", value)
    if not value["choices"]:
        return Frame("usage", value)
    (choice,) = value["choices"]
    if choice["finish_reason"] is not None:
        return Frame("finish", value)
    delta = choice["delta"]
    kinds = {
        "role": "role",
        "content": "content",
        "reasoning_content": "reasoning",
        "tool_calls": "tool_calls",
    }
    return Frame(next(kind for key, kind in kinds.items() if key in delta), value)


def ask(server: Serve, text: str, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    """A whole answer."""
    with LiveChat(server, text, headers, **fields) as live:
        return live.answer()
