"""`GET /v1/streams/{id}`: the records of one request as the log has them, one a line.

The log is read on a thread, a block at a time, and few requests at once: whoever asks for a long
stream holds up neither the event loop nor the disk of the others. What is not the caller's is not
there: the answer does not tell whether the log has it. Whose a stream is its first record says,
and nothing beside the log.
"""

import asyncio
import datetime
from collections.abc import Iterator
from typing import Final

import structlog

from engine.log.find import catalog, resolver, stories
from engine.log.summary import rows, scan
from server.api import gates
from server.api.call import Call
from server.api.pace import Pace
from server.context import Context
from server.http.errors import ApiError

NDJSON: Final = ("content-type", "application/x-ndjson")

BLOCK_BYTES: Final = 1 << 17
"""About how much is read and written at a time."""

NAME_CHARACTERS: Final = 512
"""Characters of a name that is looked for: ids have some 40, and a client's own at most 128."""

_log = structlog.get_logger(component="streams")


async def stream(context: Context, call: Call) -> None:
    """Answer with the records of what the id means: several streams where a client sent one id
    several times, oldest first.

    Raises:
        ApiError: `not_found`, also for what is another key's, and for what was erased, of which
            its owner is told when; before the first record.
    """
    key = call.entry.key or ""
    owner = None if key == gates.ADMIN_KEY_NAME else key
    async with context.story_turns:
        found = await asyncio.to_thread(_find, context, call.tail, owner)
    blocks = _blocks(*found)
    block = await _read(context, blocks)
    if not block:
        raise _not_found()
    exchange, pace = call.exchange, Pace(call.exchange)
    exchange.start(200, [*call.headers, NDJSON, ("cache-control", "no-store")])
    while block and not pace.is_gone:
        exchange.write(block)
        await pace.wait()
        block = await _read(context, blocks)
    exchange.finish()


async def _read(context: Context, blocks: Iterator[bytes]) -> bytes:
    """Return the next block; empty behind the last. A turn is taken for each: a client that reads
    slowly must not keep it from the others."""
    async with context.story_turns:
        return await asyncio.to_thread(next, blocks, b"")


def _find(
    context: Context, name: str, owner: str | None
) -> tuple[catalog.Catalog, list[rows.Summary]]:
    """Return the streams of a name that a key has made, oldest first.

    Args:
        owner: name of the key; None: all may be seen.
    """
    directory = context.config.log_dir
    if context.log.content == "off" or len(name) > NAME_CHARACTERS:
        raise _not_found()
    try:
        log = catalog.Catalog(directory)
        having = [
            row
            for row in resolver.having(log, name)
            if owner is None or (row.key == owner and not row.is_life)
        ]
        exact = [row for row in having if name in catalog.ids_of(row)]
        if not exact and len(having) > 1:  # the beginning of several
            raise _not_found()
        own = sorted(exact or having, key=lambda row: row.t)
        erased = [row.purged for row in own if row.purged]
        if erased and len(erased) == len(own):
            raise _erased(max(erased))
        return log, [row for row in own if owner is None or _key_of(log, row) == owner]
    except OSError as error:
        _log.error("streams_not_read", error=str(error))
        raise _not_found() from None


def _key_of(log: catalog.Catalog, row: rows.Summary) -> str | None:
    """Return whose a stream is, by its first record; None where that is gone."""
    for _, _, line in stories.pieces(log, row):
        return scan.key_of(line)
    return None


def _blocks(log: catalog.Catalog, having: list[rows.Summary]) -> Iterator[bytes]:
    """Yield the records of streams, some at a time."""
    lines: list[bytes] = []
    size = 0
    for row in having:
        for _, _, line in stories.pieces(log, row):
            lines.append(line)
            size += len(line)
            if size >= BLOCK_BYTES:
                yield b"".join(lines)
                lines, size = [], 0
    yield b"".join(lines)


def _erased(at_us: int) -> ApiError:
    """The answer about a stream of the caller's of which only figures are left."""
    moment = datetime.datetime.fromtimestamp(at_us // 1_000_000, datetime.UTC)
    return ApiError("not_found", f"The records of this stream were erased at {moment:%FT%TZ}.")


def _not_found() -> ApiError:
    return ApiError("not_found", "No stream of yours has this id, or its records were deleted.")
