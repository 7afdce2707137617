"""Decodes a `text/event-stream`, as the HTML standard §9.2.6 says, from any split of its bytes.

Theory of operation. Lines end with LF, CR or CRLF. A CR ends its line at once, and an LF right
after it, which may come with the next read, is dropped. What is held between two reads is one
unfinished line and the `data` lines of one unfinished event, both under one limit.

Two departures from the standard. `data` stays bytes, because its reader decodes it anyway. And an
event that the end of the stream completes in place of a blank line is an event: servers forget
that line, and a text that its sender left unfinished is found out by whoever decodes it.
"""

from typing import Final

import msgspec

from machines import errors

MAX_EVENT_BYTES: Final = 16 * 2**20
"""Most bytes of one event's data that are read."""

_BOM: Final = b"\xef\xbb\xbf"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream.

    Attributes:
        event: its type, `message` where the stream names none.
        data: its `data` lines, joined by LF.
    """

    event: str
    data: bytes


class EventSource:
    """Cuts a byte stream into events, in time linear in its length however it is cut.

    Args:
        max_bytes: of one event's data, and of any line.
    """

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held_max = max_bytes + len(b"data: ")
        self._bom: bytes | None = b""
        self._last_byte = b""
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._type = "message"
        self._refusal: errors.TooLarge | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes.

        Raises:
            TooLarge: an event or a line is over the limit, and the stream is lost. Events that
                came before it in the same read are returned, and the next call raises.
        """
        self._refuse()
        lines = self._normalised(data).split(b"\n")
        rest = lines.pop()
        if lines and self._line:
            self._line += lines[0]
            lines[0] = bytes(self._line)
            self._line.clear()
        found: list[Event] = []
        for line in lines:
            self._take(line, found)
        self._line += rest
        if self._size + len(self._line) > self._held_max:
            self._too_large()
        if not found:
            self._refuse()
        return found

    def end(self) -> list[Event]:
        """Return the event that the end of the stream completes, if there is one.

        Raises:
            TooLarge: as `feed`.
        """
        self._refuse()
        found: list[Event] = []
        self._take(bytes(self._line), found)
        self._line.clear()
        self._take(b"", found)
        return found

    def _normalised(self, data: bytes) -> bytes:
        """Return the bytes with every end of line as LF, and without the BOM."""
        if self._bom is not None:
            data = self._bom + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._bom = data
                return b""
            self._bom = None
            data = data.removeprefix(_BOM)
        if not data:
            return data
        after_cr = self._last_byte == b"\r"
        self._last_byte = data[-1:]
        if after_cr:
            data = data.removeprefix(b"\n")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _take(self, line: bytes, found: list[Event]) -> None:
        if self._size + len(line) > self._held_max:
            self._too_large()
        if self._refusal is not None:
            return
        if line.startswith(b"data:"):
            self._add(line[6:] if line.startswith(b" ", 5) else line[5:])
        elif not line:
            self._dispatch(found)
        elif line == b"data":
            self._add(b"")
        elif line.startswith(b"error:"):
            # No field of the standard: some servers of models end a stream with it.
            self._type = "error"
            self._add(line[6:].removeprefix(b" "))
        elif line == b"event" or line.startswith(b"event:"):
            name = line[6:].removeprefix(b" ").decode("utf-8", "replace")
            self._type = name or "message"

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._size += len(value) + 1
        if self._size - 1 > self._max_bytes:
            self._too_large()

    def _dispatch(self, found: list[Event]) -> None:
        if self._data:
            found.append(Event(self._type, b"\n".join(self._data)))
            self._data.clear()
            self._size = 0
        self._type = "message"

    def _too_large(self) -> None:
        self._data.clear()
        self._line.clear()
        self._refusal = errors.TooLarge(f"an event is longer than {self._max_bytes} bytes")

    def _refuse(self) -> None:
        if self._refusal is not None:
            raise self._refusal
