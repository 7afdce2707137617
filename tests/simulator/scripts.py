"""What a model says in one turn, and what a client must make of it.

A `Script` is data: the simulated worker plays it, and `Expected` says, without any code of the
product, which answers are true to it. So a lost, doubled, reordered or foreign piece is noticed.
"""

import random
import re
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

ItemKind = Literal["answer", "commentary", "summary"]

Ending = Literal[
    "completed",
    "incomplete",
    "content_filter",
    "failed",
    "interrupted",
    "silent",
    "silent_when_whole",
    "exit",
    "exit_mid_line",
    "exit_when_whole",
]
"""How a turn ends: by the worker's word, by silence, or with its process."""

DISTURBED: Final = frozenset(
    ("silent", "silent_when_whole", "exit", "exit_mid_line", "exit_when_whole")
)
"""Endings after which an answer may be what was whole by then."""

ALPHABET: Final = 'abc #\n"\\é漢😀\u2028\x00'
"""Of one to four bytes, those that JSON escapes, and those of `STOPS`."""

STOPS: Final = ("#", "##", "ab", "aab", "漢a", "b c")

TAGGED: Final = ("<", "<use_t", "<use_tool>", "</use_tool>", "data: [DONE]\n\n", "[DONE]")
"""Texts that are nearly something else."""

BLOCK: Final = re.compile(r"<use_tool><name>(\w+)</name><x>(\d+)</x></use_tool>")
"""The blocks that scripts write."""

ERRORS: Final = (
    ("serverOverloaded", None, "busy"),
    ("usageLimitExceeded", None, "spent"),
    ("contextWindowExceeded", None, "too long"),
    ("responseStreamConnectionFailed", 503, "at https://api.example.com/v1"),
    ("responseStreamConnectionFailed", 422, "no"),
    ("other", None, "stream disconnected before completion: reset"),
    ("badRequest", None, '{"error":{"message":"bad","code":"bad_thing","param":"messages"}}'),
    ("other", None, "what is this"),
)
"""Word, HTTP status and message of a failed turn."""


class Item(msgspec.Struct, frozen=True):
    """One message or one part of a summary; without deltas it is said as a whole at its end."""

    kind: ItemKind
    texts: tuple[str, ...]
    deltas: bool = True


class Called(msgspec.Struct, frozen=True):
    """A call; `tool` is the place of its function in what was declared, -1 for an unknown one."""

    call_id: str
    tool: int
    arguments: str


class Script(msgspec.Struct, frozen=True):
    """One turn.

    Attributes:
        calls: made at its end by a turn that may call.
        error: of a failed turn, an index of `ERRORS`.
        counts: prompt and completion tokens; None where the worker says none.
        delays: seconds before each line, in turn.
        again: whether the end is said twice, with a late delta behind it.
    """

    items: tuple[Item, ...]
    calls: tuple[Called, ...] = ()
    ending: Ending = "completed"
    error: int = 0
    counts: tuple[int, int] | None = (7, 3)
    delays: tuple[float, ...] = (0.01,)
    again: bool = False


def draw(rng: random.Random, tag: str, tools: int, calm: bool) -> Script:
    """A random script.

    Args:
        tag: what its text begins with, so that no two scripts say the same.
        tools: how many functions were declared.
        calm: whether it shall end well and soon.
    """
    items = [_item(rng, tools, first=tag if number == 0 else "") for number in range(_few(rng))]
    calls: list[Called] = []
    if tools and rng.random() < 0.6:
        for number in range(rng.choice((1, 1, 2, 3))):
            call_id = f"call_{number}" if rng.random() < 0.1 else f"call_{tag}_{number}"
            calls.append(Called(call_id, *_call(rng, tools)))
    ending: Ending = "completed"
    if not calm and rng.random() < 0.5:
        ending = rng.choice(_ENDINGS)
    delays = [rng.choice((0.0, 0.001, 0.03, 0.2)) for _ in range(3)]
    if not calm and rng.random() < 0.15:
        delays += [rng.choice((1.5, 4.0, 7.0, 12.0))]
    rng.shuffle(delays)
    counts = None if rng.random() < 0.1 else (rng.randint(1, 99), rng.randint(0, 99))
    if counts is not None and not items:
        counts = (counts[0], 0)  # tokens of nothing are an answer that cannot be read
    error = rng.randrange(len(ERRORS))
    return Script(
        tuple(items), tuple(calls), ending, error, counts, tuple(delays), rng.random() < 0.2
    )


def flood(tag: str) -> Script:
    """More than a client takes that does not read."""
    texts = (f"[{tag}]", *("x" * 1_500 for _ in range(12)))
    return Script((Item("answer", texts),), delays=(0.6,))


_ENDINGS: Final[tuple[Ending, ...]] = (
    *("incomplete", "content_filter", "failed", "failed", "interrupted"),
    *("silent", "silent_when_whole", "exit", "exit_mid_line", "exit_when_whole"),
)


def _few(rng: random.Random) -> int:
    return rng.choice((0, 1, 1, 1, 2, 3))


def _item(rng: random.Random, tools: int, first: str) -> Item:
    kind: ItemKind = rng.choice(("answer", "answer", "answer", "commentary", "summary"))
    texts = [f"[{first}]"] if first else []
    texts += pieces(rng, tools)
    return Item(kind, tuple(texts), kind == "summary" or rng.random() < 0.85)


def pieces(rng: random.Random, tools: int) -> list[str]:
    """Some pieces of text; with tools, blocks that may be calls among them."""
    texts: list[str] = []
    for _ in range(rng.randint(1, 5)):
        roll = rng.random()
        if roll < 0.15:
            texts.append(rng.choice(TAGGED))
        elif roll < 0.22 and tools:
            name = rng.choice(("add", "unknown"))
            texts += _cut(
                rng, f"<use_tool><name>{name}</name><x>{rng.randint(0, 9)}</x></use_tool>"
            )
        elif roll < 0.36:
            texts.append("x" * rng.choice((1_000, 6_000)))
        else:
            texts.append("".join(rng.choices(ALPHABET, k=rng.randint(1, 8))))
    return texts


def _cut(rng: random.Random, text: str) -> list[str]:
    at = rng.randint(1, len(text) - 1)
    return [text[:at], text[at:]]


def _call(rng: random.Random, tools: int) -> tuple[int, str]:
    roll = rng.random()
    if roll < 0.05:
        return -1, "{}"
    arguments = '{"a": 1' if roll < 0.1 else rng.choice(("{}", '{"x": "漢\\n"}', '{ "a": 1.50 }'))
    return rng.randrange(tools), arguments


class Asked(msgspec.Struct, frozen=True):
    """What of a request decides how a script's text reaches the client.

    Attributes:
        apart: whether each message is an item of its own, and nothing stands between two.
    """

    tools: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    parallel: bool = True
    legacy: bool = False
    apart: bool = False


class Told(msgspec.Struct, frozen=True):
    """What a client heard of one choice; None for thoughts that came from several turns."""

    content: str
    reasoning: str | None
    calls: tuple[tuple[str, str], ...]
    finish: str | None


_WORDS: Final = {"incomplete": "length", "content_filter": "content_filter"}
"""The finish of endings that have one of their own."""


class Expected:
    """The answers that are true to a script.

    Args:
        disturbed: whether something may have ended the turn before its own end.
    """

    def __init__(self, script: Script, asked: Asked, disturbed: bool) -> None:
        self._script = script
        self._asked = asked
        self._disturbed = disturbed or script.ending in DISTURBED

    def fits(self, told: Told) -> bool:
        """Whether a client may have been told this."""
        if told.finish is None:
            return self._begins(told)
        if any(self._is(told, *said) for said in self._wholes()):
            return True
        return told.finish == "length" and self._disturbed and self._begins(told)

    def _wholes(self) -> Iterator[tuple[str, str, bool]]:
        """Text and thoughts of each point where it is whole, and whether it ends there."""
        items = self._script.items
        yield (*_joined(items, self._asked), True)
        if self._disturbed:
            for count in range(1, len(items) + 1):
                if items[count - 1].kind == "answer":
                    yield (*_joined(items[:count], self._asked), False)

    def _is(self, told: Told, text: str, thoughts: str, end: bool) -> bool:
        kept, reason = cut(text, self._asked)
        content, calls = self._read(kept)
        cuts = reason is not None
        if end and not cuts and self._asked.tools:
            calls += self._called()
        shown = calls if self._asked.parallel else calls[:1]
        # A cut may come before the last thoughts.
        return (
            _thought(told, thoughts, whole=not cuts)
            and told.content == content
            and told.calls == tuple(shown)
            and told.finish == self._reason(reason, bool(shown), end)
        )

    def _reason(self, cut_by: str | None, calls: bool, end: bool) -> str:
        reason = cut_by or (_WORDS.get(self._script.ending, "stop") if end else "stop")
        if reason == "stop" and calls:
            return "function_call" if self._asked.legacy else "tool_calls"
        return reason

    def _called(self) -> list[tuple[str, str]]:
        names = self._asked.tools
        if self._script.ending != "completed":
            return []
        return [
            (names[call.tool] if call.tool >= 0 else "unknown", call.arguments)
            for call in self._script.calls
        ]

    def _read(self, text: str) -> tuple[str, list[tuple[str, str]]]:
        """Content and calls of a text in which blocks of declared functions are calls."""
        calls: list[tuple[str, str]] = []

        def take(block: re.Match[str]) -> str:
            if block[1] not in self._asked.tools:
                return block[0]
            calls.append((block[1], f'{{"x":"{block[2]}"}}'))
            return ""

        return BLOCK.sub(take, text), calls

    def _begins(self, told: Told) -> bool:
        """Whether an answer that is not whole is a beginning of it."""
        text, thoughts = _joined(self._script.items, self._asked)
        if not _thought(told, thoughts, whole=False):
            return False
        if told.content == self._read(text[: len(told.content)])[0]:
            return True
        return any(self._read(text[:end])[0] == told.content for end in range(len(text) + 1))


def _thought(told: Told, thoughts: str, whole: bool) -> bool:
    """Whether a client was told these thoughts, or a beginning of them."""
    if told.reasoning is None:
        return True
    return told.reasoning == thoughts if whole else thoughts.startswith(told.reasoning)


def _joined(items: tuple[Item, ...], asked: Asked) -> tuple[str, str]:
    """The answer and the thoughts, messages of each joined as they are told."""
    between = "" if asked.apart else "\n\n"
    answers = ["".join(item.texts) for item in items if item.kind == "answer"]
    thoughts = ["".join(item.texts) for item in items if item.kind != "answer"]
    return between.join(answers), between.join(thoughts)


def cut(text: str, asked: Asked) -> tuple[str, str | None]:
    """A text up to its first stop sequence or to its limit, and which it was."""
    kept, reason = text, None
    ends = {stop: text.find(stop) + len(stop) for stop in asked.stop if stop in text}
    if ends:
        end = min(ends.values())
        longest = max(len(stop) for stop, its in ends.items() if its == end)
        kept, reason = text[: end - longest], "stop"
    if asked.max_tokens is not None and len(kept.encode()) > 4 * asked.max_tokens:
        return kept.encode()[: 4 * asked.max_tokens].decode(errors="ignore"), "length"
    return kept, reason
