"""What a chat request asks of a worker that is given the request itself.

Only that is read which the server acts on; everything else is the upstream's to judge. So nothing
here is refused for a field that the upstream may well understand.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from engine import worker
from server import bodies, decoding, outputmode
from server.asked import Asked
from server.http import Headers
from server.settings import Config


class PassedOn(msgspec.Struct):
    """A request, as far as it matters here."""

    messages: Annotated[list[Any], Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: bodies.StreamOptions | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None


_decoder = msgspec.json.Decoder(PassedOn)


def read(body: bytes, headers: Headers, config: Config) -> Asked:
    """What is asked.

    Raises:
        ApiError: with the field at fault, as far as the server needs it.
    """
    request = decoding.decode(_decoder, body)
    n = request.n or 1
    return Asked(
        model=decoding.model_of(request.model),
        stream=bool(request.stream),
        include_usage=bodies.wants_usage(request.stream, request.stream_options),
        n=n,
        output_mode=outputmode.choose(headers, _texts(request.messages), config.output_mode),
        tools=tuple(worker.Tool(name) for name in _names(request)),
        most_calls=config.tool_block_max if config.enable_parallel_tool_calls else 1,
        # Where both stand, the newer form is what upstreams answer.
        legacy=bool(request.functions) and not request.tools,
        choices_a_turn=n,
    )


def _names(request: PassedOn) -> Iterator[str]:
    """Names of the declared functions: blocks in the text may call them too."""
    wrapped = (_member(tool, "function") for tool in request.tools or ())
    for function in (*wrapped, *(request.functions or ())):
        name = _member(function, "name")
        if isinstance(name, str):
            yield name


def _texts(messages: Iterable[Any]) -> Iterator[str]:
    for message in messages:
        content = _member(message, "content")
        parts = content if isinstance(content, list) else [{"text": content}]
        for part in parts:
            text = _member(part, "text")
            if isinstance(text, str):
                yield text


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
