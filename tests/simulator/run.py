"""Runs a plan, and the innocents of it once more without their neighbours."""

import tempfile
from pathlib import Path

import msgspec

from tests.simulator import disk, innocence, plan, world


class Outcome(msgspec.Struct, frozen=True):
    """What came of a run.

    Attributes:
        wrong: the rules it broke, none if all is well.
        received: what each client got, byte for byte.
        lasted: seconds of virtual time.
    """

    wrong: list[str]
    received: dict[int, bytes]
    lasted: float


def run(of: plan.Plan) -> Outcome:
    """Run a plan."""
    beside = _play(of)
    wrong = beside.wrong
    if of.steps and of.innocents and beside.over:
        alone = _play(of.alone())
        wrong = wrong + alone.wrong + innocence.compare(beside, alone)
    wires = ((number, visitor.wire) for number, visitor in beside.visitors.items())
    received = {number: bytes(wire.received) for number, wire in wires if wire is not None}
    return Outcome(wrong, received, beside.loop.time())


def _play(of: plan.Plan) -> world.World:
    with tempfile.TemporaryDirectory(dir=disk.memory_directory(), prefix="simulator-") as name:
        played = world.World(of, Path(name))
        played.run()
    return played


def describe(of: plan.Plan) -> str:
    """A plan in words: one line a step."""
    lines = [f"world {of.world}", f"weather {msgspec.json.encode(of.weather).decode()}"]
    for number, step in of.everything:
        lines.append(f"{number:3} {step}")
    return "\n".join(lines)
