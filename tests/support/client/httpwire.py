"""HTTP/1.1 as bytes: requests as a test spells them, and a strict reader of responses.

The reader does no I/O: the blocking client (`httpclient`) and the one in a test's own loop
(`inprocess`) hand it what they read.
"""

import enum
import json
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final, NamedTuple

CUT: Final = -1
"""Stands for the status where the connection ended without a response."""


def request(method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
    """A request as ordinary clients send it; a body without a `transfer-encoding` has a length."""
    fields = {"host": "localhost", **{name.lower(): value for name, value in headers.items()}}
    if body is not None and "transfer-encoding" not in fields:
        fields.setdefault("content-length", str(len(body)))
    lines = [f"{name}: {value}" for name, value in fields.items()]
    top = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", *lines, ""))
    return top.encode("latin-1") + (body or b"")


def get(path: str = "/", *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body, its header lines as they stand."""
    lines = [f"{method} {path} HTTP/{version}", "host: localhost", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def post(body: bytes, *headers: str, path: str = "/") -> bytes:
    """A request with a body of known length, its other header lines as they stand."""
    return get(path, f"content-length: {len(body)}", *headers, method="POST") + body


def in_chunks(*pieces: bytes) -> bytes:
    """A body in HTTP chunks, its end included."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def chunked(*pieces: bytes, path: str = "/") -> bytes:
    """A request whose body comes in chunks."""
    return get(path, "transfer-encoding: chunked", method="POST") + in_chunks(*pieces)


class Head(NamedTuple):
    """Status and headers of a response, names in lower case."""

    status: int
    headers: dict[str, str]


class Response(NamedTuple):
    """A response as it came, header names in lower case.

    Attributes:
        body: without HTTP's framing; of a response that was cut off, what came of it.
        whole: false if the connection ended within its body.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def code(self) -> Any:
        """The `code` of an error envelope, all of whose four keys are there."""
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error["code"]


class End(enum.Enum):
    """What a response has come to."""

    OPEN = "there is more to come"
    WHOLE = "HTTP says that it is whole"
    CUT = "the connection ended before it"


class _ConnectionEnded(Exception):
    """The peer has closed, and what is needed is not there."""


class ResponseReader:
    """Reads one response from the bytes of a connection, in any pieces.

    Args:
        received: what was read of the connection and is not used; what follows the response stays
            in it, for the reader of the next one.
        method: of the request. A response to HEAD has no body.

    Attributes:
        head: None until it is here.
        body: what there is of it.
        end: whether there is more to come.
    """

    def __init__(self, received: bytearray, method: str = "GET") -> None:
        self.head: Head | None = None
        self.body = bytearray()
        self.end = End.OPEN
        self._received = received
        self._method = method
        self._is_closed = False
        self._steps = self._read()
        next(self._steps, None)

    def take(self, data: bytes) -> None:
        """Go on with what was read next; nothing at all is the connection's end."""
        self._received += data
        self._is_closed = self._is_closed or not data
        next(self._steps, None)

    def break_off(self) -> None:
        """The connection was reset: what is not whole by now never will be."""
        if self.end is End.OPEN:
            self.end = End.CUT

    def response(self) -> Response:
        """The response, once it has come to its end."""
        assert self.end is not End.OPEN
        head = self.head or Head(CUT, {})
        return Response(*head, bytes(self.body), self.end is End.WHOLE)

    def _read(self) -> Iterator[None]:
        try:
            yield from self._read_head()
            yield from self._read_body()
        except _ConnectionEnded:
            self.end = End.CUT
        else:
            self.end = End.WHOLE

    def _read_head(self) -> Iterator[None]:
        head = yield from self._until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status = status_line.split(" ")[:2]
        assert version == "HTTP/1.1"
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        assert len(headers) == len(lines), f"a header came twice: {lines}"
        self.head = Head(int(status), headers)

    def _read_body(self) -> Iterator[None]:
        assert self.head is not None
        status, headers = self.head
        if self._method == "HEAD" or status < 200 or status in (204, 304):
            return
        if "content-length" in headers:
            yield from self._piece(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while size := int((yield from self._until(b"\r\n")), 16):
                yield from self._piece(size)
                assert (yield from self._until(b"\r\n")) == b""
            assert (yield from self._until(b"\r\n")) == b"", "no trailers are sent"
        else:
            while not self._is_closed:
                self._move(len(self._received))
                yield
            self._move(len(self._received))

    def _until(self, marker: bytes) -> Generator[None, None, bytes]:
        """What stands before a marker, which is taken too."""
        while (at := self._received.find(marker)) < 0:
            self._check_open()
            yield
        found = bytes(self._received[:at])
        del self._received[: at + len(marker)]
        return found

    def _piece(self, size: int) -> Iterator[None]:
        """So many bytes of the body, each as soon as it is here."""
        end = len(self.body) + size
        while True:
            self._move(end - len(self.body))
            if len(self.body) == end:
                return
            self._check_open()
            yield

    def _move(self, most: int) -> None:
        self.body += self._received[:most]
        del self._received[:most]

    def _check_open(self) -> None:
        if self._is_closed:
            raise _ConnectionEnded
