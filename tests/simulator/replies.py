"""What an upstream does with one request, as data, and what a client must make of it.

A `Reply` is played by `tests.simulator.upstream` and judged by `tests.simulator.upstreamrules`.
Whatever its habits are, an answer that came to its end must reach the client exactly.
"""

from typing import Any, Final, Literal, get_args

import msgspec

Json = dict[str, Any]

Habit = Literal[
    # of the event stream
    "bom",
    "crlf",
    "cr",
    "no_space",
    "comments",
    "fields",
    "multiline",
    "no_last_blank",
    "escaped",
    # of the chunks
    "no_role",
    "role_again",
    "ids_change",
    "null_members",
    "together",
    "no_index",
    "parts",
    "both_reasonings",
    "empty_finish",
    "finish_with_text",
    "finish_twice",
    "late_empty",
    "repeats_message",
    "after_done",
    # of the counts
    "counts_on_finish",
    "counts_on_all",
    "counts_twice",
    "counts_wild",
    # of HTTP
    "interim",
    "closes",
]
"""What one upstream or the other does, and what changes nothing."""

HABITS: Final[tuple[Habit, ...]] = get_args(Habit)

WholeEnding = Literal["done", "no_sentinel", "no_finish", "hang", "reset_after"]
"""How a stream ends that has said all it had to say."""

BrokenEnding = Literal[
    "end",
    "cut",
    "reset",
    "short",
    "silent",
    "error",
    "bad_json",
    "too_large",
    "error_word",
    "contradiction",
]
"""How one ends that has not."""

WHOLE: Final[tuple[WholeEnding, ...]] = get_args(WholeEnding)

BROKEN: Final[tuple[BrokenEnding, ...]] = get_args(BrokenEnding)

REASONS: Final = {
    "stop": "stop",
    "STOP": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "SAFETY": "content_filter",
    "tool_calls": "stop",
    "tool_use": "stop",
    "function_call": "stop",
}
"""What words for the end mean, apart from calls."""

ERRORS: Final[tuple[tuple[Any, str], ...]] = (
    ({"error": {"message": "at https://db.example.com/v1", "code": "bad_thing"}}, "bad_thing"),
    ({"error": {"message": "slow down", "code": 429}}, "rate_limit_exceeded"),
    (
        {"error": {"message": "spent", "type": "insufficient_quota", "code": None}},
        "rate_limit_exceeded",
    ),
    ({"error": "what is this"}, "upstream_error"),
    ({"error": {"error": {"message": "deep", "code": "deep_thing"}}}, "deep_thing"),
    ({"object": "error", "message": "as vLLM says it", "code": 400}, "upstream_error"),
)
"""Error objects within an answer, and the code that a client is told."""

MAX_EVENT_BYTES: Final = 200_000
"""The largest event that a simulated server reads: far below the real limit, which costs time."""


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A piece of an answer, or of a refusal to answer."""

    text: str
    refusal: bool = False


class Thought(msgspec.Struct, frozen=True, tag="thought"):
    """A piece of reasoning."""

    text: str


class Fragment(msgspec.Struct, frozen=True, tag="fragment"):
    """A piece of a call, as its upstream writes it."""

    call: int
    members: Json


Atom = Text | Thought | Fragment


class Call(msgspec.Struct, frozen=True):
    """A call as a client must be told it."""

    name: str
    arguments: str


class Said(msgspec.Struct, frozen=True):
    """What one choice says; `word` is for its end."""

    atoms: tuple[Atom, ...]
    calls: tuple[Call, ...]
    word: str


class Stream(msgspec.Struct, frozen=True, kw_only=True, tag="stream"):
    """An event stream.

    Attributes:
        counts: prompt and completion tokens; None where the upstream says none.
        delays: seconds before each event, in turn; the first is before the head.
        part: of a broken one: how much of it comes, from 0 to 1.
        error: of one that ends with an error, an index of `ERRORS`.
    """

    choices: tuple[Said, ...]
    counts: tuple[int, int] | None
    habits: tuple[Habit, ...]
    framing: Literal["chunked", "length", "close"]
    label: str | None
    ending: WholeEnding | BrokenEnding
    delays: tuple[float, ...]
    part: float = 1.0
    error: int = 0


class Completion(msgspec.Struct, frozen=True, kw_only=True, tag="completion"):
    """A completion in one piece, although a stream was asked for."""

    choices: tuple[Said, ...]
    counts: tuple[int, int] | None
    label: str | None
    delay: float
    broken: Literal["cut", "short", "reset"] | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal"):
    """A status that is no success.

    Attributes:
        codes: the error codes that a client may be told.
        breaks: what becomes of the connection within the body.
    """

    status: int
    body: str
    codes: tuple[str, ...]
    retry_after: int | None
    delay: float
    breaks: Literal["reset", "stall"] | None = None

    @property
    def retried(self) -> bool:
        """Whether another attempt is to be made."""
        return self.status in (500, 502, 503, 529) and (self.retry_after or 0) <= 5


class Rubbish(msgspec.Struct, frozen=True, kw_only=True, tag="rubbish"):
    """Bytes that are no answer, and what becomes of the connection then."""

    data: bytes
    then: Literal["keep", "close", "reset", "stall"]
    codes: tuple[str, ...]
    delay: float


Reply = Stream | Completion | Refusal | Rubbish

HTML: Final = b"<html><body>It works at db.example.com!</body></html>"

RUBBISH: Final[tuple[tuple[bytes, Literal["keep", "close", "reset", "stall"], str], ...]] = (
    (b"", "close", "upstream_disconnected"),
    (b"", "reset", "upstream_disconnected"),
    (b"", "stall", ""),
    (b"HTTP/1.1 200 O", "close", "upstream_disconnected"),
    (b"HTTP/1.1 200 OK\r\ncontent-type: text/ev", "reset", "upstream_disconnected"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "close", "upstream_error"),
    (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 53\r\n\r\n" + HTML,
        "keep",
        "upstream_error",
    ),
    (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n",
        "keep",
        "upstream_error",
    ),
    (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n",
        "keep",
        "empty_upstream",
    ),
    (
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 22\r\n\r\n"
            b": hi\n\ndata: [DONE]\n\n\n\n"
        ),
        "keep",
        "empty_upstream",
    ),
    (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: no length, no end\n\n",
        "stall",
        "",
    ),
)
"""What comes, what follows, and the code that a client is told; none where it must lose patience.
"""
