"""Serves a stand-in's chunks over HTTP: an upstream for us, and for the relay beside us.

    python -m bench.source '{"deltas": 100, "interval": 0.02}'

answers every POST with a chat stream as a `bench.standin.Turn` describes it, every GET with a list
of models, and prints its address. It is one thread, like the stand-in, and paces its streams by
the same schedule. Each event is an HTTP chunk of its own, as servers of such streams write them; a
burst is one write.
"""

import contextlib
import re
import select
import socket
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from bench import pacing, standin
from machines import events, outputs
from server.chat import sse

HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
"""The head of every answer."""

LISTING: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 43\r\n\r\n"
    b'{"object":"list","data":[{"id":"gpt-5.5"}]}'
)
"""The answer to whoever asks for the models."""

OPENED: Final = events.Opened(
    request_id="req_1",
    completion_id="chatcmpl-000000000000000000000000",
    created=0,
    model="gpt-5.5",
    target="gpt-5.5",
    worker="source",
)
"""How every answer began."""


_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Answer:
    """The bytes of one answer, as HTTP frames them."""

    def __init__(self, plan: standin.Turn) -> None:
        self._plan = plan
        self._left = plan.deltas
        self._render = sse.ChatChunks(OPENED).render

    def head(self) -> bytes:
        """The bytes before the first content."""
        return HEAD + _http_chunk(self._render(outputs.Role()))

    def next_chunks(self) -> bytes:
        """Return the bytes that are due: one chunk, or in a flood a burst of them, and the end
        after the last."""
        count = min(self._left, 1 if self._plan.interval else self._plan.burst)
        said = self._plan.deltas - self._left
        self._left -= count
        if self._plan.stamped:
            data = b"".join(self._content(pacing.stamp(said + number)) for number in range(count))
        else:
            data = self._content(self._plan.texts[0]) * count
        if self.is_told:
            data += _http_chunk(self._render(outputs.Finish("stop")))
            data += _http_chunk(self._render(outputs.Done())) + _http_chunk(b"")
        return data

    @property
    def is_told(self) -> bool:
        """Whether its end is out."""
        return self._left == 0

    def _content(self, text: str) -> bytes:
        return _http_chunk(self._render(outputs.Content(text)))


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Client:
    """A connection: its request as it comes in, its answer as it goes out."""

    def __init__(self, connection: socket.socket, plan: standin.Turn) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self._plan = plan
        self._received = b""
        self._answer = Answer(plan)

    def fileno(self) -> int:
        """For `select`."""
        return self.connection.fileno()

    def asks(self) -> bool:
        """Read, and say whether a request is whole.

        Raises:
            ConnectionError: there will be none.
        """
        data = self.connection.recv(1 << 16)
        if not data:
            raise ConnectionResetError
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return bool(found) and len(body) >= int(length[1] if length else 0)

    def begin(self) -> bool:
        """Send what comes before the first content, and say whether any will."""
        listing = self._received.startswith(b"GET ")
        self._received = b""
        self._answer = Answer(self._plan)
        self.connection.sendall(LISTING if listing else self._answer.head())
        return not listing

    def advance(self) -> bool:
        """Send what is due, and say whether more will be."""
        self.connection.sendall(self._answer.next_chunks())
        return not self._answer.is_told


class Source:
    """All connections of one listener."""

    def __init__(self, listener: socket.socket, plan: standin.Turn) -> None:
        self._listener = listener
        self._plan = plan
        self._schedule: pacing.Schedule[Client] = pacing.Schedule()
        self._idle: set[Client] = set()

    def run(self) -> None:
        """Answer requests for ever."""
        while True:
            waiting: list[socket.socket | Client] = [self._listener, *self._idle]
            readable, _, _ = select.select(waiting, [], [], self._schedule.wait())
            for ready in readable:
                if isinstance(ready, Client):
                    self._read(ready)
                else:
                    self._idle.add(Client(ready.accept()[0], self._plan))
            for due, client in self._schedule.take():
                with contextlib.suppress(ConnectionError):
                    if client.advance():
                        self._schedule.again(client, due, self._plan.interval)
                    else:
                        self._idle.add(client)

    def _read(self, client: Client) -> None:
        try:
            if not client.asks() or not client.begin():
                return
            self._schedule.add(client, self._plan.interval)
        except ConnectionError:
            client.connection.close()
        self._idle.remove(client)


def main(arguments: Sequence[str]) -> None:
    """Serve one plan on a free port."""
    plan = msgspec.json.decode(arguments[0], type=standin.Turn)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
    Source(listener, plan).run()


if __name__ == "__main__":
    main(sys.argv[1:])
