"""The shared part of an operator's routes: small bodies are read strictly, and have an author."""

from typing import Final, TypeVar

import msgspec

from server.api.call import Call
from server.http import decoding, mismatch
from server.http.errors import ApiError

BODY_BYTES: Final = 1 << 14
"""Largest body of an operator's request: it is read in one call."""

T = TypeVar("T")

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def read(call: Call, decoder: msgspec.json.Decoder[T], known: tuple[str, ...]) -> T:
    """Read the body of a request that changes something.

    A member that nobody knows is refused: what was mistyped must not pass for being in force.

    Args:
        known: the members that there are.

    Raises:
        ApiError: `invalid_json`, `request_too_large`, `unsupported_media_type`, or
            `invalid_request` with the member at fault.
    """
    call.expect_json()
    body = await call.exchange.request.body()
    if len(body) > BODY_BYTES:
        raise ApiError("request_too_large", f"The body is over {BODY_BYTES} bytes.")
    value = decoding.decode(decoder, body)
    for name in decoding.decode_outer(_members, body):
        if name not in known:
            shown = name[: mismatch.SHOWN]
            raise ApiError("invalid_request", f"Unknown parameter: '{shown}'.", shown)
    return value


def author(call: Call) -> dict[str, str]:
    """Return who asks, as a line of the diagnostics tells it."""
    entry = call.entry
    return {"req_id": entry.request_id, "key": entry.key or "", "client": entry.client}
