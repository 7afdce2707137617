"""Makes the replies of an upstream: what is random about them comes from the generator alone."""

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any, Final, Literal

from tests.simulator import replies, scripts

Json = dict[str, Any]

LABELS: Final = (
    *("text/event-stream", "text/event-stream", "text/event-stream; charset=utf-8"),
    *("application/json", "text/plain", None),
)
"""What an answer is labelled."""

ARGUMENTS: Final = (
    *('{"a":{"a":1}}', "{}", '{"x": "漢\\n"}', '{ "a": 1.50 }', '{"a":"\\"}{"}', '{"b":[{},[]]}'),
    '{"x":"' + "y" * 3_000 + '"}',
)
"""Of calls; the first looks like a repeat of what it begins with."""

Manner = Literal[
    "indexed",
    "resent",
    "resent_empty",
    "ids",
    "zero_indices",
    "no_ids",
    "cumulative",
    "made_up_ids",
    "id_first",
    "by_name",
    "ids_once",
    "whole",
    "parsed",
]
"""How an upstream says which call a fragment belongs to."""

MIXED: Final[tuple[Manner, ...]] = (
    *("indexed", "indexed", "resent", "resent_empty", "ids", "zero_indices", "no_ids"),
    *("cumulative", "made_up_ids", "id_first"),
)
"""Those in which fragments of several calls may be mixed."""

PURE: Final[tuple[Manner, ...]] = ("by_name", "ids_once", "whole", "parsed")


def draw(
    rng: random.Random, tag: str, names: tuple[str, ...], n: int, legacy: bool, calm: bool
) -> replies.Reply:
    """A random reply.

    Args:
        tag: what its texts begin with, so that no two replies say the same.
        names: the functions that were declared.
        n: how many choices were asked for.
        legacy: whether calls are made as `function_call`.
        calm: whether it shall end well and soon.
    """
    roll = rng.random()
    if not calm and roll < 0.12:
        return _refusal(rng)
    if not calm and roll < 0.20:
        data, then, code = rng.choice(replies.RUBBISH)
        return replies.Rubbish(data=data, then=then, codes=(code,), delay=_delay(rng))
    choices = tuple(_said(rng, f"{tag}.{choice}", names, legacy) for choice in range(n))
    counts = None if rng.random() < 0.1 else (rng.randint(1, 99), rng.randint(0, 99))
    if roll > 0.93:
        return replies.Completion(
            choices=choices,
            counts=counts,
            label=rng.choice(LABELS),
            delay=_delay(rng),
            broken=None if calm else rng.choice(_CUTS),
        )
    return _stream(rng, choices, counts, calm)


def flood(tag: str, n: int) -> replies.Stream:
    """Far more than may be kept for a client that does not read."""
    said = replies.Said(
        (replies.Text(f"[{tag}]"), *([replies.Text("x" * 12_500)] * 30)), (), "stop"
    )
    return replies.Stream(
        choices=(said,) * n,
        counts=(7, 3),
        habits=(),
        framing="chunked",
        label="text/event-stream",
        ending="done",
        delays=(0.3, *(0.0,) * 40),
    )


def _delay(rng: random.Random) -> float:
    return rng.choice((0.0, 0.01, 0.2, 0.2, 1.0))


def _stream(
    rng: random.Random,
    choices: tuple[replies.Said, ...],
    counts: tuple[int, int] | None,
    calm: bool,
) -> replies.Stream:
    ending: replies.WholeEnding | replies.BrokenEnding = "done"
    delays = [rng.choice((0.0, 0.0, 0.001, 0.03, 0.2)) for _ in range(3)]
    if not calm:
        roll = rng.random()
        if roll < 0.35:
            ending = rng.choice((*replies.BROKEN, "silent"))
        elif roll < 0.6:
            ending = rng.choice(replies.WHOLE)
        if rng.random() < 0.2:
            delays += [rng.choice((0.9, 1.5, 2.5, 2.5, 4.0, 9.0))]
    if ending == "no_finish" and not any(said.atoms for said in choices):
        ending = "done"
    rng.shuffle(delays)
    framing = rng.choice(_FRAMINGS)
    if ending == "short" and framing == "close":
        framing = "chunked"
    habits = rng.sample(replies.HABITS, rng.choice((0, 0, 1, 2, 4, 8)))
    if ending in ("silent", "hang") and "comments" not in habits and rng.random() < 0.5:
        habits.append("comments")
    return replies.Stream(
        choices=choices,
        counts=counts,
        habits=tuple(habits),
        framing=framing,
        label=rng.choice(LABELS),
        ending=ending,
        delays=tuple(delays),
        part=rng.random(),
        error=rng.randrange(len(replies.ERRORS)),
    )


def _refusal(rng: random.Random) -> replies.Refusal:
    status = rng.choice((400, 401, 403, 404, 422, 429, 429, 500, 502, 503, 503, 504, 529, 302))
    body, code = rng.choice(_BODIES)
    codes = (code or _CODES.get(status, "invalid_request"),)
    breaks = rng.choice(_BREAKS) if body else None
    if breaks is not None:
        codes = (_CODES.get(status, "invalid_request"),)
    if not 400 <= status < 500:
        codes = ("upstream_error",)
    return replies.Refusal(
        status=status,
        body=body,
        codes=codes,
        retry_after=rng.choice((None, None, 0, 1, 7)),
        delay=_delay(rng),
        breaks=breaks,
    )


_FRAMINGS: Final[tuple[Literal["chunked", "length", "close"], ...]] = (
    *("chunked", "chunked", "chunked", "length", "close"),
)

_CUTS: Final[tuple[Literal["cut", "short", "reset"] | None, ...]] = (
    *(None, None, "cut", "short", "reset"),
)

_BREAKS: Final[tuple[Literal["reset", "stall"] | None, ...]] = (
    *(None, None, None, "reset", "stall"),
)

_BODIES: Final = (
    ('{"error":{"message":"No.","type":"t","param":"n","code":"no_thing"}}', "no_thing"),
    ('{"error":{"message":"at https://db.example.com/","code":null}}', None),
    ('{"detail":"Not found"}', None),
    ("<html>db.example.com</html>", None),
    ("", None),
    ("x" * 70_000, None),
)
"""Bodies of refusals, and the code in them."""

_CODES: Final = {401: "worker_unauthorized", 403: "provider_forbidden", 429: "rate_limit_exceeded"}


# What is said.


def _said(rng: random.Random, tag: str, names: tuple[str, ...], legacy: bool) -> replies.Said:
    atoms: list[replies.Atom] = []
    if rng.random() < 0.2:
        atoms += [replies.Thought(text) for text in scripts.pieces(rng, 0)]
    if rng.random() < 0.85:
        texts = [f"[{tag}]", *scripts.pieces(rng, len(names))]
        refusal = rng.random() < 0.05
        atoms += [replies.Text(text, refusal) for text in texts]
    if rng.random() < 0.03:
        atoms.append(replies.Text("z" * rng.choice((20_000, 60_000))))
    calls: list[replies.Call] = []
    if names and rng.random() < 0.6:
        atoms += _calls(rng, tag, names, legacy, calls)
        if rng.random() < 0.2:
            atoms.append(replies.Text("And that is that."))
    word = rng.choice(tuple(replies.REASONS)[:8])
    if calls and rng.random() < 0.8:
        word = rng.choice(("tool_calls", "tool_calls", "stop", "tool_use", "function_call"))
    return replies.Said(tuple(atoms), tuple(calls), word)


def _calls(
    rng: random.Random,
    tag: str,
    names: tuple[str, ...],
    legacy: bool,
    calls: list[replies.Call],
) -> list[replies.Atom]:
    """The fragments of some calls; what they come to is added to `calls`."""
    if legacy:
        call = replies.Call(rng.choice(names), rng.choice(ARGUMENTS))
        calls.append(call)
        return [replies.Fragment(0, each) for each in _legacy(rng, call)]
    manner = rng.choice((*MIXED, *PURE))
    written: list[list[replies.Atom]] = []
    for number in range(rng.choice((1, 1, 2, 3))):
        arguments = rng.choice(ARGUMENTS)
        if manner == "indexed" and rng.random() < 0.15:
            arguments = rng.choice(("", '{"a": 1'))
        call_id = f"call_{tag}_{number}"
        fragments = _fragments(rng, manner, number, call_id, rng.choice(names), arguments)
        written.append([replies.Fragment(number, each) for each in fragments])
        name = str(next(each["function"]["name"] for each in fragments if _name(each)))
        if manner == "parsed":
            arguments = json.dumps(
                json.loads(arguments), ensure_ascii=False, separators=(",", ":")
            )
        calls.append(replies.Call(name, arguments or "{}"))
    if manner in PURE or rng.random() < 0.3:
        return list(itertools.chain.from_iterable(written))
    return list(_mixed(rng, written, 2 if manner == "id_first" else 1))


def _name(fragment: Json) -> Any:
    return fragment.get("function", {}).get("name")


def _mixed(
    rng: random.Random, written: list[list[replies.Atom]], head: int
) -> Iterator[replies.Atom]:
    """Fragments of all calls, mixed; but each call is named before the next one begins."""
    open_calls: list[list[replies.Atom]] = []
    waiting = list(written)
    while open_calls or waiting:
        if waiting and (not open_calls or rng.random() < 0.4):
            begun = waiting.pop(0)
            yield from begun[:head]
            open_calls.append(begun[head:])
        else:
            chosen = rng.choice(open_calls)
            if chosen:
                yield chosen.pop(0)
        open_calls = [each for each in open_calls if each]


def _fragments(
    rng: random.Random, manner: Manner, index: int, call_id: str, name: str, arguments: str
) -> list[Json]:
    """One call in the manner of its upstream."""
    head: Json = {"index": index, "id": call_id, "type": "function"}
    function: Json = {"name": name, "arguments": rng.choice(("", "", None))}
    pieces = _pieces(rng, arguments)
    match manner:
        case "whole":
            return [head | {"function": {"name": name, "arguments": arguments}}]
        case "parsed":
            return [head | {"function": {"name": name, "arguments": json.loads(arguments)}}]
        case "by_name":
            first = [{"function": {"name": name, "arguments": pieces.pop(0)}}]
        case "cumulative":
            pieces = [
                arguments[: sum(map(len, pieces[:end]))] for end in range(1, len(pieces) + 1)
            ]
            first = [head | {"function": function}]
        case _:
            first = _first(manner, head, function)
    again = (_again(manner, head, name, number) for number in range(len(pieces)))
    return first + [_with(piece, members) for piece, members in zip(pieces, again, strict=True)]


def _first(manner: Manner, head: Json, function: Json) -> list[Json]:
    """What a call begins with."""
    match manner:
        case "id_first":
            named = {"index": head["index"], "function": {"name": function["name"]}}
            return [{"index": head["index"], "id": head["id"]}, named]
        case "no_ids":
            return [{"index": head["index"], "function": function}]
        case "ids" | "ids_once":
            return [{"id": head["id"], "type": "function", "function": function}]
        case "zero_indices":
            return [head | {"index": 0, "function": function}]
    return [head | {"function": function}]


def _again(manner: Manner, head: Json, name: str, number: int) -> Json:
    """By what a further piece is known to belong to its call."""
    match manner:
        case "resent":
            return head | {"function": {"name": name}}
        case "resent_empty":
            return {"index": head["index"], "id": "", "function": {"name": ""}}
        case "made_up_ids":
            return {"index": head["index"], "id": f"{head['id']}+{number}"}
        case "ids":
            return {"id": head["id"]}
        case "by_name" | "ids_once":
            return {}
        case "zero_indices":
            return {"index": 0, "id": head["id"]}
    return {"index": head["index"]}


def _with(piece: str, members: Json) -> Json:
    return members | {"function": members.get("function", {}) | {"arguments": piece}}


def _legacy(rng: random.Random, call: replies.Call) -> Iterator[Json]:
    first, *rest = _pieces(rng, call.arguments)
    yield {"name": call.name, "arguments": first}
    for piece in rest:
        yield {"arguments": piece}


def _pieces(rng: random.Random, text: str) -> list[str]:
    """A text in pieces, none of them empty if it is not."""
    if len(text) < 2:
        return [text]
    cuts = sorted(rng.sample(range(1, len(text)), min(len(text) - 1, rng.choice((0, 1, 1, 3)))))
    return [text[start:end] for start, end in itertools.pairwise((0, *cuts, len(text)))]
