"""A WebSocket over what was an HTTP connection (RFC 6455): whole texts in, whole texts out.

`wsproto` has the protocol's state, as h11 has that of HTTP; here is when it is asked. No extension
is agreed upon, and no message in bytes is taken.
"""

import asyncio
import base64
import binascii
from collections import deque
from collections.abc import Iterable
from typing import Final

from wsproto import events as frames
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, generate_accept_token

from engine import containment, slices
from server.http.errors import ApiError
from server.http.exchange import Exchange, HeaderList, Request, Stage

AHEAD: Final = 16
"""Messages that may be received ahead of who takes them before the socket is read no more."""

AHEAD_BYTES: Final = 64 * 1024
"""Bytes of such messages; the last of them may be as long as a message may be."""

PING_S: Final = 20.0
"""Seconds between two pings while nothing is said; who answers none within as many more is lost.
Source: the default of `websockets`, which the clients of OpenAI's Python SDK have."""

VERSION: Final = "13"
"""The version of the protocol, the only one that there is (RFC 6455 §4.1)."""

SWITCHING: Final = (("upgrade", "websocket"), ("connection", "upgrade"))
"""Headers that name the other protocol, of an answer that agrees to it or asks for it."""

REASONS: Final[dict[int, str]] = {
    CloseReason.PROTOCOL_ERROR: "that was no frame of RFC 6455",
    CloseReason.UNSUPPORTED_DATA: "messages are text",
    CloseReason.INVALID_FRAME_PAYLOAD_DATA: "that was no UTF-8",
    CloseReason.MESSAGE_TOO_BIG: "the message is too large",
}
"""The reason of a close for a fault, which stands beside its code."""


def accept(request: Request) -> HeaderList:
    """Return the headers of the answer that agrees to a WebSocket.

    Raises:
        ApiError: `upgrade_required` for another version, `bad_http` for what is no handshake.
    """
    headers = request.headers
    if headers.get("sec-websocket-version") != VERSION:
        raise ApiError(
            "upgrade_required",
            f"Only version {VERSION} of the WebSocket protocol is spoken here.",
            headers=(("sec-websocket-version", VERSION), *SWITCHING),
        )
    keys = headers.get_all("sec-websocket-key")
    has_body = headers.get("content-length") not in (None, "0")
    if (
        "upgrade" not in words(headers.get_all("connection"))
        or len(keys) != 1
        or not _is_nonce(keys[0])
        or has_body
        or headers.get("transfer-encoding") is not None
    ):
        raise ApiError("bad_http", "The request is no WebSocket handshake.")
    token = generate_accept_token(keys[0].encode("ascii")).decode("ascii")
    return [*SWITCHING, ("sec-websocket-accept", token)]


def words(values: list[str]) -> list[str]:
    """Return the words of a header that is a list, over all its lines (RFC 9110 §5.6.1)."""
    return [word.strip().lower() for value in values for word in value.split(",")]


def text_frame(text: bytes) -> bytes:
    """Return the frame of a whole message to a client (RFC 6455 §5.2).

    `wsproto` makes the same bytes; with its events and its decoding it takes longer than h11 does
    for a whole wake-up, and this is done for each token.
    """
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + text
    return b"\x81\x7f" + size.to_bytes(8, "big") + text


def _is_nonce(key: str) -> bool:
    """Return whether a key is 16 bytes in base64 (RFC 6455 §4.1)."""
    try:
        return len(base64.b64decode(key.encode("ascii"), validate=True)) == 16
    except (binascii.Error, UnicodeEncodeError):
        return False


class WebSocket:
    """One WebSocket, of an exchange that has switched to it.

    Whoever ends it, the exchange has lost its client with the closing frame: what is in hand for
    it ends as for a client that leaves.

    Args:
        message_bytes: the size of a message above which the socket is closed.
        idle: seconds without a message after which it is closed; None: never.
    """

    def __init__(
        self,
        exchange: Exchange,
        message_bytes: int,
        idle: float | None = None,
    ) -> None:
        self._exchange = exchange
        self._message_bytes = message_bytes
        self._idle = idle
        self._protocol = Connection(ConnectionType.SERVER)
        self._part = bytearray()
        self._waiting: deque[bytes] = deque()
        self._ahead = 0
        self._came = asyncio.Event()
        self._taken = asyncio.Event()
        self._heard = True

    @property
    def is_open(self) -> bool:
        """Whether anything can be sent."""
        return self._protocol.state is ConnectionState.OPEN

    async def read(self) -> None:
        """Read until the socket is closed, from whichever side."""
        try:
            await self._read(slices.Slice())
        except Exception as error:
            containment.report(containment.Boundary.CONNECTION, error)
            self.close(CloseReason.INTERNAL_ERROR)
        self._exchange.lose(Stage.LEFT)
        self._came.set()

    async def message(self) -> bytes | None:
        """Return the next message, once it is there; None when there will be no more.

        A client that says nothing is sent pings. One that answers none of them is lost, one that
        only answers them is told to go.
        """
        loop = asyncio.get_running_loop()
        ends = None if self._idle is None else loop.time() + self._idle
        while self.is_open and self._exchange.stage is Stage.SWITCHED:
            if self._waiting:
                message = self._waiting.popleft()
                self._ahead -= len(message)
                self._taken.set()
                return message
            self._came.clear()
            now = loop.time()
            if ends is not None and now >= ends:
                self.close(CloseReason.GOING_AWAY, "nothing was asked for too long")
                break
            wake_at = now + PING_S if ends is None else min(now + PING_S, ends)
            try:
                async with asyncio.timeout_at(wake_at):
                    await self._came.wait()
            except TimeoutError:
                if wake_at != ends:
                    self._look()
        return None

    def _look(self) -> None:
        """Look whether a client that says nothing is still there."""
        if self._heard:
            self._heard = False
            self.ping()
        else:
            self.close(CloseReason.GOING_AWAY, "no ping was answered")

    def send(self, texts: Iterable[bytes]) -> None:
        """Send texts, a message each, in one write; nothing once the socket is closing."""
        if self.is_open:
            self._exchange.transmit(b"".join(map(text_frame, texts)))

    def ping(self) -> None:
        """Give a sign of life."""
        if self.is_open:
            self._exchange.transmit(self._protocol.send(frames.Ping()))

    def close(self, code: int, reason: str = "") -> None:
        """Close the socket, or answer the other side's closing of it."""
        try:
            data = self._protocol.send(frames.CloseConnection(code, reason or None))
        except LocalProtocolError:  # it is closed
            return
        self._exchange.transmit(data)
        self._came.set()

    async def _read(self, own: slices.Slice) -> None:
        while self.is_open:
            for data in await self._exchange.received():
                if not data:
                    return
                self._heard = True
                self._protocol.receive_data(data)
                await self._take(own)

    async def _take(self, own: slices.Slice) -> None:
        """Take what came in one piece; of its pings the last is answered (RFC 6455 §5.5.3)."""
        ping: frames.Ping | None = None
        for event in self._protocol.events():
            if isinstance(event, frames.TextMessage):
                await self._take_text(event)
            elif isinstance(event, frames.Ping):
                ping = event
            elif isinstance(event, frames.BytesMessage):
                self._fail(CloseReason.UNSUPPORTED_DATA)
            elif isinstance(event, frames.CloseConnection):
                # Of a client; or for what is no frame, and then all is still open.
                self.close(event.code, REASONS.get(event.code, "") if self.is_open else "")
            if not self.is_open:
                return
            if own.spent:
                await own.pause()
        if ping is not None:
            self._exchange.transmit(self._protocol.send(ping.response()))

    async def _take_text(self, event: frames.TextMessage) -> None:
        self._part += event.data.encode()
        if len(self._part) > self._message_bytes:
            self._fail(CloseReason.MESSAGE_TOO_BIG)
        elif event.message_finished:
            await self._put()

    def _fail(self, code: int) -> None:
        self.close(code, REASONS.get(code, ""))

    async def _put(self) -> None:
        """Have a message wait for who takes it, and wait as well if there is much of it."""
        self._waiting.append(bytes(self._part))
        self._part.clear()
        self._ahead += len(self._waiting[-1])
        self._came.set()
        while len(self._waiting) >= AHEAD or self._ahead >= AHEAD_BYTES:
            self._taken.clear()
            await self._taken.wait()
