"""Shows what a client saw of a stream, and when: its records, run through today's machine again.

A log keeps what came from a worker, and what the machine made of it by name; the bytes that went
out are made again from both, as a replay makes them. Where the log keeps no words, what was
decided stands in its records, so lengths and order are the client's, and the bytes cannot be had.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from engine.log.content import digest
from engine.log.find import stories
from engine.log.read import segments
from machines import errors, events, outputs
from machines.stream import machine as stream
from server import renderers

Proof = Literal["same", "other", "masked", "unknown"]
"""Whether the bytes are those that went out: their digest is the recorded one, or another; they
cannot be made again; nobody recorded a digest."""


class Piece(msgspec.Struct, frozen=True, omit_defaults=True):
    """An output of the machine, as far as a reader sees it.

    Attributes:
        kind: tag of the output.
        text: of content, thinking, a refusal, a call's arguments or name, a reason, an error.
        index: of a call.
    """

    kind: str
    text: str = ""
    choice: int = 0
    index: int = 0


class Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of an answer that one record let the client see.

    Attributes:
        at_us: since the stream was opened.
        data: bytes of the body as text; what is no UTF-8 is replaced. Empty where they are masked.
        bytes: how many they are.
    """

    seq: int
    at_us: int
    pieces: tuple[Piece, ...] = ()
    data: str = ""
    bytes: int = 0


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of a stream as its client saw it.

    Attributes:
        problem: why the frames end before the records do; empty where they do not.
    """

    frames: tuple[Frame, ...] = ()
    proof: Proof = "unknown"
    problem: str = ""


_INNER: Final = frozenset({"cancel_turn", "tool_buffer_started", "tool_buffer_flushed"})
"""Outputs that no client sees anything of."""


def seen(story: stories.Story) -> Seen:
    """Return what the client of a stream saw; nothing of a story that no stream begins."""
    if not story.records or story.records[0].event != "opened":
        return Seen()
    frames: list[Frame] = []
    try:
        opened = story.records[0].load()
        assert isinstance(opened, events.Opened)
        proof = _run(opened, story.records, frames)
    except (errors.MachineError, segments.LaterVersion) as error:
        return Seen(tuple(frames), "unknown", str(error))
    return Seen(tuple(frames), proof)


def _run(
    opened: events.Opened, records: tuple[segments.Record, ...], frames: list[Frame]
) -> Proof:
    played, reply = stream.Stream(opened), renderers.reply(opened)
    is_full = opened.content == "full" and opened.hash_key is not None
    body = digest.BodyDigest(bytes.fromhex(opened.hash_key or ""))
    start = records[0].t
    for record in records[1:]:
        event = record.load()
        if isinstance(event, events.Terminal):
            if not is_full:
                return "masked"
            if not event.body_hash:
                return "unknown"
            return "same" if event.body_hash == body.hexdigest() else "other"
        if not isinstance(event, events.StreamInput):
            continue
        step = played.step(event, None if is_full else record.decision)
        data = b""
        if is_full:
            data = b"".join(reply.render(each, record.t) for each in step.outputs)
            body.update(data)
        pieces = tuple(piece for each in step.outputs for piece in _pieces(each))
        if data or pieces:
            text = data.decode(errors="replace")
            frames.append(Frame(record.seq, record.t - start, pieces, text, len(data)))
    return "unknown" if is_full else "masked"


def _pieces(output: outputs.AnyOutput) -> Iterator[Piece]:
    kind = str(output.__struct_config__.tag)
    if kind in _INNER:
        return
    match output:
        case outputs.Content() | outputs.Reasoning() | outputs.Refusal():
            yield Piece(kind, output.text, output.choice)
        case outputs.ToolCall(index, _, name, arguments, choice):
            yield Piece(kind, name, choice, index)
            if arguments:
                yield Piece("tool_arguments", arguments, choice, index)
        case outputs.ToolArguments(index, arguments, choice):
            yield Piece(kind, arguments, choice, index)
        case outputs.Finish():
            yield Piece(kind, output.reason, output.choice)
        case outputs.Failure():
            yield Piece(kind, f"{output.code}: {output.message}")
        case outputs.Rejected(failure):
            yield Piece(kind, f"{failure.code}: {failure.message}")
        case _:
            yield Piece(kind, choice=getattr(output, "choice", 0))
