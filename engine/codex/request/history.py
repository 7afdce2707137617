"""A conversation as digests, by which an idle thread is found that has seen all of it.

A thread can go on with a request if its history is the request's to the letter: then the model is
shown the same as on a new thread. So nothing is trimmed or rewritten before it is compared, and
the digests are keyed, by a key that this process alone has.

The last answer is compared message by message. Clients repeat it, and may leave out the phases of
its messages and the reasoning before them; the thread has those in any case.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from engine import slices, worker

PIECE: Final = 1 << 20
"""Bytes that are digested in one go: about a millisecond's."""

BYTES: Final = 16
"""Length of a digest."""

ASKING: Final = frozenset({"system", "developer", "user"})
"""The roles of messages that a thread can be given behind an answer. A result belongs to a call,
and another assistant's words are not this thread's."""

_KEY: Final = secrets.token_bytes(32)


class Thought(NamedTuple):
    """A reasoning item of an answer that its client can repeat.

    Attributes:
        after: messages of the answer before it.
        carried: what only its provider reads, as the client is given it.
        summary: the parts of its summary.
    """

    after: int
    carried: str
    summary: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """An answer as its client is told it, or repeats it.

    Attributes:
        texts: of its messages, those without a text left out.
        phases: of the same messages.
    """

    texts: tuple[str, ...] = ()
    phases: tuple[str | None, ...] = ()
    thoughts: tuple[Thought, ...] = ()

    def is_repeated_by(self, other: "Answer") -> bool:
        """Return whether another one says the same, as far as it says it: clients leave out
        reasoning and phases, which the thread has in any case."""
        return (
            other.texts == self.texts
            and other.thoughts in ((), self.thoughts)
            and all(
                phase in (None, own) for phase, own in zip(other.phases, self.phases, strict=True)
            )
        )


class Goal(msgspec.Struct, frozen=True):
    """The point in a conversation that a thread must have come to, to go on with a request.

    Attributes:
        before: digest of all before its last answer.
        answer: that answer, as the client repeats it.
        count: messages up to there; those behind are the thread's to take.
    """

    before: bytes
    answer: Answer
    count: int


class _Item(msgspec.Struct):
    """The members that are read of what only its provider reads."""

    encrypted_content: str | None = None
    summary: list[dict[str, str]] = []


_item: Final = msgspec.json.Decoder(_Item)


class History(msgspec.Struct, frozen=True):
    """The conversation of a request.

    Attributes:
        identity: digest of all that a thread must have been started for: the key, the model, the
            verbosity, its search, the functions, and the client's own name of the conversation.
        opening: digest of the client's own name of the conversation; without one, of how that
            begins, up to the user's first message. So a later state of it is known.
        whole: digest of all of it.
        size: UTF-8 bytes of it.
        goal: None where no thread could go on, as with its first request.
    """

    identity: bytes
    opening: bytes
    whole: bytes
    size: int
    goal: Goal | None


class _Digest:
    """A digest of fields, none of which can be mistaken for a part of another."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(key=_KEY, digest_size=BYTES)
        self.size = 0

    @property
    def value(self) -> bytes:
        """The digest of all so far."""
        return self._hash.copy().digest()

    def add(self, field: str | bytes | msgspec.Raw | None) -> slices.Steps[None]:
        """Take one more field."""
        if field is None:
            self._hash.update(b"-")
            return
        if isinstance(field, str):
            field = field.encode("utf-8", "surrogatepass")
        data = memoryview(field)
        self._hash.update(b"%d:" % data.nbytes)
        self.size += data.nbytes
        for start in range(0, data.nbytes, PIECE):
            self._hash.update(data[start : start + PIECE])
            yield

    def add_all(self, fields: Iterable[str | bytes | msgspec.Raw | None]) -> slices.Steps[None]:
        """Take some more."""
        for field in fields:
            yield from self.add(field)


def read(turn: worker.Turn) -> slices.Steps[History]:
    """Digest the conversation of a turn that `preparation.check` has let pass."""
    identity = yield from _identity(turn)
    messages = turn.messages
    answered = _after_last_answer(messages)
    last_answer = ending(messages[:answered], "assistant")
    begun = answered - len(last_answer)
    first_user = next((i for i, each in enumerate(messages) if each.role == "user"), len(messages))
    digest = _Digest()
    yield from digest.add(turn.key_id)
    yield from digest.add(turn.conversation)
    opening = before = digest.value
    for index, message in enumerate(messages):
        if index == begun:
            before = digest.value
        yield from digest.add_all(_fields(message))
        if index == first_user and not turn.conversation:
            opening = digest.value
    goal = None
    if 0 < answered < len(messages) and all(m.role in ASKING for m in messages[answered:]):
        goal = yield from _goal(last_answer, before, answered)
    return History(identity, opening, digest.value, digest.size, goal)


def ending(messages: tuple[worker.Message, ...], *roles: str) -> tuple[worker.Message, ...]:
    """Return the messages of these roles that a conversation ends with."""
    start = len(messages)
    while start and messages[start - 1].role in roles:
        start -= 1
    return messages[start:]


def answer(told: Iterable[tuple[str, str | None]], thoughts: Iterable[Thought]) -> Answer:
    """Return the answer of messages with their phases, and of reasoning."""
    messages = tuple(told)
    texts, phases = tuple(text for text, _ in messages), tuple(phase for _, phase in messages)
    return Answer(texts, phases, tuple(thoughts))


def key(identity: bytes, before: bytes, answer: Answer) -> bytes:
    """Return the digest that a thread is found by: what it was started for, all before its last
    answer, and the texts of that."""
    digest = _Digest()
    slices.at_once(digest.add_all((identity, before, *answer.texts)))
    return digest.value


def _identity(turn: worker.Turn) -> slices.Steps[bytes]:
    digest = _Digest()
    with_raw_items = bool(turn.tools) or turn.needs_raw_items
    named = (turn.key_id, turn.target, turn.conversation, "raw" if with_raw_items else "")
    yield from digest.add_all((*named, turn.verbosity, turn.web_search, *_declared(turn.tools)))
    return digest.value


def _declared(tools: Iterable[worker.Tool]) -> Iterator[str | msgspec.Raw | None]:
    for tool in tools:
        yield from (tool.name, tool.description, tool.parameters)


def _after_last_answer(messages: tuple[worker.Message, ...]) -> int:
    """Return the index behind the last message of an assistant's; 0 where there is none."""
    last = len(messages)
    while last and messages[last - 1].role != "assistant":
        last -= 1
    return last


def _goal(
    answer: tuple[worker.Message, ...], before: bytes, count: int
) -> slices.Steps[Goal | None]:
    """Return what the last answer was; None where no thread's answer can be that."""
    texts: list[str] = []
    phases, thoughts = [], []
    for message in answer:
        if message.calls or message.name is not None:
            return None
        for raw in message.reasoning:
            item = _item.decode(raw)
            summary = tuple(part.get("text", "") for part in item.summary)
            thoughts.append(Thought(len(texts), item.encrypted_content or "", summary))
            yield
        pieces = []
        for part in message.parts:
            if not isinstance(part, worker.TextPart):
                return None
            pieces.append(part.text)
            yield
        if any(pieces):
            texts.append("".join(pieces))
            phases.append(message.phase)
    return Goal(before, Answer(tuple(texts), tuple(phases), tuple(thoughts)), count)


def _fields(message: worker.Message) -> Iterator[str | bytes | msgspec.Raw | None]:
    """Yield everything of a message that reaches Codex; the counts keep its lists apart."""
    yield from (message.role, message.name, message.call_id, message.phase)
    yield b"%d %d %d" % (len(message.parts), len(message.calls), len(message.reasoning))
    for part in message.parts:
        match part:
            case worker.TextPart(text):
                yield from ("text", text)
            case worker.RefusalPart(text):
                yield from ("refusal", text)
            case worker.ImagePart(url):
                yield from ("image", url)
            case worker.OtherPart(kind, part=whole):
                yield from (kind, whole)
    for call in message.calls:
        yield from (call.call_id, call.name, call.arguments)
    yield from message.reasoning
