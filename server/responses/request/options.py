"""Reads the options of a Responses request, as the rest of the server sees them."""

from typing import Final

import msgspec

from engine import slices, worker
from server.api import answerform
from server.api.options import AnswerOptions, bytes_of, tier_of
from server.chat import output_mode, tool_fields, translate
from server.config.settings import Config
from server.http import decoding
from server.http.exchange import Headers
from server.responses.request import body as responsesbodies, declarations, input_items

UNFORWARDED: Final = ("temperature", "top_p", "max_tool_calls", "truncation")
"""Fields that are checked and not forwarded: Codex has no such setting."""

USUAL: Final = {"truncation": "disabled"}
"""Values that ask for nothing, because they are what happens anyway."""

UNTRANSLATED: Final = ("max_tool_calls", "truncation")
"""Fields that are checked and not passed on: Chat Completions has no such field."""


def read(
    request: responsesbodies.ResponsesRequest,
    ignored: tuple[str, ...],
    messages: tuple[worker.Message, ...],
    headers: Headers,
    config: Config,
) -> slices.Steps[AnswerOptions]:
    """Read what a request asks of a worker that is given turns.

    Args:
        ignored: names of what nothing honours, whatever the worker.
        messages: the whole conversation.

    Raises:
        ApiError: with the field at fault.
    """
    if request.top_logprobs:
        raise decoding.unsupported("top_logprobs")
    included = (
        f"include[{index}]"
        for index, name in enumerate(request.include or ())
        if name == responsesbodies.LOGPROBS
    )
    options = yield from _of_any_worker(request, messages, headers, config)
    text = request.text or responsesbodies.TextOptions()
    form = yield from _form(text)
    tier, unheard = tier_of(request.service_tier)
    return msgspec.structs.replace(
        options,
        messages=form.told(messages),
        max_bytes=bytes_of(request.max_output_tokens),
        effort=request.reasoning.effort if request.reasoning else None,
        reasoning_summary=request.reasoning.summary if request.reasoning else None,
        verbosity=text.verbosity,
        service_tier=tier,
        search=request.search if _may_search(request) else None,
        output_schema=form.schema,
        conversation=request.prompt_cache_key or "",
        ignored=(*ignored, *_active(request, UNFORWARDED), *unheard, *included)[
            : decoding.IGNORED_MAX
        ],
        emulated=(*(("text.format",) if form.instruction else ()), *options.emulated)[
            : decoding.IGNORED_MAX
        ],
    )


def passthrough(
    request: responsesbodies.ResponsesRequest,
    ignored: tuple[str, ...],
    messages: tuple[worker.Message, ...],
    headers: Headers,
    config: Config,
) -> slices.Steps[AnswerOptions]:
    """Read what a request asks of a worker that is given the request itself, as `to_chat`
    translates it.

    Raises:
        ApiError: with the field at fault.
    """
    unread = (
        f"input[{index}]"
        for index, item in enumerate(request.items)
        if isinstance(item, input_items.Compaction)
    )
    unheard = ("reasoning.summary",) if request.reasoning and request.reasoning.summary else ()
    searches = request.search.paths if request.search is not None else ()
    names = (*searches, *ignored, *_active(request, UNTRANSLATED), *unheard, *unread)
    options = yield from _of_any_worker(request, messages, headers, config)
    return msgspec.structs.replace(options, ignored=names[: decoding.IGNORED_MAX])


def tools(request: responsesbodies.ResponsesRequest) -> tuple[worker.Tool, ...]:
    """Return the functions that the model may call, after the choice, in the order of their
    declaration.

    Raises:
        ApiError: for a name declared twice, and for a choice that nothing declared can satisfy.
    """
    return _chosen(request, _choice(request))


def _may_search(request: responsesbodies.ResponsesRequest) -> bool:
    """Return whether the choice among the tools leaves the search of the web."""
    match request.tool_choice:
        case responsesbodies.ToolChoice("allowed_tools", tools=list(allowed)):
            return any(tool.type.startswith(declarations.SEARCH) for tool in allowed)
        case responsesbodies.ToolChoice() | "none":
            return False
    return True


def _chosen(
    request: responsesbodies.ResponsesRequest, choice: tool_fields.Choice
) -> tuple[worker.Tool, ...]:
    declared = tool_fields.declared(request.offered.functions)
    return tool_fields.choose(declared, choice, "tool_choice", "tools")


def _choice(request: responsesbodies.ResponsesRequest) -> tool_fields.Choice:
    """Return how the model may choose among the tools."""
    match request.tool_choice:
        case responsesbodies.ToolChoice("function" | "custom", str(name), namespace):
            offered = request.offered.name(namespace, name)
            return tool_fields.Choice(frozenset((offered,)), required=True)
        case responsesbodies.ToolChoice("allowed_tools", mode=mode, tools=list(allowed)):
            names = (_names(request, tool) for tool in allowed)
            return tool_fields.Choice(frozenset().union(*names), mode == "required")
        case "none":
            return tool_fields.NONE
    return tool_fields.Choice(required=request.tool_choice == "required")


def _names(
    request: responsesbodies.ResponsesRequest, allowed: responsesbodies.NamedTool
) -> frozenset[str]:
    """Return the names by which the tools are offered that an entry of a choice allows.

    Raises:
        ApiError: for a namespace that has none.
    """
    if allowed.name is None or allowed.type not in responsesbodies.CALLABLE:
        return frozenset()
    if allowed.type == "namespace":
        inside = request.offered.inside(allowed.name)
        if not inside:
            named = f"no tool of a namespace '{allowed.name[:100]}' is in 'tools'"
            raise decoding.invalid("tool_choice", named)
        return inside
    return frozenset((request.offered.name(allowed.namespace, allowed.name),))


def _of_any_worker(
    request: responsesbodies.ResponsesRequest,
    messages: tuple[worker.Message, ...],
    headers: Headers,
    config: Config,
) -> slices.Steps[AnswerOptions]:
    """Read the options that any worker has."""
    parallel = request.parallel_tool_calls
    if parallel is None:
        parallel = config.enable_parallel_tool_calls
    choice = _choice(request)
    mentions = output_mode.has_tags(translate.texts(messages))
    mode = yield from output_mode.choose(headers, mentions, config.responses_output_mode)
    return AnswerOptions(
        model=request.model or "",  # which has been checked
        stream=bool(request.stream),
        include_usage=True,
        n=1,
        output_mode=mode,
        tools=_chosen(request, choice),
        tool_shapes=request.offered.shapes,
        emulated=request.offered.grammars[: decoding.IGNORED_MAX],
        call_required=choice.required,
        parallel_calls=parallel,
        most_calls=config.tool_block_max if parallel else 1,
        messages=messages,
    )


def _form(text: responsesbodies.TextOptions) -> slices.Steps[answerform.AnswerForm]:
    match text.format:
        case responsesbodies.JsonObjectFormat():
            return answerform.JSON_OBJECT
        case responsesbodies.JsonSchemaFormat(schema=schema, strict=strict):
            return (yield from answerform.by_schema(schema, strict))
    return answerform.FREE


def _active(request: responsesbodies.ResponsesRequest, fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the fields that ask for something."""
    values = ((field, getattr(request, field)) for field in fields)
    return tuple(field for field, value in values if value not in (None, USUAL.get(field)))
