"""The beginning and the end of a completion, in its stream as in its body."""

from typing import Final

import msgspec

from engine import slices
from machines import events, parse

REASONS: Final = ("stop", "length", "content_filter")
"""Every `finish_reason` of the API; a call is none, for nothing can be called."""

NOTHING: Final = b'""'
"""An empty text, as JSON."""


class _Repeated(msgspec.Struct):
    """The members of a request that its answer may repeat, as the log has them."""

    prompt: str | list[str] | None = None
    echo: bool | None = None


_repeated: Final = msgspec.json.Decoder(_Repeated)


def reason(canonical: str) -> str:
    """Return the word of this API for the end of an answer."""
    return canonical if canonical in REASONS else "stop"


def encoded(prompts: tuple[str, ...]) -> slices.Steps[tuple[bytes, ...]]:
    """Return prompts as JSON: once for all the choices that begin with one."""
    found = []
    for prompt in prompts:
        found.append(msgspec.json.encode(prompt))
        yield
    return tuple(found)


def logged(request: msgspec.Raw) -> tuple[bytes, ...]:
    """Return the prompts that answers begin with as JSON, of a request as the log has it; none
    where the prompts were left out of it."""
    try:
        found = parse.parse(request, _repeated)
    except parse.ParseError:
        return ()
    if not found.echo or not found.prompt:
        return ()
    prompts = (found.prompt,) if isinstance(found.prompt, str) else tuple(found.prompt)
    return slices.at_once(encoded(prompts))


def echo_of(opened: events.Opened, echoed: tuple[bytes, ...], choice: int) -> bytes:
    """Return the text that a choice begins with, as JSON; empty bytes for none.

    Args:
        echoed: the prompts, as many choices each in their order; empty: none is repeated.
    """
    found = echoed[choice * len(echoed) // opened.n] if echoed else NOTHING
    return b"" if found == NOTHING else found
