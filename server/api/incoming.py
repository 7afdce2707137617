"""A request that wants an answer, once all of it has come."""

from collections.abc import Mapping

import msgspec

from engine import slices
from server.access.entry import Entry
from server.api import ratelimit
from server.api.call import JSON, Call
from server.api.gates import Caller, check_life
from server.context import Context
from server.http import reading
from server.http.exchange import Exchange, HeaderList


class IncomingRequest(msgspec.Struct, frozen=True):
    """A request that wants an answer, with its whole body.

    Attributes:
        headers: of every answer to it.
        entry: in the access log.
        body: as it came.
        members: of the body.
        received: when all of it was here, in microseconds of the log's clock.
        recent: conversations that its connection remembers, by the response that ends them.
    """

    exchange: Exchange
    caller: Caller
    headers: HeaderList
    entry: Entry
    body: bytes
    members: reading.Members
    received: int
    recent: Mapping[str, tuple[msgspec.Raw, ...]] = {}


async def receive(context: Context, call: Call) -> IncomingRequest | None:
    """Receive the body of a request that wants an answer; None for a HEAD, which is answered here.

    Raises:
        ApiError: it is not labelled as JSON, it is not a JSON object, the server takes no new
            work, or the key has used up a limit.
    """
    request = call.exchange.request
    if request.method == "HEAD":
        call.exchange.respond(200, [*call.headers, JSON], b"")
        return None
    call.expect_json()
    check_life(context)
    ratelimit.admit(context, call)
    body = await request.body()
    received = context.log.now()
    limit = context.config.max_input_items
    members = await slices.in_slices(reading.members_of(body, limit))
    return IncomingRequest(
        call.exchange, call.caller, call.headers, call.entry, body, members, received
    )
