"""The HTTP client of the tests: one request on a connection of its own, read by and by.

    with httpclient.begin(server.url, "POST", "/chat/completions", body) as exchange:
        exchange.until(b'"lo"')
        ...
        assert exchange.answer().status == 200

`chatclient` and `responsesclient` say what is asked of the two APIs and read what comes; this says
how it goes over the wire. A test that wants to send other bytes than a well-behaved client gives
`Exchange` a socket and the bytes.
"""

import contextlib
import json
import socket
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

from tests.support.client import httpwire
from tests.support.process import machinetime

WAIT_S: Final = machinetime.HANG_S
"""Seconds after which a client gives up on a byte that should have come."""

LIMIT_S: Final = 3 * machinetime.HANG_S
"""Seconds after which it gives up on the rest of an answer that still comes."""

JSON_HEADERS: Final = {"content-type": "application/json"}

READ_BYTES: Final = 64 * 1024
"""The most that is read at once."""


class CutOff(ConnectionError):
    """The connection ended before the response did."""


class Exchange:
    """One request on a connection of its own; its answer is read when a test asks for it.

    Args:
        connection: a connected socket, which this closes.
        data: the request as it is sent.
        method: of the request.
    """

    def __init__(self, connection: socket.socket, data: bytes, method: str = "POST") -> None:
        self._connection = connection
        self._reader = httpwire.ResponseReader(bytearray(), method)
        self._lines_end = 0
        self._limit = time.monotonic() + LIMIT_S
        try:
            connection.sendall(data)
        except BaseException:
            connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    @property
    def head(self) -> httpwire.Head:
        """Status and headers, once they have come.

        Raises:
            CutOff: where the connection ended instead.
        """
        while self._reader.head is None:
            try:
                self._receive(READ_BYTES)
            except ConnectionError:
                self._connection.close()
                raise
        return self._reader.head

    @property
    def so_far(self) -> bytes:
        """What was read of the body."""
        return bytes(self._reader.body)

    def more(self, most: int = READ_BYTES) -> bool:
        """Read some of the body; whether there was more.

        Raises:
            ConnectionError: where the connection ended before the body did.
        """
        before = len(self._reader.body)
        while len(self._reader.body) == before:
            if self._reader.end is httpwire.End.WHOLE:
                return False
            self._receive(most)
        return True

    def until(self, marker: bytes) -> None:
        """Read until the body so far holds the marker."""
        while marker not in self._reader.body:
            assert self.more(), f"the body ended: {self.so_far!r}"

    def lines(self) -> Iterator[bytes]:
        """The lines of the body that were not asked for yet, each once it has come."""
        body = self._reader.body
        while True:
            end = body.find(b"\n", self._lines_end) + 1
            if not end:
                if self.more():
                    continue
                end = len(body)
            line, self._lines_end = bytes(body[self._lines_end : end]), end
            if not line:
                return
            yield line

    def response(self) -> httpwire.Response:
        """The whole response, once it has come.

        Raises:
            ConnectionError: where it was cut off.
        """
        while self._reader.end is not httpwire.End.WHOLE:
            self._receive(READ_BYTES)
        self._connection.close()
        return self._reader.response()

    def response_or_part(self) -> httpwire.Response:
        """The response once it has come, or what there is of it once the connection broke.

        Raises:
            ConnectionError: where not even its head came.
        """
        status, headers = self.head
        try:
            return self.response()
        except ConnectionError:
            self._connection.close()
            return httpwire.Response(status, headers, self.so_far, whole=False)

    def leave(self) -> None:
        """Close the connection, whatever is still to come."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _receive(self, most: int) -> None:
        assert time.monotonic() < self._limit, f"no end: {self.so_far[-1000:]!r}"
        self._reader.take(self._connection.recv(most))
        if self._reader.end is httpwire.End.CUT:
            raise CutOff(f"cut off after {self.so_far[-1000:]!r}")


def connect(url: str, receive_buffer: int = 0) -> socket.socket:
    """A connection to the server of a URL.

    Args:
        receive_buffer: bytes that the client's system takes in for it; 0 for the usual.
    """
    where = urllib.parse.urlsplit(url)
    made = socket.socket()
    try:
        if receive_buffer:  # has to be set before the window is made
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.settimeout(WAIT_S)
        made.connect((where.hostname, where.port))
    except BaseException:
        made.close()
        raise
    return made


def encoded(
    url: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a request to a path below a URL; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    where = urllib.parse.urlsplit(url)
    fields = {"host": where.netloc, **({} if data is None else JSON_HEADERS), **(headers or {})}
    return httpwire.request(method, where.path + path, data, fields)


def begin(
    url: str,
    method: str,
    path: str = "",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    receive_buffer: int = 0,
) -> Exchange:
    """A request to a path below a URL, whose answer is read by and by."""
    data = encoded(url, method, path, body, headers)
    return Exchange(connect(url, receive_buffer), data, method)


def ask(
    url: str,
    method: str,
    path: str = "",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> httpwire.Response:
    """The whole response to a request to a path below a URL."""
    with begin(url, method, path, body, headers) as exchange:
        return exchange.response()
