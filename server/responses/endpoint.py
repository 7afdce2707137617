"""`/v1/responses`: an answer in motion, and what was kept of earlier ones."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs

import msgspec

from engine import slices
from engine.store import store as responsestore
from machines import parse
from server.api import answering
from server.api.call import JSON, Call
from server.api.incoming import receive
from server.context import Context
from server.http.decoding import invalid
from server.http.errors import ApiError
from server.responses import background, creation
from server.responses.kept import keeping, runs

PAGE: Final = 20
"""Items of a page where the request does not say how many. Source: the API's own default."""

PAGE_MAX: Final = 100
"""Most items of a page. Source: the API's own limit."""

END_LOST: Final = "The end of the response could not be kept."
"""The error of a response that is unfinished in the store, and that nobody makes any more."""

UNFINISHED: Final = ("in_progress", "queued")
"""The statuses of a response that is being made."""

Query = dict[str, list[str]]


class _Background(msgspec.Struct):
    """The member of a kept response that says whether it was made in the background."""

    background: bool


_backgrounds: Final = msgspec.json.Decoder(_Background)


async def create(context: Context, call: Call) -> None:
    """Answer `POST /v1/responses`."""
    incoming = await receive(context, call)
    if incoming is None:
        return
    creating = await creation.read(context, incoming)
    if creating.request.background:
        await background.create(creating)
    else:
        await answering.answer(
            context, incoming, creating.model, creating.read, creating.api, creating.keep
        )


async def retrieve(context: Context, call: Call) -> None:
    """Answer `GET` and `DELETE /v1/responses/{id}`."""
    query = _query(call)
    if call.exchange.request.method == "DELETE":
        await _delete(context, call)
    elif "true" in query.get("stream", ()):
        await _follow(context, call, query)
    else:
        kept = await _kept(context, call)
        call.exchange.respond(200, [*call.headers, JSON], kept.body)


async def cancel(context: Context, call: Call) -> None:
    """Answer `POST /v1/responses/{id}/cancel`."""
    run = runs.of(context).find(call.tail, call.caller.key_id)
    if run is not None:
        run.cancel()
        await run.over.wait()
    kept = await _kept(context, call)
    if not parse.parse(kept.body, _backgrounds).background:
        message = "Only a response that is made in the background can be cancelled."
        raise ApiError("invalid_request", message)
    call.exchange.respond(200, [*call.headers, JSON], kept.body)


async def input_items(context: Context, call: Call) -> None:
    """Answer `GET /v1/responses/{id}/input_items`."""
    kept = await _kept(context, call)
    query = _query(call)
    limit = _number(query, "limit", PAGE, 1, PAGE_MAX)
    items = kept.input if _order(query) == "asc" else kept.input[::-1]
    start = 0
    if "after" in query:
        start = 1 + await slices.in_slices(_place(items, query["after"][0]))
    page = items[start : start + limit]
    listed = {
        "object": "list",
        "data": page,
        "first_id": responsestore.item_id(page[0]) if page else None,
        "last_id": responsestore.item_id(page[-1]) if page else None,
        "has_more": len(items) > start + limit,
    }
    call.answer(200, listed)


async def _follow(context: Context, call: Call, query: Query) -> None:
    """Stream a response that is made in the background, from a cursor on."""
    run = runs.of(context).find(call.tail, call.caller.key_id)
    if run is None:
        await _kept(context, call)
        message = "Only a response that is made in the background, or just was, can be streamed."
        raise ApiError("invalid_request", message, "stream")
    after = _number(query, "starting_after", -1, 0, 1 << 53)
    await run.follow(call.exchange, call.headers, after)


async def _delete(context: Context, call: Call) -> None:
    run = runs.of(context).find(call.tail, call.caller.key_id)
    if run is not None:
        run.cancel()
        await run.over.wait()
    store = context.store
    with keeping.needed():
        if store is None or not await store.delete(call.tail, call.caller.key_id):
            raise _missing(call)
    runs.of(context).forget(call.tail)
    call.answer(200, {"id": call.tail, "object": "response", "deleted": True})


async def _kept(context: Context, call: Call) -> responsestore.StoredResponse:
    """Return the response of the path, if it is the caller's."""
    store = context.store
    with keeping.needed():
        kept = None if store is None else await store.get(call.tail, call.caller.key_id)
    if kept is None:
        raise _missing(call)
    run = runs.of(context).find(call.tail, call.caller.key_id)
    if run is not None and run.response is not None:  # which its end may not have been kept of
        kept = msgspec.structs.replace(kept, body=msgspec.json.encode(run.response))
    elif run is None and kept.status in UNFINISHED:
        body = responsestore.failed(kept.body, END_LOST)
        kept = msgspec.structs.replace(kept, status="failed", body=body)
    return kept


def _missing(call: Call) -> ApiError:
    message = f"Response with id '{call.tail[:100]}' not found."
    return ApiError("response_not_found", message)


def _query(call: Call) -> Query:
    return parse_qs(call.exchange.request.query)


def _number(query: Query, name: str, usual: int, least: int, most: int) -> int:
    """Return a whole number of the query."""
    if name not in query:
        return usual
    given = query[name][0]
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise invalid(name, "it must be a whole number")
    if not least <= int(given) <= most:
        raise invalid(name, f"it must be from {least} to {most}")
    return int(given)


def _order(query: Query) -> str:
    """Return how a list is ordered: the newest first, as the API has it, unless the query says
    otherwise."""
    given = query.get("order", ["desc"])[0]
    if given not in ("asc", "desc"):
        raise invalid("order", "it must be asc or desc")
    return given


def _place(items: Sequence[msgspec.Raw], item_id: str) -> slices.Steps[int]:
    for index, item in enumerate(items):
        if responsestore.item_id(item) == item_id:
            return index
        yield
    raise invalid("after", "the response has no such item")
