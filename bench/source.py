"""Serves a stand-in's chunks over HTTP: the upstream of the relay that we are compared with.

    python -m bench.source '{"deltas": 100, "interval": 0.02}'

answers every POST with a chat stream as a `bench.standin.Turn` describes it, and prints its
address. It is one thread, like the stand-in, and paces its streams by the same schedule. Each
event is an HTTP chunk of its own, as servers of such streams write them; a burst is one write.
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
from machines import events
from server import sse

HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
"""The head of every answer."""

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Client:
    """A connection, and the answer that it is sent."""

    def __init__(self, connection: socket.socket, plan: standin.Turn) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self._plan = plan
        self._received = b""
        self._left = 0
        opened = events.Opened(
            request_id="req_1",
            completion_id="chatcmpl-000000000000000000000000",
            created=0,
            model="gpt-5.5",
            target="gpt-5.5",
            worker="source",
        )
        self._chunks = sse.ChatChunks(opened)

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

    def begin(self) -> None:
        """Send what comes before the first content."""
        self._received = b""
        self._left = self._plan.deltas
        self.connection.sendall(HEAD + _http_chunk(self._render(events.Role())))

    def advance(self) -> bool:
        """Send what is due, and say whether more will be."""
        count = min(self._left, 1 if self._plan.interval else self._plan.burst)
        self._left -= count
        text = pacing.stamp() if self._plan.stamped else self._plan.texts[0]
        data = _http_chunk(self._render(events.Content(text))) * count
        if not self._left:
            end = self._render(events.Finish("stop")) + self._render(events.Done())
            data += _http_chunk(end) + _http_chunk(b"")
        self.connection.sendall(data)
        return self._left > 0

    def _render(self, output: events.AnyOutput) -> bytes:
        return self._chunks.render(output)


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def serve(listener: socket.socket, plan: standin.Turn) -> None:
    """Answer requests for ever."""
    schedule: pacing.Schedule[Client] = pacing.Schedule()
    idle: set[Client] = set()
    while True:
        readable, _, _ = select.select((listener, *idle), (), (), schedule.wait())
        if listener in readable:
            idle.add(Client(listener.accept()[0], plan))
        for client in idle.intersection(readable):
            try:
                if not client.asks():
                    continue
                client.begin()
                schedule.add(client, plan.interval)
            except ConnectionError:
                client.connection.close()
            idle.remove(client)
        for due, client in schedule.take():
            with contextlib.suppress(ConnectionError):
                if client.advance():
                    schedule.again(client, due, plan.interval)
                else:
                    idle.add(client)


def main(arguments: Sequence[str]) -> None:
    """Serve one plan on a free port."""
    plan = msgspec.json.decode(arguments[0], type=standin.Turn)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
    serve(listener, plan)


if __name__ == "__main__":
    main(sys.argv[1:])
