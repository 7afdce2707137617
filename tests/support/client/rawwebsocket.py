"""A WebSocket's client that sends whatever bytes a test wants, and reads frames.

`websockets` is the client of tests about answers; this one is for what no good client sends.
"""

import json
import socket
import struct
import urllib.parse
from types import TracebackType
from typing import Any, Self

from tests.support.process import machinetime, serving

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Kinds of frames (RFC 6455 §5.2)."""

NONCE = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 §1.3, whose answer is there too."""

HANDSHAKE = (
    "Host: localhost",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {NONCE}",
)


def handshake(*lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request with these lines of headers."""
    first = f"{method} /v1/responses HTTP/{version}"
    return "\r\n".join((first, *lines, "", "")).encode()


def frame(kind: int, data: bytes = b"", *, last: bool = True, masked: bool = True) -> bytes:
    """A frame of a client, whose mask changes nothing."""
    mask = 0x80 if masked else 0
    head = bytes((0x80 * last | kind, mask | min(len(data), 127)))
    if 126 <= len(data) < 1 << 16:
        head = head[:1] + struct.pack(">BH", mask | 126, len(data))
    elif len(data) >= 1 << 16:
        head += struct.pack(">Q", len(data))
    return head + bytes(4) * masked + data


def asks(**fields: Any) -> bytes:
    """The frame of a message that asks for a response."""
    asked = {"type": "response.create", "model": "text-short", "input": "Hello", "store": False}
    return frame(TEXT, json.dumps(asked | fields).encode())


class Raw:
    """A connection to a server.

    Attributes:
        socket: to send what is wanted over.
    """

    def __init__(self, server: serving.Serve, *lines: str, first: bytes | None = None) -> None:
        address = urllib.parse.urlsplit(server.base)
        self.socket = socket.create_connection((address.hostname, address.port))
        self.socket.settimeout(machinetime.HANG_S)
        self._data = bytearray()
        if first is None:
            first = handshake(*HANDSHAKE, *lines)
        self.socket.sendall(first)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self.socket.close()

    def status(self) -> int:
        """The status of the answer to the handshake."""
        while b"\r\n\r\n" not in self._data:
            self._more()
        head = self.take(self._data.index(b"\r\n\r\n") + 4)
        return int(head.split()[1])

    def frame(self) -> tuple[int, bytes]:
        """The kind of the next frame, and what it has."""
        head = self.take(2)
        size = head[1]
        if size >= 126:
            more = self.take(2 if size == 126 else 8)
            size = int.from_bytes(more, "big")
        return head[0] & 0x0F, self.take(size)

    def event(self) -> dict[str, Any]:
        """The next message; there is no other frame before it."""
        kind, data = self.frame()
        assert kind == TEXT, (kind, data)
        found: dict[str, Any] = json.loads(data)
        return found

    def closed(self) -> tuple[int, str]:
        """The code and the reason of the closing frame, behind which nothing comes."""
        while (frame := self.frame())[0] != CLOSE:
            pass
        assert self.socket.recv(1) == b""
        return int.from_bytes(frame[1][:2], "big"), frame[1][2:].decode()

    def take(self, size: int) -> bytes:
        """The next so many bytes."""
        while len(self._data) < size:
            self._more()
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError(bytes(self._data))
        self._data += data
