"""One event of an upstream, decoded: strictly, and leniently where that fails.

Nothing but the outermost object has a type; what is in it, its readers find.
"""

from typing import Any, Final

import msgspec

from engine import redaction, slices
from engine.failures import ProviderFailure
from engine.upstream import errors as upstreamerrors
from machines import parse

GARBLED_BYTES: Final = 1024
"""Most bytes of an event that is not JSON that go on record."""

SMALL_BYTES: Final = 1 << 16
"""Most bytes of an event that is read in one go."""


Chunk = dict[str, Any]
"""A chunk, or a whole completion."""

_CHUNKS: Final = msgspec.json.Decoder(Chunk)


class UpstreamDecodeError(Exception):
    """Raised for an event that is not a JSON object.

    Args:
        data: the event's data; what `chunks.ChunkReader.garbled` looks at of it is kept.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__("not a JSON object")
        self.data = data[: GARBLED_BYTES + redaction.MAX_SECRET]


def read(
    kind: str, data: bytes, known: redaction.Redaction
) -> tuple[Chunk, ProviderFailure | None]:
    """Return a chunk, and the error that it is or holds; the depth of a large one has been looked
    at.

    Args:
        kind: the event's type.
    """
    try:
        if len(data) <= SMALL_BYTES:
            chunk = parse.parse(data, _CHUNKS)
        else:
            with slices.GcPaused():
                chunk = parse.parse_outer(data, _CHUNKS)
    except parse.ParseError:
        lenient = _lenient(data)
        if lenient is None:
            if kind != "error":
                raise UpstreamDecodeError(data) from None
            text = data[: upstreamerrors.MESSAGE_BYTES].decode("utf-8", "replace")
            return {}, upstreamerrors.reported(text, known)
        chunk = lenient
    is_error = chunk.get("error") or kind == "error" or chunk.get("object") == "error"
    if is_error or _is_bare_error(chunk):
        return chunk, upstreamerrors.reported(chunk, known)
    return chunk, None


def _is_bare_error(chunk: Chunk) -> bool:
    """Return whether it is nothing but an error without an envelope, as FastAPI and others
    send."""
    if chunk.get("choices") is not None or chunk.get("usage") is not None:
        return False
    return isinstance(chunk.get("message"), str) or isinstance(chunk.get("detail"), str | list)


def _lenient(data: bytes) -> dict[str, Any] | None:
    """Read an object with a parser that also takes bad UTF-8, half surrogates and NaN.

    What is no object is not looked through.
    """
    if not data.startswith(b"{"):
        return None
    try:
        value = parse.lenient(data)
    except parse.ParseError:
        return None
    return value if isinstance(value, dict) else None
