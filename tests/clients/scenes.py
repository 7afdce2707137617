"""The scenes every client library plays: an answer that stops, and one cut at its limit."""

import contextlib
from collections.abc import Iterator

from tests import replies, serving
from tests.provider import Provider

MODEL = "gpt-5.5"

STOP_TEXT = "Two words, then 世界 and 👩\u200d💻."
"""The whole answer of the scene `stop`."""

LENGTH_TEXT = "This answer has no"
"""What there is of the answer of the scene `length`."""

USAGE = replies.Usage(input_tokens=21, output_tokens=9, cached_tokens=4, reasoning_tokens=2)
"""What the provider counts in both."""

SCENES = {"stop": (STOP_TEXT, "stop"), "length": (LENGTH_TEXT, "length")}
"""Text and finish reason of each scene, by the prompt that asks for it."""


def pieces(text: str) -> tuple[str, ...]:
    """A text in deltas of two code points: emoji and words are split."""
    return tuple(text[at : at + 2] for at in range(0, len(text), 2))


@contextlib.contextmanager
def stage() -> Iterator[serving.Serve]:
    """A server on the real Codex binary whose provider plays the scenes."""
    script = {
        "stop": replies.Stream((replies.Message(pieces(STOP_TEXT)),), usage=USAGE),
        "length": replies.Stream(
            (replies.Message(pieces(LENGTH_TEXT)),),
            end=replies.Incomplete("max_output_tokens"),
            usage=USAGE,
        ),
    }
    with Provider(script) as provider, serving.codex(provider.url) as server:
        yield server
