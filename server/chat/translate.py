"""Reads a chat request for a worker that is given turns, field by field.

What Codex has no word for is done here, refused, or named to the client.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from engine import slices, worker
from server.api.options import AnswerOptions, SearchOptions, bytes_of, tier_of
from server.chat import output_mode, request as chatbodies, tool_fields
from server.config.settings import Config
from server.http import decoding, reading
from server.http.exchange import Headers

SEARCH: Final = "web_search_options"
"""The field by which a chat request lets the model search the web."""


def read(
    members: reading.Members, headers: Headers, config: Config
) -> slices.Steps[AnswerOptions]:
    """Read what a request asks of a worker that is given turns.

    Raises:
        ApiError: with the field at fault.
    """
    limit = config.max_input_items
    request, ignored = yield from chatbodies.parse(members, limit)
    wanted = tool_fields.read(request, config.enable_parallel_tool_calls)
    max_tokens = request.max_completion_tokens or request.max_tokens
    form = yield from chatbodies.answer_form(request)
    tier, unheard = tier_of(request.service_tier)
    unshown: list[str] = []
    messages = form.told((yield from _messages(request.messages, limit, unshown)))
    mode = yield from output_mode.choose(
        headers, output_mode.has_tags(texts(messages)), config.output_mode
    )
    return AnswerOptions(
        model=request.model or "",
        stream=bool(request.stream),
        include_usage=chatbodies.wants_usage(request.stream, request.stream_options),
        n=request.n or 1,
        output_mode=mode,
        tools=wanted.tools,
        call_required=wanted.required,
        parallel_calls=wanted.parallel,
        most_calls=config.tool_block_max if wanted.parallel else 1,
        legacy=wanted.legacy,
        stop=chatbodies.stop_sequences(request),
        max_bytes=bytes_of(max_tokens),
        effort=request.reasoning_effort,
        verbosity=request.verbosity,
        service_tier=tier,
        search=_search(request.web_search_options),
        output_schema=form.schema,
        conversation=request.prompt_cache_key or "",
        messages=messages,
        ignored=(*ignored, *unheard, *wanted.ignored, *unshown)[: decoding.IGNORED_MAX],
        emulated=("response_format",) if form.instruction else (),
    )


def _search(given: dict[str, msgspec.Raw] | None) -> SearchOptions | None:
    if given is None:
        return None
    said = (name for name, value in given.items() if decoding.is_active(value))
    unheard = tuple(f"{SEARCH}.{name}" for name in said if name.isidentifier() and name.isascii())
    return SearchOptions((SEARCH,), unheard)


def texts(messages: tuple[worker.Message, ...]) -> Iterator[str]:
    """Yield every text of a conversation."""
    parts = (part for message in messages for part in message.parts)
    return (part.text for part in parts if isinstance(part, worker.TextPart))


def _messages(
    given: list[chatbodies.ChatMessage], limit: int, unshown: list[str]
) -> slices.Steps[tuple[worker.Message, ...]]:
    """Translate the messages for a worker, with at most `limit` parts and calls each; the paths of
    parts that no model is shown are added to `unshown`."""
    found = []
    parts = calls = 0
    for index, message in enumerate(given):
        parts += len(message.content) if isinstance(message.content, list) else 0
        decoding.check_count(f"messages[{index}].content", parts, limit)
        calls += len(message.tool_calls or ())
        decoding.check_count(f"messages[{index}].tool_calls", calls, limit)
        found.append((yield from _message(index, message, unshown)))
    return tuple(found)


def _message(
    index: int, message: chatbodies.ChatMessage, unshown: list[str]
) -> slices.Steps[worker.Message]:
    content = message.content or ""
    parts: list[worker.Part] = []
    if isinstance(content, str):
        content = [chatbodies.TextContent(content)] if content else []
    for at, part in enumerate(content):
        path = f"messages[{index}].content[{at}]"
        if isinstance(part, chatbodies.ThinkingContent):
            unshown.append(path)
        else:
            parts.append(_part(part, path))
        yield
    if message.refusal:
        parts.append(worker.RefusalPart(message.refusal))
    calls = yield from tool_fields.calls(message)
    return worker.Message(message.role, tuple(parts), message.name, calls, message.tool_call_id)


def _part(part: chatbodies.ShownContent, param: str) -> worker.Part:
    match part:
        case chatbodies.TextContent(text):
            return worker.TextPart(text)
        case chatbodies.ImageContent():
            return worker.ImagePart(part.url, param)
        case chatbodies.AudioContent():
            return worker.OtherPart("input_audio", param)
        case chatbodies.FileContent():
            return worker.OtherPart("file", param)
        case chatbodies.RefusalContent(refusal):
            return worker.RefusalPart(refusal)
