"""From what a request asks to a stream in motion: what all endpoints that answer share."""

import asyncio
import operator
import secrets
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from engine import containment, slices, worker
from engine.log import event_log as eventlog
from engine.log.content import keptrequest
from engine.routing import fallback as engine_fallback, fleet as routing, limits
from engine.stream import estimate, pump
from machines import events, tooloptions
from server import permits, version
from server.access.entry import MODEL_CHARACTERS, StreamEnd
from server.api import fallback, parameters, promptsize, ratelimit
from server.api.gates import check_life
from server.api.incoming import IncomingRequest
from server.api.options import AnswerOptions
from server.api.owntime import OwnTime
from server.api.reply import Renderer
from server.api.sinks import BeforeLast, Outlet, Sink, at_once
from server.context import Context, stop_after_tools, suppresses_tail, target_deadlines
from server.http.errors import ApiError
from server.http.exchange import HeaderList, Request
from server.keys.keyring import Grant

NO_KEEPALIVE_AGENTS: Final = ("obsidian", "electron")
"""Parts of user agents, in lower case, whose stream readers fail on comments."""

ID_BYTES: Final = 12
"""The length of an id: so many are made before two are alike that nobody will see it."""


class Api(msgspec.Struct, frozen=True):
    """The facts that set the answers of one endpoint apart.

    Attributes:
        endpoint: its name in the log.
        id_prefix: how the ids of its answers begin.
        prompt_field: of a request: what is too long when the prompt is.
        may_be_empty: whether a stream without any event is one that clients take as an answer.
        repeats: whether an answer repeats parts of its request: it cannot be made again from a
            log that has not kept them.
        renderer: makes what turns a stream's outputs into bytes.
    """

    endpoint: str
    id_prefix: str
    prompt_field: str
    may_be_empty: bool
    repeats: bool
    renderer: Callable[[events.Opened], Renderer]


Keep = Callable[[events.Opened, Renderer], BeforeLast]
"""Makes the step that keeps an answer, to be taken before its client learns that it is whole."""

Place = Callable[[events.Opened, Renderer], tuple[Outlet, BeforeLast]]
"""Chooses where an answer goes, and the step to be taken before its last piece goes there."""


async def answer(
    context: Context,
    incoming: IncomingRequest,
    model: str,
    read: fallback.Read,
    api: Api,
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
    exchange.on_gone = lambda cause: running.event(events.ClientGone(cause))
    exchange.on_pressure = running.pressed
    exchange.on_relief = running.relieved
    try:
        await exchange.finished()
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
    api: Api,
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
    stream_id, completion_id = _fresh_ids(api)
    _check_limits(context, incoming, options, api)
    turns = _turns(context, incoming, options, route[0], stream_id)
    checked = await fallback.check(route, turns)
    content = context.log_content.of(incoming.entry.key)
    kept = await slices.in_slices(
        keptrequest.keep(incoming.members, content, context.hash_key, context.known)
    )
    sizes = await slices.in_slices(promptsize.of_prompts(options))
    opened = _opened(context, incoming, options, api, route, kept, completion_id, sizes)
    parameters.note(incoming.entry, incoming.members)
    readings = await fallback.readings(route, options, read)

    def prepare(target: routing.Target) -> engine_fallback.TargetRequest:
        reading = readings[target.name]
        if isinstance(reading, ApiError):
            raise worker.TurnRefused(reading.code, reading.message, reading.param)
        return _prepare(context, incoming, reading, target, opened, stream_id)

    headers = [*incoming.headers, *_headers(options, opened, stream_id)]
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


def _fresh_ids(api: Api) -> tuple[str, str]:
    """The ids of a stream and of its answer, each of 96 bits that the system is asked for once."""
    digits = secrets.token_hex(2 * ID_BYTES)
    return f"st_{digits[: 2 * ID_BYTES]}", f"{api.id_prefix}{digits[2 * ID_BYTES :]}"


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
        _turns(context, incoming, options, target, stream_id), bounds
    )


def _tool_options(
    context: Context, request: Request, options: AnswerOptions
) -> tooloptions.ToolOptions:
    """Return what the machine and the renderer need to know of tool calls."""
    config = context.config
    made = tooloptions.ToolOptions(
        names=tuple(tool.name for tool in options.tools),
        output_mode=options.output_mode,
        legacy=options.legacy,
        max_calls=options.most_calls,
        call_limit=config.max_tool_calls,
        dedup=config.tool_block_dedup,
        delimiter=config.tool_block_delimiter or "",
        stop_after=stop_after_tools(config),
        suppress_tail=suppresses_tail(config, options.output_mode),
        sse_comments=_takes_comments(request),
        shapes=options.tool_shapes,
    )
    # A record leaves out what is the default itself, not what merely equals it.
    return tooloptions.NO_TOOLS if made == tooloptions.NO_TOOLS else made


def _takes_comments(request: Request) -> bool:
    """Return whether a stream may hold comments; some clients ask for none, some fail on them."""
    agent = (request.headers.get("user-agent") or "").lower()
    asked = request.headers.get("x-no-keepalive") == "1" or "no_keepalive=1" in (
        request.query.split("&")
    )
    return not asked and not any(name in agent for name in NO_KEEPALIVE_AGENTS)


def _check_limits(
    context: Context, incoming: IncomingRequest, options: AnswerOptions, api: Api
) -> None:
    """Refuse a request that asks for more than the operator allows."""
    config = context.config
    if options.n > config.max_chat_choices:
        message = f"Invalid value for 'n': at most {config.max_chat_choices} choices."
        raise ApiError("invalid_request", message, "n")
    own = incoming.caller.grant.account.permits.limit
    for most, whose in ((context.permits.limit * options.stream, "server"), (own, "API key")):
        if 0 < most < options.n:
            message = (
                f"Invalid value for 'n': this {whose} has at most {most} streams open at once."
            )
            raise ApiError("invalid_request", message, "n")
    limit = config.max_prompt_tokens
    if limit and len(incoming.body) > limit * estimate.BYTES_PER_TOKEN:
        message = f"This server takes prompts of at most {limit} tokens."
        raise ApiError("context_length_exceeded", message, api.prompt_field)


def _opened(
    context: Context,
    incoming: IncomingRequest,
    options: AnswerOptions,
    api: Api,
    route: tuple[routing.Target, ...],
    kept: keptrequest.Kept,
    completion_id: str,
    sizes: tuple[int, ...],
) -> events.Opened:
    config = context.config
    target = route[0]
    comparable = kept.repeatable or not api.repeats
    return events.Opened(
        request_id=incoming.caller.request_id,
        completion_id=completion_id,
        created=context.log.now() // 1_000_000,
        model=options.model,
        target=target.model,
        effort=options.effort or target.effort,
        worker=target.worker.kind.name,
        endpoint=api.endpoint,
        n=options.n,
        streaming=options.stream,
        include_usage=options.include_usage,
        stop=options.stop,
        max_bytes=options.max_bytes,
        prompt_bytes=sum(sizes),
        prompt_sizes=sizes if len(sizes) > 1 else (),
        metrics_since=context.log.now() if config.enable_request_metrics else None,
        key=incoming.entry.key or "",
        length_on_worker_exit=config.worker_exit == "length",
        empty_is_failure=not api.may_be_empty or config.empty_upstream == "error",
        stored=options.stored,
        empty_message=options.empty_message,
        tools=_tool_options(context, incoming.exchange.request, options),
        hash_key=context.hash_key.hex() if comparable else None,
        request=kept.request,
        versions={
            "turntape": version.VERSION,
            "python": ".".join(map(str, sys.version_info[:3])),
            **{name: text for each in route for name, text in each.worker.versions().items()},
        },
    )


def _turns(
    context: Context,
    incoming: IncomingRequest,
    options: AnswerOptions,
    target: routing.Target,
    stream_id: str,
) -> tuple[worker.Turn, ...]:
    prompts = options.prompts or (options,)
    return tuple(
        worker.Turn(
            stream_id=stream_id,
            request_id=incoming.caller.request_id,
            target=target.model,
            messages=prompts[choice * len(prompts) // options.n].messages,
            body=prompts[choice * len(prompts) // options.n].body,
            choice=choice,
            choices=options.choices_a_turn,
            effort=options.effort or target.effort,
            output_schema=options.output_schema,
            tools=options.tools,
            call_required=options.call_required,
            parallel_calls=options.parallel_calls,
            reasoning_items=options.reasoning_items,
            separate_items=options.separate_items,
            reasoning_summary=options.reasoning_summary,
            conversation=options.conversation,
            transcript=incoming.exchange.request.headers.get("x-turntape-transcript"),
            key_id=incoming.caller.key_id,
            known=context.known,
            trace_headers=incoming.entry.trace_headers,
        )
        for choice in range(0, options.n, options.choices_a_turn)
    )


def _headers(options: AnswerOptions, opened: events.Opened, stream_id: str) -> HeaderList:
    headers = [("x-turntape-stream", stream_id)]
    if options.ignored:
        headers.append(("x-turntape-ignored", ", ".join(options.ignored)))
    if options.emulated:
        headers.append(("x-turntape-emulated", ", ".join(options.emulated)))
    if opened.tools.stop_after is not None:
        headers.append(("x-codex-stop-after-tools-mode", opened.tools.stop_after))
    return headers


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
