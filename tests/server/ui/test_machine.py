"""The machine as data is the table that runs."""

from machines.stream import states
from server.ui import machine


def test_every_way_of_the_table_is_told_with_its_events() -> None:
    drawn = machine.drawn()
    told = {(a.source, event): a.target for a in drawn.arrows for event in a.events}
    assert told == dict(states.TABLE.transitions)
    assert drawn.initial == "held"
    assert set(drawn.final) == set(states.TABLE.final)
    assert drawn.states == states.TABLE.states
