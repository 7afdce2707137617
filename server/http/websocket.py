"""A WebSocket over what was an HTTP connection (RFC 6455): whole texts in, whole texts out.

`wsproto` has the protocol's state, as h11 has that of HTTP; here is when it is asked. No extension
is agreed upon, and no message in bytes is taken.
"""

import asyncio
import base64
import binascii
from collections.abc import Iterable
from typing import Final

from wsproto import events as frames
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError, generate_accept_token

from engine import slices
from server.http.errors import ApiError
from server.http.exchange import Exchange, HeaderList, Request, Stage

AHEAD: Final = 16
"""Messages that may be received ahead of who takes them before the socket is read no more."""

VERSION: Final = "13"
"""The version of the protocol, the only one that there is (RFC 6455 §4.1)."""


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
            headers=(("sec-websocket-version", VERSION),),
        )
    words = (word.strip().lower() for word in (headers.get("connection") or "").split(","))
    key = headers.get("sec-websocket-key") or ""
    if "upgrade" not in words or not _is_nonce(key):
        raise ApiError("bad_http", "The request is no WebSocket handshake.")
    token = generate_accept_token(key.encode("ascii")).decode("ascii")
    return [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", token)]


def _is_nonce(key: str) -> bool:
    """Return whether a key is 16 bytes in base64 (RFC 6455 §4.1)."""
    try:
        return len(base64.b64decode(key.encode("ascii"), validate=True)) == 16
    except (binascii.Error, UnicodeEncodeError):
        return False


class WebSocket:
    """One WebSocket, of an exchange that has switched to it.

    Args:
        message_bytes: the size of a message above which the socket is closed.
    """

    def __init__(self, exchange: Exchange, message_bytes: int) -> None:
        self._exchange = exchange
        self._message_bytes = message_bytes
        self._protocol = Connection(ConnectionType.SERVER)
        self._messages: asyncio.Queue[str | None] = asyncio.Queue(AHEAD)
        self._parts: list[str] = []
        self._size = 0

    @property
    def is_open(self) -> bool:
        """Whether anything can be sent."""
        return self._protocol.state is ConnectionState.OPEN

    async def read(self) -> None:
        """Read until the socket is closed, from whichever side."""
        own = slices.Slice()
        try:
            while self._protocol.state is not ConnectionState.CLOSED:
                for data in await self._exchange.received():
                    if not data:
                        return
                    self._protocol.receive_data(data)
                    for event in self._protocol.events():
                        await self._take(event)
                        if own.spent:
                            await own.pause()
        except RemoteProtocolError as error:
            hint = error.event_hint
            code = hint.code if isinstance(hint, frames.CloseConnection) else None
            self.close(code or CloseReason.PROTOCOL_ERROR)
        finally:
            if self._exchange.on_gone is not None:  # who closes within an answer leaves it
                self._exchange.lose(Stage.LEFT)
            await self._messages.put(None)

    async def message(self) -> str | None:
        """Return the next message, once it is there; None when there will be no more."""
        return await self._messages.get()

    def send(self, texts: Iterable[bytes]) -> None:
        """Send texts, a message each, in one write; nothing once the socket is closing."""
        if self.is_open:
            made = (frames.TextMessage(text.decode()) for text in texts)
            self._exchange.transmit(b"".join(map(self._protocol.send, made)))

    def ping(self) -> None:
        """Give a sign of life."""
        if self.is_open:
            self._exchange.transmit(self._protocol.send(frames.Ping()))

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close the socket, or answer the other side's beginning."""
        try:
            data = self._protocol.send(frames.CloseConnection(code, reason or None))
        except LocalProtocolError:  # it is closed
            return
        self._exchange.transmit(data)

    async def _take(self, event: frames.Event) -> None:
        match event:
            case frames.TextMessage(data, message_finished=finished):
                self._parts.append(data)
                self._size += len(data.encode())
                if self._size > self._message_bytes:
                    self.close(CloseReason.MESSAGE_TOO_BIG)
                elif finished:
                    text = "".join(self._parts)
                    self._parts, self._size = [], 0
                    await self._messages.put(text)
            case frames.BytesMessage():
                self.close(CloseReason.UNSUPPORTED_DATA)
            case frames.Ping():
                self._exchange.transmit(self._protocol.send(event.response()))
            case frames.CloseConnection():
                self.close(event.code)
