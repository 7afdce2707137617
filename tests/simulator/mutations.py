"""Planted bugs: each takes something from the product that the simulator must miss.

A mutation is a context manager. While it lasts, some run must break a rule.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final
from unittest import mock

import msgspec

from engine.codex.request import history
from engine.codex.turns import attempt, counting, idlethreads, parking, reader as codex, thread
from engine.log import event_log as eventlog
from engine.log.write import livesegment
from engine.stream import estimate, pump, times, wakeups
from machines import events, outputs
from machines.stream import choice, machine as stream
from machines.turn import turn as turns
from server import permits
from server.chat import fold, sse
from server.http import connection, exchange as http, outbound

Mutation = Callable[[], contextlib.AbstractContextManager[object]]


def replaced(owner: Any, name: str, replacement: Callable[..., Any]) -> Mutation:
    """A function of the product replaced; the replacement's first argument is the original."""
    original = getattr(owner, name)

    def instead(*arguments: Any, **options: Any) -> Any:
        return replacement(original, *arguments, **options)

    return lambda: mock.patch.object(owner, name, instead)


def _rendered(output: type, change: Callable[[Any, Any, bytes], bytes]) -> Mutation:
    """The bytes of an output of a stream, changed."""
    original = sse._RENDERERS[output]

    def instead(chunks: Any, said: Any) -> bytes:
        return change(chunks, said, original(chunks, said))

    return lambda: mock.patch.dict(sse._RENDERERS, {output: instead})


def nothing(*_: Any, **__: Any) -> None:
    """In place of what should be done."""


def _usage_last(original: Any, machine: Any, trigger: str) -> Any:
    said = original(machine, trigger)
    return said[::-1] if len(said) > 1 else said


def _dropped_record(original: Any, its: Any, event: Any, step: Any) -> Any:
    if isinstance(event, events.TokensCounted):
        return its.now()
    return original(its, event, step)


def _sent_first(_: Any, its: Any) -> None:
    """`Wakeups._end` with the bytes before their records."""
    while its._with_texts:
        source, member = its._with_texts.popleft()
        member.flush_texts()
        its._joined[source] = member
    its._phase = wakeups.WakeupPhase.NONE
    joined, its._joined = its._joined, {}
    its._send([(source, member, source.collect()) for source, member in joined.items()])
    its._log.flush()


def _any_key(original: Any, lot: Any, turn: Any, answer: Any, *rest: Any) -> Any:
    parked = lot._turns.get(answer.calls[0].call_id)
    if parked is not None:
        turn = msgspec.structs.replace(turn, key_id=parked.turn.key_id)
    return original(lot, turn, answer, *rest)


def _found_by(*fields: str) -> Mutation:
    """Idle threads are found by these of what they must be found by, and not by the others."""
    names = ("identity", "before", "answer")

    def key(*given: Any) -> tuple[Any, ...]:
        return tuple(value for name, value in zip(names, given, strict=True) if name in fields)

    return lambda: mock.patch.object(history, "key", key)


def _left_to_others(original: Any, its: Any, turn: Any, asked: Any, goal: Any) -> Any:
    """A thread that is taken stays among those that are idle."""
    with mock.patch.object(attempt.Attempt, "idle", True):
        idle = original(its, turn, asked, goal)
    key = history.key(asked.identity, goal.before, goal.answer)
    expiry = its._loop.call_later(its._ttl, its._threads.pop, key, None)
    its._threads[key] = msgspec.structs.replace(idle, expiry=expiry)
    its._taken += idle.threads
    return idle


def _concluded(_: Any, its: Any, reason: str) -> None:
    its._finish(reason, turns.Event.CONCLUDED)


def _of_any_key(original: Any, turn: Any) -> Any:
    return original(msgspec.structs.replace(turn, key_id=""))


def _alive_by_itself(original: Any, its: Any, event: Any, now: int) -> None:
    original(its, event, now)
    its.event = now


def _without_timer(original: Any, its: Any, now: int, *life: Any) -> None:
    its._timer = None
    original(its, now, *life)


def _last_text_first(original: Any, its: Any, event: Any) -> None:
    """A text that waits is overtaken by what comes after it."""
    if isinstance(event, events.TextDelta):
        original(its, event)
    else:
        its._step(event)


def _first_choice_only(original: Any, its: Any, output: Any) -> Any:
    if isinstance(output, outputs.Finish) and output.choice:
        return None
    return original(its, output)


@contextlib.contextmanager
def _never_spoke() -> Iterator[None]:
    with mock.patch.object(attempt.Attempt, "heard", False):
        yield


MUTATIONS: Final[dict[str, Mutation]] = {
    "finish_twice": _rendered(outputs.Finish, lambda _, __, data: data * 2),
    "role_missing_for_choice_1": _rendered(
        outputs.Role, lambda _, said, data: b"" if said.choice == 1 else data
    ),
    "error_frame_omitted": _rendered(outputs.Failure, lambda *_: b""),
    "done_after_an_error": _rendered(outputs.Failure, lambda _, __, data: data + sse.DONE),
    "usage_after_done": replaced(stream.Stream, "_complete_if_ready", _usage_last),
    "texts_left_out_of_an_estimate": replaced(estimate.AnswerSize, "add", nothing),
    "finish_lost_in_a_body": replaced(fold.ChatBody, "_take", _first_choice_only),
    "permit_not_given_back": replaced(permits.Permit, "release", nothing),
    "seat_leaked_on_interrupt": replaced(thread.Thread, "_interrupted", nothing),
    "interrupt_not_sent": replaced(thread.Thread, "_interrupt", lambda _, its: its.seat.leave()),
    "retry_after_output": _never_spoke,
    "parked_turn_of_another_key": replaced(parking.Parking, "_find", _any_key),
    "thread_goes_on_behind_another_history": _found_by("identity", "answer"),
    "thread_goes_on_for_another_key": replaced(history, "read", _of_any_key),
    "thread_goes_on_behind_a_cut_answer": replaced(codex.TurnReader, "_cut", _concluded),
    "thread_taken_twice": replaced(idlethreads.IdleThreads, "_find", _left_to_others),
    "usage_is_of_the_whole_thread": replaced(
        counting, "difference", lambda original, _, after: original(counting.NONE, after)
    ),
    "held_text_lost": replaced(choice.Choice, "release_last", lambda _, its, decided: (None, [])),
    "texts_out_of_order": replaced(pump.Pump, "event", _last_text_first),
    "timer_not_cancelled": replaced(pump.Pump, "_end", _without_timer),
    "heartbeat_is_a_sign_of_life": replaced(times.Times, "saw", _alive_by_itself),
    "record_dropped": replaced(eventlog.StreamLog, "append", _dropped_record),
    "bytes_before_their_records": replaced(wakeups.Wakeups, "_end", _sent_first),
    "failed_write_not_undone": replaced(livesegment.LiveSegment, "undo", nothing),
    "gone_client_not_noticed": replaced(connection.Connection, "lost", nothing),
    "stalled_client_never_cut": replaced(outbound.StallWatch, "stalled", lambda *_, **__: False),
    "answers_never_end": replaced(
        http.Exchange, "finish", lambda _, its, data=b"": its.write(data)
    ),
}
"""Every planted bug by its name."""
