"""Reads a chat request for a worker that is given turns, field by field.

What Codex has no word for is done here, refused, or named to the client.
"""

from collections.abc import Iterator
from typing import Final

from engine import slices, worker
from server.api.options import AnswerOptions, bytes_of
from server.chat import output_mode, request as chatbodies, tool_fields
from server.config.settings import Config
from server.http import decoding, reading
from server.http.exchange import Headers

JSON_INSTRUCTION: Final = "Answer with a single JSON object and nothing else."
"""The instruction in place of `response_format: json_object`, which Codex does not have."""


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
    as_json = request.response_format is not None and request.response_format.type == "json_object"
    messages = yield from _messages(request.messages, limit)
    if as_json:
        messages = (*messages, worker.Message("developer", (worker.TextPart(JSON_INSTRUCTION),)))
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
        output_schema=chatbodies.output_schema(request),
        messages=messages,
        ignored=(*ignored, *wanted.ignored)[: decoding.IGNORED_MAX],
        emulated=("response_format",) if as_json else (),
    )


def texts(messages: tuple[worker.Message, ...]) -> Iterator[str]:
    """Yield every text of a conversation."""
    parts = (part for message in messages for part in message.parts)
    return (part.text for part in parts if isinstance(part, worker.TextPart))


def _messages(
    given: list[chatbodies.ChatMessage], limit: int
) -> slices.Steps[tuple[worker.Message, ...]]:
    """Translate the messages for a worker, with at most `limit` parts and calls each."""
    found = []
    parts = calls = 0
    for index, message in enumerate(given):
        parts += len(message.content) if isinstance(message.content, list) else 0
        decoding.check_count(f"messages[{index}].content", parts, limit)
        calls += len(message.tool_calls or ())
        decoding.check_count(f"messages[{index}].tool_calls", calls, limit)
        found.append((yield from _message(index, message)))
    return tuple(found)


def _message(index: int, message: chatbodies.ChatMessage) -> slices.Steps[worker.Message]:
    content = message.content or ""
    parts: list[worker.Part] = []
    if isinstance(content, str):
        content = [chatbodies.TextContent(content)] if content else []
    for at, part in enumerate(content):
        parts.append(_part(part, f"messages[{index}].content[{at}]"))
        yield
    if message.refusal:
        parts.append(worker.RefusalPart(message.refusal))
    calls = yield from tool_fields.calls(message)
    return worker.Message(message.role, tuple(parts), message.name, calls, message.tool_call_id)


def _part(part: chatbodies.Content, param: str) -> worker.Part:
    match part:
        case chatbodies.TextContent(text):
            return worker.TextPart(text)
        case chatbodies.ImageContent(image):
            return worker.ImagePart(image.url, param)
        case chatbodies.AudioContent():
            return worker.OtherPart("input_audio", param)
        case chatbodies.FileContent():
            return worker.OtherPart("file", param)
        case chatbodies.RefusalContent(refusal):
            return worker.RefusalPart(refusal)
