"""The client of a soak: keeps streams open, leaves some of them, and checks every frame."""

import asyncio
import collections
import contextlib
import random
import time
import urllib.parse
from typing import Annotated, Any, Final

import msgspec

from bench import load

ORDER: Final = ("role", "content", "finish", "usage", "done")
"""The kinds of frames of a whole stream; content comes as often as it was said."""

PATIENCE_S: Final = 60.0
"""How much later than it should a stream may end."""

LEAVE_PART: Final = 0.5
"""Part of its time within which a stream is left: near its end it may be whole before."""

WRONG_KEPT: Final = 20
"""How many wrong streams are described; all are counted."""


class Wrong(Exception):
    """Raised for an answer that is not what was said."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The load to keep up.

    Attributes:
        url: of the API.
        streams: at once, each on a connection of its own.
        chunks: of each stream, which say their numbers.
        seconds: that each stream takes.
        left: part of the streams that is left, each at a moment of its own.
        seed: of those moments.
    """

    url: str
    streams: int
    chunks: int
    seconds: float
    left: float = 0.1
    seed: int = 1

    def request(self, request_id: str) -> bytes:
        """The bytes of one request."""
        parts = urllib.parse.urlsplit(self.url)
        body = msgspec.json.encode(
            {
                "model": "gpt-5.5",
                "messages": [{"role": "user", "content": "count"}],
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )
        head = (
            f"POST {parts.path}/chat/completions HTTP/1.1\r\nhost: {parts.netloc}\r\n"
            f"x-request-id: {request_id}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Delta(msgspec.Struct, forbid_unknown_fields=True):
    """The members of a choice that are read."""

    role: str | None = None
    content: str | None = None


class Choice(msgspec.Struct, forbid_unknown_fields=True):
    """The one choice of a chunk."""

    index: int
    delta: Delta
    finish_reason: str | None
    logprobs: None = None


class Chunk(msgspec.Struct, forbid_unknown_fields=True):
    """A frame's data."""

    id: str
    object: str
    created: int
    model: str
    choices: Annotated[list[Choice], msgspec.Meta(max_length=1)]
    usage: Any = None

    def kind(self) -> str:
        """Which of `ORDER` it is."""
        if not self.choices:
            return "usage"
        (choice,) = self.choices
        if choice.finish_reason is not None:
            return "finish"
        return "content" if choice.delta.role is None else "role"


_CHUNKS: Final = msgspec.json.Decoder(Chunk)


class Frames:
    """The frames of one stream, each held against the one that is due.

    Args:
        chunks: how many have content.

    Attributes:
        counted: how many had, so far.
        delays: microseconds from each one's stamp to now.
    """

    def __init__(self, chunks: int) -> None:
        self.counted = 0
        self.delays: list[int] = []
        self._chunks = chunks
        self._kind = -1
        self._id = ""
        self._rest = b""

    @property
    def is_whole(self) -> bool:
        """Whether the last frame came."""
        return self._kind == len(ORDER) - 1

    def feed(self, body: bytes) -> None:
        """Take a piece of the body.

        Raises:
            Wrong: a frame is lost, doubled, in another's place, or none of ours.
        """
        *events, self._rest = (self._rest + body).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: "):
                self._take(event[6:])
            elif not event.startswith(b": "):
                raise Wrong(f"no frame: {event[:80]!r}")

    def _take(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._follow("done")
            return
        try:
            chunk = _CHUNKS.decode(data)
        except msgspec.DecodeError as error:
            raise Wrong(f"{error}: {data[:200]!r}") from None
        if self._id not in ("", chunk.id):
            raise Wrong(f"a frame of {chunk.id} in {self._id}")
        self._id = chunk.id
        kind = chunk.kind()
        self._follow(kind)
        if kind == "content":
            self._count(chunk.choices[0].delta.content or "")

    def _follow(self, kind: str) -> None:
        place = ORDER.index(kind)
        if place == self._kind + 1 or place == self._kind == 1:
            self._kind = place
        else:
            raise Wrong(f"{kind} after {ORDER[self._kind]}")
        if kind == "finish" and self.counted != self._chunks:
            raise Wrong(f"the end after {self.counted} chunks of {self._chunks}")

    def _count(self, text: str) -> None:
        stamp, _, number = text.partition(" ")
        if number != f"{self.counted} ":
            raise Wrong(f"chunk {number!r} where {self.counted} was due")
        self.counted += 1
        self.delays.append(time.time_ns() // 1000 - int(stamp))


class Soak:
    """The streams of a plan.

    Attributes:
        asked: how each stream ended, by its request's id: `whole`, `left`, `wrong`; None while
            it has not.
        wrong: descriptions of the first streams that were.
        chunks: with content, of all of them.
        delays: microseconds from each chunk's stamp to its arrival, how often each millisecond.
    """

    def __init__(self, plan: Plan) -> None:
        self.asked: dict[str, str | None] = {}
        self.wrong: list[str] = []
        self.chunks = 0
        self.delays: collections.Counter[int] = collections.Counter()
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._over = False

    def outcomes(self) -> collections.Counter[str | None]:
        """How many streams ended how."""
        return collections.Counter(self.asked.values())

    async def run(self) -> None:
        """Keep the streams open until `end` is called, and see the last of them to their ends."""
        async with asyncio.TaskGroup() as slots:
            for number in range(self._plan.streams):
                slots.create_task(self._slot(number))

    def end(self) -> None:
        """Begin no further stream."""
        self._over = True

    async def _slot(self, slot: int) -> None:
        """One stream after the other; the first ones do not begin in the same moment."""
        await asyncio.sleep(slot / self._plan.streams * min(self._plan.seconds, 1.0))
        number = 0
        while not self._over:
            request_id = f"soak-{slot}-{number}"
            number += 1
            self.asked[request_id] = None
            self.asked[request_id] = await self._stream(request_id)

    async def _stream(self, request_id: str) -> str:
        leaves = self._random.random() < self._plan.left
        after = self._random.uniform(0, self._plan.seconds * LEAVE_PART)
        limit = after if leaves else self._plan.seconds + PATIENCE_S
        frames = Frames(self._plan.chunks)
        parts = urllib.parse.urlsplit(self._plan.url)
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            # Whoever leaves has asked: there is a record of it.
            writer.write(self._plan.request(request_id))
            with contextlib.closing(writer):
                async with asyncio.timeout(limit):
                    await self._read(reader, frames)
        except TimeoutError:
            if leaves:
                return "left"
            self._complain(request_id, f"no end; {frames.counted} chunks came")
        except (Wrong, load.NotChunked, OSError, EOFError) as error:
            self._complain(request_id, repr(error))
        else:
            return "whole"
        return "wrong"

    async def _read(self, reader: asyncio.StreamReader, frames: Frames) -> None:
        """Check an answer to its end.

        Raises:
            Wrong: it is not what was said.
            NotChunked: nor is it HTTP.
            OSError: the connection failed.
            EOFError: it ended before the answer's head.
        """
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Wrong(repr(head[:80]))
        body = load.ChunkedBody()
        while not (frames.is_whole and body.ended):
            data = await reader.read(1 << 16)
            if not data:
                raise Wrong(f"cut after {frames.counted} chunks")
            frames.feed(body.feed(data))
            self._tally(frames)

    def _tally(self, frames: Frames) -> None:
        self.chunks += len(frames.delays)
        self.delays.update(delay // 1000 for delay in frames.delays)
        frames.delays.clear()

    def _complain(self, request_id: str, why: str) -> None:
        if len(self.wrong) < WRONG_KEPT:
            self.wrong.append(f"{request_id}: {why}")
