"""A response in the background: begun, kept, and answered for at once."""

import contextlib

import msgspec

from engine.store import store as responsestore
from machines import events
from server.api import answering, reply, sinks
from server.api.call import JSON
from server.http.errors import ApiError
from server.responses import creation
from server.responses.kept import keeping, runs
from server.responses.kept.runs import Run
from server.responses.render.stream import ResponseEvents


async def create(creating: creation.Creation) -> None:
    """Begin a response in the background, and answer with its present state.

    Raises:
        ApiError: for everything that is wrong with the request, or if it cannot be kept.
    """
    context, incoming, store = creating.context, creating.incoming, creating.context.store
    if store is None or not creating.keeps:
        message = "A response in the background must be kept: 'store' must not be false."
        raise ApiError("unsupported_parameter", message, "background")
    made: list[tuple[Run, responsestore.StoredResponse]] = []

    def place(
        opened: events.Opened, renderer: reply.Renderer
    ) -> tuple[sinks.Outlet, sinks.BeforeLast]:
        assert isinstance(renderer, ResponseEvents)
        run = Run(incoming.caller.key_id, renderer, creating.keep(opened, renderer))
        body = msgspec.json.encode(renderer.answer.begun())
        made.append((run, msgspec.structs.replace(creating.begun(opened), body=body)))
        return run, run.before_last

    stream = await answering.begin(
        context, incoming, creating.model, creating.read, creating.api, place
    )
    run, kept = made[0]
    run.begin(stream)
    runs.of(context).add(kept.response_id, run)
    try:
        with keeping.needed():
            await store.put(kept)
    except ApiError:
        run.cancel()
        raise
    await run.begun.wait()
    if run.refusal is not None:
        with contextlib.suppress(responsestore.StoreError):  # which was said and counted
            await store.delete(kept.response_id, incoming.caller.key_id)
        incoming.exchange.respond(run.refusal.status, run.refusal.headers, run.refusal.body)
    elif creating.request.stream:
        await run.follow(incoming.exchange, incoming.headers, -1)
    else:
        incoming.exchange.respond(200, [*incoming.headers, JSON], kept.body)
