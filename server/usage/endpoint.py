"""`GET /v1/usage` and `GET /v1/usage/raw`: who may see what, and the two forms of an answer."""

from collections.abc import AsyncIterator
from typing import Any, Final

from engine import slices
from engine.log.summary import rows
from server.api import gates
from server.api.call import Call
from server.api.pace import Pace
from server.context import Context
from server.http.errors import ApiError
from server.usage import lines, query
from server.usage.selection import Selection
from server.usage.sums import Grouped

NDJSON: Final = ("content-type", "application/x-ndjson")

COMPLETE: Final = "x-turntape-usage-complete"
"""Header of the lines: whether all that had ended was there to be sent."""

SEES_ALL: Final = ("", gates.ADMIN_KEY_NAME)
"""Keys that see the requests of all: none at all where none is needed, and the operator's. The one
key of a server does too; where there are others, each sees its own."""


async def usage(context: Context, call: Call) -> None:
    """Answer `GET /v1/usage` with sums.

    Raises:
        ApiError: `invalid_request`, `usage_not_kept` or `usage_unavailable`.
    """
    asked = query.read(call.exchange.request.query, query.OF_SUMS)
    selection = _selection(context, call, asked)
    async with context.usage_turns:
        await selection.settle()
        grouped = Grouped(asked.groups)
        own = slices.Slice()
        async for block in selection.blocks():
            for row in block:
                grouped.add(row)
                if own.spent:
                    await own.pause()
    assert asked.limit is not None, "sums have one"
    answer: dict[str, Any] = {
        "object": "usage",
        "start": asked.start // query.MICROSECONDS,
        "end": None if asked.end is None else asked.end // query.MICROSECONDS,
        "complete": selection.is_complete,
        **await slices.in_slices(grouped.shown(asked.limit)),
    }
    call.answer(200, answer)


async def raw(context: Context, call: Call) -> None:
    """Answer `GET /v1/usage/raw` with a line for each request.

    Raises:
        ApiError: as `usage`, before the first line; later the connection is cut.
    """
    asked = query.read(call.exchange.request.query, query.OF_LINES)
    selection = _selection(context, call, asked)
    await selection.settle()
    blocks = selection.blocks()
    # Which files there are is known with the first block, and so in time for the header.
    block = await _next(context, selection, blocks)
    exchange = call.exchange
    pace = Pace(exchange)
    complete = "true" if selection.is_complete else "false"
    exchange.start(
        200, [*call.headers, NDJSON, (COMPLETE, complete), ("cache-control", "no-store")]
    )
    left = asked.limit
    while block is not None:
        chosen = block if left is None else block[:left]
        if chosen:
            exchange.write(await slices.in_slices(_joined(chosen)))
            await pace.wait()
        if left is not None:
            left -= len(chosen)
        if left == 0 or pace.is_gone:
            break
        block = await _next(context, selection, blocks)
    if complete == "true" and selection.lacks_lines and not pace.is_gone:
        raise ApiError("usage_unavailable", "Some lines cannot be read.")
    exchange.finish()


async def _next(
    context: Context, selection: Selection, blocks: AsyncIterator[list[rows.Summary]]
) -> list[rows.Summary] | None:
    """Return the next rows; None behind the last. Where the log is read for them a turn is taken,
    and not for longer than that: a client may read slowly."""
    block = await anext(blocks, None)
    if not block or not selection.reads_log:
        return block
    async with context.usage_turns:
        return await selection.held(block)


def _joined(chosen: list[Any]) -> slices.Steps[bytes]:
    made = []
    for row in chosen:
        made.append(lines.line(row))
        yield
    return b"".join(made)


def _selection(context: Context, call: Call, asked: query.Query) -> Selection:
    summaries = context.log.summaries
    if summaries is None:
        message = (
            "No usage is kept: PROXY_EVENT_LOG is off. With 'masked' it is, without contents."
        )
        raise ApiError("usage_not_kept", message)
    name = call.entry.key or ""
    is_only = name == gates.KEY_NAME and context.config.api_keys_file is None
    return Selection(summaries, asked, None if is_only or name in SEES_ALL else name)
