"""The first record of a stream, and the turns that its request asks for."""

import secrets
import sys
from collections.abc import Callable
from typing import Final

import msgspec

from engine import worker
from engine.log.content import keptrequest
from engine.routing import fleet as routing
from machines import events, tooloptions
from server import version
from server.api.incoming import IncomingRequest
from server.api.options import AnswerOptions
from server.api.reply import Renderer
from server.context import Context, stop_after_tools, suppresses_tail
from server.http import decoding
from server.http.exchange import HeaderList, Request

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


def fresh_ids(api: Api) -> tuple[str, str]:
    """The ids of a stream and of its answer, each of 96 bits that the system is asked for once."""
    digits = secrets.token_hex(2 * ID_BYTES)
    return f"st_{digits[: 2 * ID_BYTES]}", f"{api.id_prefix}{digits[2 * ID_BYTES :]}"


def opened(
    context: Context,
    incoming: IncomingRequest,
    options: AnswerOptions,
    api: Api,
    route: tuple[routing.Target, ...],
    kept: keptrequest.Kept,
    completion_id: str,
    sizes: tuple[int, ...],
) -> events.Opened:
    """Make the first record of a stream.

    Args:
        kept: of the request, what the log may hold.
        sizes: of each prompt, in bytes.
    """
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


def turns(
    context: Context,
    incoming: IncomingRequest,
    options: AnswerOptions,
    target: routing.Target,
    stream_id: str,
) -> tuple[worker.Turn, ...]:
    """Make the turns that answer a request: each has as many of its choices as a target gives."""
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
            verbosity=options.verbosity,
            service_tier=options.service_tier,
            web_search=options.search.access if options.search and target.web_search else None,
            conversation=options.conversation,
            transcript=incoming.exchange.request.headers.get("x-turntape-transcript"),
            key_id=incoming.caller.key_id,
            known=context.known,
            trace_headers=incoming.entry.trace_headers,
        )
        for choice in range(0, options.n, options.choices_a_turn)
    )


def headers(
    options: AnswerOptions, target: routing.Target, opened: events.Opened, stream_id: str
) -> HeaderList:
    """Return the headers that tell what became of the request."""
    headers = [("x-turntape-stream", stream_id)]
    ignored = options.ignored
    if options.search is not None:
        unheard = options.search.unheard if target.web_search else options.search.paths
        ignored = unheard + ignored
    if ignored:
        ignored = ignored[: decoding.IGNORED_MAX]
        headers.append(("x-turntape-ignored", ", ".join(ignored)))
    if options.emulated:
        headers.append(("x-turntape-emulated", ", ".join(options.emulated)))
    if opened.tools.stop_after is not None:
        headers.append(("x-codex-stop-after-tools-mode", opened.tools.stop_after))
    return headers
