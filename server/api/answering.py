"""From what a request asks to a stream in motion: what all endpoints that answer share."""

import asyncio
import operator
from collections.abc import Awaitable, Callable

from engine import containment, slices, worker
from engine.log import event_log as eventlog
from engine.log.content import keptrequest
from engine.routing import fallback as engine_fallback, fleet as routing, limits
from engine.stream import estimate, pump
from machines import events
from server import permits
from server.access.entry import MODEL_CHARACTERS, StreamEnd
from server.api import fallback, opening, parameters, promptsize, ratelimit
from server.api.gates import check_life
from server.api.incoming import IncomingRequest
from server.api.options import AnswerOptions
from server.api.owntime import OwnTime
from server.api.reply import Renderer
from server.api.sinks import BeforeLast, Outlet, Sink, at_once
from server.context import Context, target_deadlines
from server.http.errors import ApiError
from server.http.exchange import Exchange
from server.keys.keyring import Grant

Keep = Callable[[events.Opened, Renderer], BeforeLast]
"""Makes the step that keeps an answer, to be taken before its client learns that it is whole."""

Place = Callable[[events.Opened, Renderer], tuple[Outlet, BeforeLast]]
"""Chooses where an answer goes, and the step to be taken before its last piece goes there."""


async def answer(
    context: Context,
    incoming: IncomingRequest,
    model: str,
    read: fallback.Read,
    api: opening.Api,
    keep: Keep | None = None,
) -> None:
    """Answer one request, to its end.

    Args:
        model, read: as `begin` has them.

    Raises:
        ApiError: for everything that is wrong with the request itself.
    """
    exchange = incoming.exchange

    def place(opened: events.Opened, rendered: Renderer) -> tuple[Outlet, BeforeLast]:
        return exchange, at_once if keep is None else keep(opened, rendered)

    running = await begin(context, incoming, model, read, api, place)
    await attend(exchange, running, exchange.finished())


async def attend(
    exchange: Exchange,
    running: pump.Pump,
    over: Awaitable[object],
    on_gone: Callable[[], None] = lambda: None,
) -> None:
    """Tell a stream what becomes of its client, until its answer is over.

    Args:
        over: waits for that.
        on_gone: called where the client has left, after the stream was told.
    """

    def gone(cause: events.GoneCause) -> None:
        running.event(events.ClientGone(cause))
        on_gone()

    exchange.on_gone = gone
    exchange.on_pressure, exchange.on_relief = running.pressed, running.relieved
    try:
        await over
    except asyncio.CancelledError:
        running.event(events.ServerStopping())  # the connection was cut, and nobody said so
        raise
    finally:
        # The exchange and the stream know each other: parted, they go without a collection.
        exchange.on_gone = exchange.on_pressure = exchange.on_relief = None


async def begin(
    context: Context,
    incoming: IncomingRequest,
    model: str,
    read: fallback.Read,
    api: opening.Api,
    place: Place,
) -> pump.Pump:
    """Read a request for its targets, open its stream, and set that in motion.

    Args:
        model: the name of it in the request, which may be wrong in any way.
        read: reads the request for a target: for the first, and for each that may stand in.

    Raises:
        ApiError: for everything that is wrong with the request itself.
    """
    incoming.entry.model = model[:MODEL_CHARACTERS]
    route, options = await read_for_first(context, incoming.caller.grant, model, read)
    stream_id, completion_id = opening.fresh_ids(api)
    _check_limits(context, incoming, options, api)
    turns = opening.turns(context, incoming, options, route[0], stream_id)
    checked = await fallback.check(route, turns)
    content = context.log_content.of(incoming.entry.key)
    kept = await slices.in_slices(
        keptrequest.keep(incoming.members, content, context.hash_key, context.known)
    )
    sizes = await slices.in_slices(promptsize.of_prompts(options))
    opened = opening.opened(context, incoming, options, api, route, kept, completion_id, sizes)
    parameters.note(incoming.entry, incoming.members)
    readings = await fallback.readings(route, options, read)

    def prepare(target: routing.Target) -> engine_fallback.TargetRequest:
        reading = readings[target.name]
        if isinstance(reading, ApiError):
            raise worker.TurnRefused(reading.code, reading.message, reading.param)
        return _prepare(context, incoming, reading, target, opened, stream_id)

    headers = [*incoming.headers, *opening.headers(options, route[0], opened, stream_id)]
    rendered = api.renderer(opened)
    outlet, before_last = place(opened, rendered)
    own_time = OwnTime(context.log.now, incoming.received, incoming.entry)
    sink = Sink(outlet, rendered, headers, context.hash_key, before_last, own_time)
    log = context.log.stream(stream_id, content)
    running, permit = _pump(context, incoming, opened, log, sink, route)
    try:
        notice = fallback.Notice(opened, incoming.entry, sink.set_header)
        first_chunk = context.deadlines.first_chunk
        runner = fallback.runner(route, checked, prepare, first_chunk, notice)
        if isinstance(permit, events.TurnFailed):
            running.event(permit)
        else:
            own_time.asked()
            for turn in turns:
                running.run(runner, turn)
    except Exception as error:  # from here on the stream answers, not the handler
        running.broke(containment.Boundary.REQUEST, error)
    return running


def _pump(
    context: Context,
    incoming: IncomingRequest,
    opened: events.Opened,
    log: eventlog.StreamLog,
    sink: Sink,
    route: tuple[routing.Target, ...],
) -> tuple[pump.Pump, permits.Permit | events.TurnFailed]:
    """Take the permit of a stream, and make its pump, which gives it back at its end; at once, if
    it never begins."""
    before = context.permits.taken
    permit = ratelimit.permit(context, incoming.caller.grant, opened)
    try:
        if context.config.test_endpoints and opened.streaming:
            for name, count in context.permits.counts(before).items():
                sink.set_header(f"x-conc-{name}", str(count))
        running = pump.Pump(
            opened,
            log,
            sink,
            context.wakeups,
            target_deadlines(context.deadlines, opened, route),
            _on_end(context, incoming, opened, log.id, permit),
        )
    except Exception:
        if isinstance(permit, permits.Permit):
            permit.release()
        raise
    context.streams[log.id] = running
    return running, permit


async def read_for_first(
    context: Context, grant: Grant, model: str, read: fallback.Read
) -> tuple[tuple[routing.Target, ...], AnswerOptions]:
    """Return the targets of a model's name, and the request as it is read for the first of them.

    What else is wrong with a request is told before its model is said to be unknown.
    """
    # To a key that may not ask for it a model does not exist, as in the list of models.
    route = context.fleet.route(model) if grant.allows(model) else ()
    options = await slices.in_slices(read(route[0] if route else context.fleet.nobody(model)))
    check_life(context)  # which may have changed meanwhile
    if not route:
        message = f"The model '{model}' does not exist or you do not have access to it."
        raise ApiError("model_not_found", message, "model")
    return route, options


def _prepare(
    context: Context,
    incoming: IncomingRequest,
    options: AnswerOptions,
    target: routing.Target,
    opened: events.Opened,
    stream_id: str,
) -> engine_fallback.TargetRequest:
    """Make the request to a target that stands in."""
    kept = (options.stop, options.max_bytes) == (opened.stop, opened.max_bytes)
    bounds = limits.NONE if kept else limits.Limits(options.stop, options.max_bytes)
    return engine_fallback.TargetRequest(
        opening.turns(context, incoming, options, target, stream_id), bounds
    )


def _check_limits(
    context: Context, incoming: IncomingRequest, options: AnswerOptions, api: opening.Api
) -> None:
    """Refuse a request that asks for more than the operator allows."""
    config = context.config
    asked_by = api.prompt_field if options.prompts else "n"
    if options.n > config.max_chat_choices:
        message = f"Invalid value for 'n': at most {config.max_chat_choices} choices."
        raise ApiError("invalid_request", message, "n")
    own = incoming.caller.grant.account.permits.limit
    for most, whose in ((context.permits.limit * options.stream, "server"), (own, "API key")):
        if 0 < most < options.n:
            message = (
                f"Invalid value for '{asked_by}': this {whose} has at most {most} streams open "
                "at once, one for each choice."
            )
            raise ApiError("invalid_request", message, asked_by)
    limit = config.max_prompt_tokens
    if limit and len(incoming.body) > limit * estimate.BYTES_PER_TOKEN:
        message = f"This server takes prompts of at most {limit} tokens."
        raise ApiError("context_length_exceeded", message, api.prompt_field)


def _on_end(
    context: Context,
    incoming: IncomingRequest,
    opened: events.Opened,
    stream_id: str,
    permit: permits.Permit | events.TurnFailed,
) -> Callable[[events.Terminal], None]:
    """Make the callback for the end of a stream: it gives the permit back, charges the key and
    tells the access log."""
    entry, grant = incoming.entry, incoming.caller.grant

    def on_end(terminal: events.Terminal) -> None:
        running = context.streams.pop(stream_id, None)
        if isinstance(permit, permits.Permit):
            permit.release()

        def tell() -> None:
            failure = running.stream.failure if running is not None else None
            failed_with = (failure.status if failure is not None else None) or 0
            end = StreamEnd(stream_id, opened, terminal, failed_with)
            context.access.stream_ended(entry, end)

        steps = (lambda: ratelimit.charge(context, grant, running, terminal), tell)
        ids = {"req_id": entry.request_id, "stream": stream_id}
        containment.each(containment.Boundary.STREAM_END, operator.call, steps, **ids)

    return on_end
