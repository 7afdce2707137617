"""The body of a completion request, and the chat requests that it stands for: one for a prompt.

What the two APIs have in common is left as it came, and read as chat's. The rest is done here, or
refused, or named to the client in a header.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from engine import slices
from server.http import decoding, reading
from server.http.errors import ApiError

COMMON: Final = (
    "model",
    "stream",
    "stream_options",
    "n",
    "stop",
    "max_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
    "user",
)
"""The fields that mean the same in a chat request."""


class CompletionRequest(msgspec.Struct):
    """The members of a request that are not chat's, or that decide how many answers there are."""

    model: str | None = None
    prompt: str | list[msgspec.Raw] | None = None
    suffix: str | None = None
    echo: bool | None = None
    logprobs: int | None = None
    best_of: Annotated[int, Meta(ge=1)] | None = None
    n: Annotated[int, Meta(ge=1)] | None = None


class Prompts(msgspec.Struct, frozen=True):
    """The prompts of a request, and how it is answered.

    Attributes:
        each: how many choices answer each of them.
        echo: whether an answer begins with its prompt.
        ignored: names of the request's fields that nothing honours.
    """

    texts: tuple[str, ...]
    each: int
    echo: bool
    ignored: tuple[str, ...]


_reader: Final = reading.reader(CompletionRequest)
_texts: Final = reading.reader(str)
_encode: Final = msgspec.json.encode


def parse(members: reading.Members, limit: int, most_choices: int) -> slices.Steps[Prompts]:
    """Read the prompts of a request.

    Args:
        limit: `PROXY_MAX_INPUT_ITEMS`.
        most_choices: `PROXY_MAX_CHAT_CHOICES`, for all prompts together.

    Raises:
        ApiError: `invalid_json`, `model_required`, `unsupported_parameter`,
            `array_above_max_length`, or `invalid_request` with the path of the field at fault.
    """
    request = yield from _reader.from_members(members, limit)
    decoding.model_of(request.model)
    _refuse_unsupported(request)
    each = request.n or 1
    texts = yield from _texts_of(request.prompt, most_choices // each, most_choices)
    known = {*COMMON, *CompletionRequest.__struct_fields__}
    return Prompts(texts, each, bool(request.echo), decoding.unknown(members, known))


def chat_members(members: reading.Members, text: str, is_alone: bool) -> reading.Members:
    """Return the members of the chat request that a prompt stands for.

    Args:
        is_alone: whether it is the only one; one of several has a request for each choice.
    """
    found = {name: members[name] for name in COMMON if name in members}
    if not is_alone:
        found.pop("n", None)
    message = {"role": "user", "content": text}
    return {**found, "messages": msgspec.Raw(_encode([message]))}


def _texts_of(
    prompt: str | list[msgspec.Raw] | None, most: int, most_choices: int
) -> slices.Steps[tuple[str, ...]]:
    if isinstance(prompt, str):
        return (prompt,)
    if not prompt:
        raise decoding.missing("prompt")
    if bytes(prompt[0])[:1] not in (b'"', b"n"):
        raise ApiError(
            "unsupported_parameter",
            "Unsupported value for 'prompt': this server reads texts, and no tokens.",
            "prompt",
        )
    if len(prompt) > max(1, most):
        message = f"Invalid value for 'prompt': at most {most_choices} choices, of all prompts."
        raise ApiError("invalid_request", message, "prompt")
    texts = []
    for index, raw in enumerate(prompt):
        texts.append((yield from _texts.read(raw, f"prompt[{index}]", most_choices)))
    return tuple(texts)


def _refuse_unsupported(request: CompletionRequest) -> None:
    active = {
        "suffix": bool(request.suffix),
        "logprobs": request.logprobs is not None,
        "best_of": request.best_of not in (None, request.n or 1),
    }
    for name, is_active in active.items():
        if is_active:
            raise decoding.unsupported(name)
