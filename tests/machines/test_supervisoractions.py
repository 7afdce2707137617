"""Every action of a supervisor is asked for by some step, and has a name of its own."""

import typing

from machines import supervisor, supervisoractions as actions

EVENTS: tuple[supervisor.AnyEvent, ...] = (
    supervisor.StartAsked(),
    supervisor.Spawned(7),
    supervisor.HandshakeDone("1.2.3"),
    supervisor.PingMissed(3_000),
    supervisor.PingAnswered(),
    supervisor.Suspected("thread/start unanswered"),
    supervisor.Emptied(),
    supervisor.Exited(-9),
    supervisor.BackoffElapsed(),
    supervisor.Spawned(8),
    supervisor.StopAsked(),
)
"""A life with everything in it."""


def test_every_action_is_asked_for() -> None:
    machine = supervisor.Supervisor(supervisor.Limits())
    asked = {type(action) for event in EVENTS for action in machine.step(event)}
    assert asked == set(typing.get_args(actions.AnyAction))


def test_no_two_actions_share_a_name() -> None:
    tags = [kind.__struct_config__.tag for kind in typing.get_args(actions.AnyAction)]
    assert len(tags) == len(set(tags))
