"""The bytes that a stream's client got, made again from its records and held against their hash.

A log has no bytes, only their number and a keyed hash. So what today's code makes of the records
is what was recorded where the hash says so, and nowhere else.
"""

from collections.abc import Sequence

import msgspec

from engine.log import replay
from engine.log.content import digest
from engine.log.read import segments
from machines import errors, events
from machines.stream import machine as stream


class Body(msgspec.Struct, frozen=True):
    """A body as today's code makes it.

    Attributes:
        is_recorded: whether its hash is the recorded one; None where the log has none to compare,
            or the texts are masked.
        failure: why it ends before its end; empty where it does not.
    """

    data: bytes
    is_recorded: bool | None
    failure: str = ""


def body(records: Sequence[segments.Record], make_renderer: replay.MakeRenderer) -> Body:
    """Return what a client would get of a stream today.

    Args:
        records: all of the stream, from its first.

    Raises:
        LaterVersion: this version cannot read them.
    """
    opened = records[0].load()
    assert isinstance(opened, events.Opened), "a stream has a beginning"
    machine, renderer = stream.Stream(opened), make_renderer(opened)
    parts: list[bytes] = []
    failure = ""
    for record in records[1:]:
        event = record.load()
        if not isinstance(event, events.StreamInput):
            continue
        decided = record.decision if opened.content == "masked" else None
        try:
            step = machine.step(event, decided)
        except errors.MachineError as error:
            failure = str(error)
            break
        parts += (renderer.render(output, record.t) for output in step.outputs)
    data = b"".join(parts)
    return Body(data, _is_recorded(data, opened, records[-1].load()), failure)


def _is_recorded(
    data: bytes, opened: events.Opened, recorded: segments.LoggedEvent
) -> bool | None:
    if not isinstance(recorded, events.Terminal) or not recorded.body_hash or not opened.hash_key:
        return None
    if opened.content == "masked":
        return None
    hashed = digest.BodyDigest(bytes.fromhex(opened.hash_key))
    hashed.update(data)
    return hashed.hexdigest() == recorded.body_hash and len(data) == recorded.body_bytes
