"""A record in a few words; they are masked where it is."""

from collections.abc import Callable
from typing import Any, Final

from engine.log.read import segments
from machines import events

MOST: Final = 160
"""Characters of somebody else's words in a line."""


def words(event: segments.LoggedEvent) -> str:
    """Return what an event says that its name does not; empty where that is all."""
    said = _SAID.get(type(event))
    return said(event) if said is not None else ""


def _cut(text: str) -> str:
    return text if len(text) <= MOST else text[: MOST - 1] + "…"


def _failed(event: events.TurnFailed) -> str:
    said = (event.code, event.word, _cut(event.detail or event.message))
    return ": ".join(part for part in said if part)


def _retried(event: events.RetryScheduled) -> str:
    failed = f"attempt {event.attempt} failed with {event.code}"
    said = f"{failed}, again in {event.delay_ms / 1000:g} s"
    return f"{said}: {_cut(event.detail)}" if event.detail else said


def _target(event: events.FallbackTaken | events.FallbackSkipped) -> str:
    return f"{event.model} on {event.worker}, for {event.code}"


def _worker(event: events.WorkerChanged) -> str:
    members = ", ".join(f"{name} {value}" for name, value in event.detail.items())
    said = f"{event.worker} {event.trigger}"
    return f"{said}: {_cut(members)}" if members else said


def _change(event: events.TurnChanged | events.ThreadChanged) -> str:
    late = f", of {event.late_of}" if event.late_of else ""
    return f"{event.before} -{event.trigger}-> {event.after}{late}"


def _terminal(event: events.Terminal) -> str:
    said = f"{event.kind} by {event.emission_trigger}"
    return f"{said}, {event.code}" if event.code else said


def _rejected(event: events.RequestRejected) -> str:
    asked = f"{event.method} {event.route or event.path}".strip()
    return f"{event.status} {event.code}: {asked}" if asked else f"{event.status} {event.code}"


def _usage(event: events.TokensCounted | events.TokensEstimated) -> str:
    usage = event.usage
    return f"{usage.prompt_tokens} in, {usage.completion_tokens} out" if usage else "none"


def _resumed(event: events.TurnResumed) -> str:
    return f"{event.thread_id}, parked for {event.parked_us / 1e6:.1f} s"


def _reused(event: events.ThreadReused) -> str:
    return f"{event.thread_id}, idle for {event.idle_us / 1e6:.1f} s"


_SAID: Final[dict[type, Callable[[Any], str]]] = {
    events.Opened: lambda event: f"{event.model} on {event.worker}",
    events.ToolCalled: lambda event: (
        f"{event.name}, {len(event.arguments.encode())} bytes of arguments"
    ),
    events.ToolCallDropped: lambda event: event.name,
    events.TurnFinished: lambda event: _cut(event.reason),
    events.TokensCounted: _usage,
    events.TokensEstimated: _usage,
    events.TurnFailed: _failed,
    events.TimerFired: lambda event: event.timer,
    events.ClientGone: lambda event: event.cause,
    events.TurnStarted: lambda event: event.thread_id,
    events.TurnResumed: _resumed,
    events.ParkMissed: lambda event: _cut(event.reason),
    events.ThreadReused: _reused,
    events.ReuseMissed: lambda event: _cut(event.reason),
    events.ThreadForked: lambda event: event.thread_id,
    events.CallDemanded: lambda event: f"{event.attempt}",
    events.TurnChanged: _change,
    events.ThreadChanged: _change,
    events.ItemStarted: lambda event: event.item,
    events.ModelRerouted: lambda event: f"{event.model} {event.reason}".rstrip(),
    events.UpstreamGarbled: lambda event: _cut(event.data),
    events.MembersDropped: lambda event: _cut(", ".join(event.names)),
    events.RpcSent: lambda event: event.method,
    events.RpcReplied: lambda event: _cut(event.error or ""),
    events.RetryScheduled: _retried,
    events.FallbackTaken: _target,
    events.FallbackSkipped: _target,
    events.BufferPressure: lambda event: f"{event.buffered} bytes wait",
    events.WorkerChanged: _worker,
    events.Terminal: _terminal,
    events.RequestRejected: _rejected,
}
"""The words of each event that has any beside its name."""
