"""One stream from one side: the bytes that its client got, what its worker said, every record."""

from collections.abc import Iterator
from typing import Final

import msgspec

from engine.log.find import stories
from engine.log.timeline import fold, steps, timeline
from machines import errors, events
from machines.stream import machine as stream
from server.cli.log import picture

OWN: Final = frozenset(("stream", "seq", "seg", "t", "event", "state", "out", "states", "crc"))
"""Members of a record that a line has another place for."""


def client(story: stories.Story) -> Iterator[picture.Line]:
    """Return what the client got, and when: its bytes, rendered again as a replay does, where the
    log has the texts, else the steps that they were made of."""
    read = steps.read(story)
    opened = read.all[0].event if read.all else None
    if isinstance(opened, events.RequestRejected):
        yield from _refusal(story)
        return
    if not isinstance(opened, events.Opened):
        yield picture.sentence_of(
            "The beginning is not in the log: nobody can say what the client got."
        )
        return
    if opened.content == "masked":
        yield picture.sentence_of(
            "The texts are masked in this log, so the bytes cannot be had: the steps, as they went"
            " out.",
            "head",
        )
        yield from _steps(read)
        return
    yield from _bytes(opened, read)


def _refusal(story: stories.Story) -> Iterator[picture.Line]:
    from server.cli.log.formats import answer as answers  # loads the renderers

    refusal = answers.answer(story)
    if refusal.masked:
        yield picture.sentence_of(
            "The texts are masked in this log: the body as it went out, but for them.", "head"
        )
    yield picture.Line(f"{0:>8.3f} s  {refusal.body.decode().rstrip()}", form="whole")


def _bytes(opened: events.Opened, read: steps.Steps) -> Iterator[picture.Line]:
    from server.renderers import reply  # loads as long as everything else together

    machine, renders = stream.Stream(opened), reply(opened)
    for step in read.all[1:]:
        if not isinstance(step.event, events.StreamInput):
            continue
        if step.record.seq in read.holes:
            yield picture.sentence_of(
                "Records are missing here: what went out behind is not known.", "bad"
            )
            return
        try:
            emitted = machine.step(step.event).outputs
        except errors.MachineError as error:
            yield picture.sentence_of(f"Today's code cannot go on from here: {error}", "bad")
            return
        made = b"".join(renders.render(output, step.record.t) for output in emitted)
        if made:
            for number, line in enumerate(made.decode().rstrip("\n").split("\n")):
                at = f"{step.at_us / 1e6:>8.3f} s" if number == 0 else " " * 10
                yield picture.Line(f"{at}  {line}".rstrip(), form="whole")


def _steps(read: steps.Steps) -> Iterator[picture.Line]:
    for step in read.all[1:]:
        if step.record.out:
            text = getattr(step.event, "text", "")
            said = f"{' '.join(step.record.out)}  {text}".rstrip()
            yield picture.Line(f"{step.at_us / 1e6:>8.3f} s  {said}")


def worker(story: stories.Story) -> Iterator[picture.Line]:
    """Return what the worker said and was asked, as the log has it."""
    read = steps.read(story)
    if read.all and isinstance(read.all[0].event, events.RequestRejected):
        yield picture.sentence_of("The request was refused before a worker was asked.")
        return
    lanes = {mark.seq: mark.lane for mark in fold.fold(story).marks}
    lane: timeline.Lane = "client"
    for step in read.all:
        lane = lanes.get(step.record.seq, lane)
        if lane == "worker":
            yield _record(step)


def every(story: stories.Story) -> Iterator[picture.Line]:
    """Return every record, a line each."""
    return map(_record, steps.read(story).all)


def _record(step: steps.Step) -> picture.Line:
    record = step.record
    members = msgspec.json.decode(record.raw)
    said = msgspec.json.encode({name: members[name] for name in members if name not in OWN})
    states = " > ".join(record.states) or record.state
    out = f" [{' '.join(record.out)}]" if record.out else ""
    fields = "" if said == b"{}" else " " + said.decode()
    at = f"{step.at_us / 1e6:>8.3f} s"
    line = f"{record.seq:>6} {at}  {record.event}{fields}  {states}{out}"
    return picture.Line(line, form="whole")
