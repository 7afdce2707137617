"""The bytes in which a simulated upstream says a reply, with the habits that it has."""

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tests.simulator import replies

Json = dict[str, Any]

SENTINEL: Final = b"[DONE]"

ENDLESS: Final = ("hang", "silent", "reset", "reset_after", "short")
"""Endings of bodies that are shorter than their head says."""

GARBLED: Final = (b'{"choices": [', b"oops", b'"text"', b"[1]", b"\xe6\xbc")
"""Events that are no JSON objects."""


class Event(msgspec.Struct):
    """One event of a stream.

    Attributes:
        data: its data: an object, or bytes as they stand.
        atoms: what it says, with the choice that says it.
        finished: the choices that it ends.
        counts: the tokens that it tells.
        kind: its type.
    """

    data: Json | bytes
    atoms: list[tuple[int, replies.Atom]] = []
    finished: list[int] = []
    counts: tuple[int, int] | None = None
    kind: str = ""


def events_of(reply: replies.Stream, rng: random.Random) -> list[Event]:
    """All that a stream says, if it comes to its end."""
    writer = _Writer(reply, rng)
    found = [] if writer.has("no_role") else [writer.roles()]
    found += writer.told()
    if writer.has("null_members"):
        found.insert(rng.randint(0, len(found)), writer.chunk(choices=None))
        found.insert(rng.randint(0, len(found)), writer.chunk(choices=[{"index": 0}]))
    writer.count(found)
    if writer.has("finish_twice") and reply.ending != "no_finish":
        found.append(writer.chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "length"}]))
    if writer.has("late_empty") and reply.ending != "no_finish":
        late = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        found.append(writer.chunk(choices=[late]))
    if reply.ending in ("done", "no_finish"):
        found.append(Event(SENTINEL))
        if writer.has("after_done"):
            found += [writer.chunk(choices=[{"index": 0, "delta": {"content": "LATE"}}])]
            found += [Event({"error": {"message": "late"}})]
    return found


def parts(reply: replies.Stream, rng: random.Random) -> tuple[list[Event], list[Event]]:
    """What a stream says, and what else it sends: events that a client is not told of."""
    events = events_of(reply, rng)
    if reply.ending in replies.WHOLE:
        return events, []
    last = max(number for number, event in enumerate(events) if event.finished)
    kept = int(reply.part * (last + 1))
    match reply.ending:
        case "cut":
            return events[:kept], [events[kept]]
        case "error":
            error = Event(replies.ERRORS[reply.error][0], kind=rng.choice(("", "error")))
            rest = [error, *events[kept:]]
        case "bad_json":
            rest = [Event(rng.choice(GARBLED)), *events[kept:]]
        case "too_large":
            text = "w" * (replies.MAX_EVENT_BYTES + 1)
            rest = [Event({"choices": [{"index": 0, "delta": {"content": text}}]})]
        case "error_word":
            choice = {"index": _going(reply, events[:kept]), "delta": {}, "finish_reason": "error"}
            rest = [Event({"choices": [choice]}), Event(SENTINEL)]
        case "contradiction":
            piece, message = _contradiction(_going(reply, events[:kept]))
            return [*events[:kept], piece], [message, *events[kept:]]
        case _:
            rest = []
    return events[:kept], rest


def body(
    reply: replies.Stream, events: list[Event], rest: list[Event], rng: random.Random
) -> list[bytes]:
    """The bytes of each event, before HTTP has framed them."""
    all_of = [*events, *rest]
    ends = reply.ending not in ENDLESS
    found = [
        encoded(event, reply, rng, ends and number == len(all_of))
        for number, event in enumerate(all_of, 1)
    ]
    if reply.ending == "cut":
        found[-1] = found[-1][: len(found[-1]) // 2]
    if "bom" in reply.habits:
        found[:1] = [b"\xef\xbb\xbf" + each for each in found[:1]]
    return found


class _Writer:
    """Writes the chunks of one stream."""

    def __init__(self, reply: replies.Stream, rng: random.Random) -> None:
        self._reply = reply
        self._rng = rng
        self._spoke = False

    def has(self, habit: replies.Habit) -> bool:
        """Whether the upstream has it."""
        return habit in self._reply.habits

    def chunk(self, **members: Any) -> Event:
        """A chunk with these members."""
        head: Json = {"id": "chatcmpl-up", "created": 1, "model": "up"}
        if self.has("ids_change"):
            values = (None, "", 7, f"x{self._rng.randint(0, 9)}")
            head = {name: self._rng.choice(values) for name in head if self._rng.random() < 0.7}
        return Event({**head, "object": "chat.completion.chunk", **members})

    def roles(self) -> Event:
        """What a stream begins with."""
        role = self._rng.choice(("", None)) if self.has("role_again") else "assistant"
        return self.chunk(
            choices=[
                self._choice(number, {"role": role, "content": ""}, None)
                for number in range(len(self._reply.choices))
            ]
        )

    def told(self) -> list[Event]:
        """What every choice says, one among the other."""
        queues = [self._queue(number) for number in range(len(self._reply.choices))]
        found: list[Event] = []
        last = -1
        while any(queues):
            number = self._rng.choice([number for number, queue in enumerate(queues) if queue])
            event = queues[number].pop(0)
            if self.has("together") and found and number != last and self._rng.random() < 0.5:
                _merge(found[-1], event)
            else:
                found.append(event)
            last = number
        return found

    def _queue(self, number: int) -> list[Event]:
        said = self._reply.choices[number]
        found: list[Event] = []
        for atom in said.atoms:
            delta = self._delta(atom)
            if self.has("together") and found and delta.get("tool_calls"):
                before = _choices(found[-1])[0]["delta"]
                if before.get("tool_calls") and self._rng.random() < 0.5:
                    before["tool_calls"] += delta["tool_calls"]
                    found[-1].atoms.append((number, atom))
                    continue
            event = self.chunk(choices=[self._choice(number, delta, None)])
            event.atoms = [(number, atom)]
            found.append(event)
        if self._reply.ending != "no_finish":
            self._finish(number, said, found)
        return found

    def _finish(self, number: int, said: replies.Said, found: list[Event]) -> None:
        if self.has("finish_with_text") and found:
            _choices(found[-1])[0]["finish_reason"] = said.word
        else:
            choice = self._choice(number, {}, said.word)
            if self.has("repeats_message"):
                del choice["delta"]
                choice["message"] = _message(said)
            found.append(self.chunk(choices=[choice]))
        found[-1].finished = [number]

    def _choice(self, number: int, delta: Json, word: str | None) -> Json:
        if word is None and self.has("empty_finish"):
            word = ""
        choice: Json = {"index": number, "delta": delta, "finish_reason": word}
        if self.has("no_index") and len(self._reply.choices) == 1:
            del choice["index"]
        return choice

    def _delta(self, atom: replies.Atom) -> Json:
        delta: Json = {}
        if self.has("role_again"):
            delta["role"] = self._rng.choice(("assistant", "", None))
        match atom:
            case replies.Text(text, refusal=True):
                delta |= {"content": None, "refusal": text}
            case replies.Text(text):
                delta["content"] = [{"type": "text", "text": text}] if self.has("parts") else text
            case replies.Thought(text):
                delta["reasoning_content"] = text
                if self.has("both_reasonings"):
                    delta["reasoning"] = text
            case replies.Fragment(_, members) if "function" in members or "id" in members:
                delta["tool_calls"] = [members]
            case replies.Fragment(_, members):
                delta["function_call"] = members
        if self.has("null_members"):
            delta = {"content": None, "tool_calls": None, "function_call": None, **delta}
        return delta

    def count(self, found: list[Event]) -> None:
        """Put the counts where this upstream has them."""
        counts = self._reply.counts
        if self.has("counts_wild") and found:
            wild = {"prompt_tokens": -1, "completion_tokens": "7"}
            found[0].data = {**_object(found[0]), "usage": wild}
        if counts is None:
            return
        if self.has("counts_on_all"):
            last = max((at for at, event in enumerate(found) if event.finished), default=0)
            for number, event in enumerate(found):
                _tell(
                    event, (counts[0], counts[1] if number >= last else counts[1] * number // last)
                )
        if self.has("counts_on_finish") and found:
            _tell(found[-1], counts)
        else:
            found.append(_told(self.chunk(choices=[]), counts))
        if self.has("counts_twice"):
            found.append(_told(self.chunk(choices=self._rng.choice(([], None))), counts))


def _going(reply: replies.Stream, told: list[Event]) -> int:
    """The first choice that has not finished."""
    ended = {number for event in told for number in event.finished}
    return min(set(range(len(reply.choices))) - ended)


def _contradiction(number: int) -> tuple[Event, Event]:
    """A piece of a text, and a message that has another in its place."""
    piece = Event({"choices": [{"index": number, "delta": {"content": "w"}}]})
    piece.atoms = [(number, replies.Text("w"))]
    message = {"index": number, "message": {"content": "no"}, "finish_reason": "stop"}
    return piece, Event({"choices": [message]})


def _message(said: replies.Said) -> Json:
    """All of what a choice says, once more."""
    texts = [atom for atom in said.atoms if isinstance(atom, replies.Text)]
    fragments = [atom for atom in said.atoms if isinstance(atom, replies.Fragment)]
    calls = []
    for number, call in enumerate(said.calls):
        ids = (each.members.get("id") for each in fragments if each.call == number)
        function = {"name": call.name, "arguments": call.arguments}
        calls.append({"id": next(filter(None, ids), None), "function": function})
    return {
        "role": "assistant",
        "content": "".join(atom.text for atom in texts if not atom.refusal),
        "refusal": "".join(atom.text for atom in texts if atom.refusal) or None,
        "reasoning_content": "".join(
            atom.text for atom in said.atoms if isinstance(atom, replies.Thought)
        ),
        "tool_calls": calls,
    }


def _choices(event: Event) -> list[Json]:
    choices: list[Json] = _object(event)["choices"]
    return choices


def _object(event: Event) -> Json:
    assert isinstance(event.data, dict)
    return event.data


def _told(event: Event, counts: tuple[int, int]) -> Event:
    _tell(event, counts)
    return event


def _tell(event: Event, counts: tuple[int, int]) -> None:
    usage = {"prompt_tokens": counts[0], "completion_tokens": counts[1]}
    event.data = {**_object(event), "usage": usage}
    event.counts = counts


def _merge(event: Event, other: Event) -> None:
    """Have one chunk tell what two would."""
    _choices(event).extend(_choices(other))
    event.atoms = event.atoms + other.atoms
    event.finished = event.finished + other.finished


def encoded(event: Event, reply: replies.Stream, rng: random.Random, last: bool) -> bytes:
    """An event as its stream writes it."""
    newline = "\r\n" if "crlf" in reply.habits else "\r" if "cr" in reply.habits else "\n"
    colon = ":" if "no_space" in reply.habits else ": "
    lines: list[str] = []
    if "comments" in reply.habits and rng.random() < 0.5:
        lines += [": keepalive", ""]
    if "fields" in reply.habits:
        lines += rng.sample(("id: 7", "retry: 10", "event: message", "what: is this", "id"), 2)
        if rng.random() < 0.3:
            lines += ["data:", ""]
    if event.kind:
        lines.append(f"event: {event.kind}")
    for line in _data(event, reply).split("\n"):
        lines.append(f"data{colon}{line}")
    end = "" if last and "no_last_blank" in reply.habits else newline
    return (newline.join(lines) + newline + end).encode("utf-8", "surrogateescape")


def _data(event: Event, reply: replies.Stream) -> str:
    if isinstance(event.data, bytes):
        return event.data.decode("utf-8", "surrogateescape")
    indent = 0 if "multiline" in reply.habits else None
    return json.dumps(event.data, ensure_ascii="escaped" in reply.habits, indent=indent)


def head_of(reply: replies.Stream | replies.Completion, framing: str, length: int) -> bytes:
    """The head of an answer."""
    lines = ["HTTP/1.1 200 OK", "x-request-id: up"]
    if isinstance(reply, replies.Stream) and "interim" in reply.habits:
        lines = ["HTTP/1.1 103 Early Hints", "link: </a>", "", *lines]
    if reply.label is not None:
        lines.append(f"content-type: {reply.label}")
    if framing == "chunked":
        lines.append("transfer-encoding: chunked")
    elif framing == "length":
        lines.append(f"content-length: {length}")
    if framing == "close" or (isinstance(reply, replies.Stream) and "closes" in reply.habits):
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode()


def refusal(reply: replies.Refusal) -> tuple[bytes, bytes]:
    """Head and body of a refusal."""
    body = reply.body.encode()
    lines = [f"HTTP/1.1 {reply.status} Said", f"content-length: {len(body)}"]
    if reply.retry_after is not None:
        lines.append(f"retry-after: {reply.retry_after}")
    if reply.status == 302:
        lines.append("location: http://other.example.com/")
    return "\r\n".join([*lines, "", ""]).encode(), body


def completion(reply: replies.Completion) -> bytes:
    """A completion in one piece."""
    choices = []
    for number, said in enumerate(reply.choices):
        message: Json = {"role": "assistant", "content": "", "refusal": "", "reasoning": ""}
        for atom in said.atoms:
            match atom:
                case replies.Text(text, refusal):
                    message["refusal" if refusal else "content"] += text
                case replies.Thought(text):
                    message["reasoning"] += text
        if said.calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{number}_{index}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for index, call in enumerate(said.calls)
            ]
        choices.append({"index": number, "message": message, "finish_reason": said.word})
    body: Json = {"id": "c", "object": "chat.completion", "choices": choices}
    if reply.counts is not None:
        body["usage"] = dict(
            zip(("prompt_tokens", "completion_tokens"), reply.counts, strict=True)
        )
    return json.dumps(body, ensure_ascii=False).encode()


def framed(data: bytes, framing: str, rng: random.Random) -> bytes:
    """A part of a body as HTTP has it; chunks are where they happen to be."""
    if framing != "chunked" or not data:
        return data
    at = rng.randint(0, len(data)) if rng.random() < 0.3 else 0
    parts = [part for part in (data[:at], data[at:]) if part]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def pieces(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """Any split of some bytes."""
    count = rng.choice((0, 1, 2, 5))
    cuts = sorted(rng.randint(1, len(data)) for _ in range(count if len(data) > 1 else 0))
    for start, end in itertools.pairwise((0, *cuts, len(data))):
        if end > start:
            yield data[start:end]
