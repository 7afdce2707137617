"""Compares what innocents got beside their neighbours with what they get alone.

The bytes must be the same, but for these, each for its reason:

- ids that are made of chance (`chatcmpl-…`, `resp_…`, `st_…` and those made of them), which are
  drawn from one generator for all streams: each becomes the number of its first appearance;
- `created`, `created_at`, `completed_at` and the header `date`, which are the clock's;
- heartbeats, which are a matter of microseconds where a silence is as long as their interval:
  there may be one more or one less, and a stream of the Responses API counts them among its
  events, so `sequence_number` is left out as well (that the numbers follow on each other is
  checked elsewhere);
- how frames of different choices follow each other, where each has a turn of its own.

So must the times be at which frames come, up to what the design allows: a busy pipe is read a
millisecond later, a connection may be there already, and what the worlds round themselves.
"""

import collections
import re
from typing import TYPE_CHECKING, Final

import msgspec

from tests.simulator import answers, client, plan, rules

if TYPE_CHECKING:
    from tests.simulator import world

LATE_S: Final = 0.005
"""How far a frame may be from its time: four reads of a busy pipe, and a margin."""

HOPS: Final = 3
"""Answers to requests that an answer begins with: each may come a read later."""

FULL: Final = ("worker_busy", "concurrency_exceeded")
"""What those are told for whom there is no place."""

_ID: Final = re.compile(rb"(chatcmpl-|resp_|st_|msg_|rs_|fc_|item_|call_)([0-9a-f]{24})")
_TIME: Final = re.compile(rb'"(created|created_at|completed_at)":\d+')
_SEQUENCE: Final = re.compile(rb'"sequence_number":\d+')
_CHOICE: Final = re.compile(rb'"choices":\[\{"index":(\d+)')

_HEARTBEATS: Final = (b": keepalive", b"event: response.in_progress")


class Seen(msgspec.Struct):
    """One answer as a client saw it.

    Attributes:
        head: its status and headers.
        frames: of each choice, and under "" those of none; times beside them.
        heard: what it came to.
        whole: whether it came to its end.
    """

    head: tuple[int, dict[str, str]]
    frames: dict[str, list[tuple[bytes, float]]]
    heartbeats: int
    heard: answers.Heard
    whole: bool


class _Normal:
    """Replaces what is made of chance or of the clock, the same way all through an answer."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}

    def of(self, data: bytes) -> bytes:
        data = _TIME.sub(rb'"\1":0', _SEQUENCE.sub(b'"sequence_number":0', data))
        return _ID.sub(self._number, data)

    def _number(self, found: re.Match[bytes]) -> bytes:
        number = self._known.setdefault(found[2], len(self._known))
        return b"%b%d" % (found[1], number)


def seen(visitor: client.Visitor) -> Seen | None:
    """The answer that a visitor of one request got."""
    if not visitor.answers or visitor.wire is None:
        return None
    (answer,) = visitor.answers
    normal = _Normal()
    headers = {
        name: normal.of(value.encode()).decode()
        for name, value in answer.headers.items()
        if name not in ("date", "content-length", "x-turntape-overhead-ms")
    }
    frames: dict[str, list[tuple[bytes, float]]] = collections.defaultdict(list)
    found = Seen((answer.status, headers), frames, 0, visitor.heard(0), answer.whole)
    times = _Times(bytes(visitor.wire.received), visitor.wire.arrivals, answer)
    end = 0
    for frame in answer.body.split(b"\n\n") if answer.streams else [answer.body]:
        end += len(frame) + 2
        if frame.startswith(_HEARTBEATS):
            found.heartbeats += 1
        elif frame:
            choice = _CHOICE.search(frame)
            group = choice[1].decode() if choice is not None else ""
            frames[group].append((normal.of(frame), times.of(end)))
    return found


class _Times:
    """When each byte of an answer's body came."""

    def __init__(
        self, received: bytes, arrivals: list[tuple[float, int]], answer: answers.Answer
    ) -> None:
        self._arrivals = arrivals
        start = received.index(b"\r\n\r\n") + 4
        self._chunks: list[tuple[int, int]] = [(len(answer.body), len(received))]
        if answer.headers.get("transfer-encoding") == "chunked":
            self._chunks = _chunks(received, start)

    def of(self, end: int) -> float:
        """When the byte before `end` had come."""
        raw = next((raw for body, raw in self._chunks if body >= end), self._chunks[-1][1])
        return next((when for when, count in self._arrivals if count >= raw), float("inf"))


def _chunks(received: bytes, start: int) -> list[tuple[int, int]]:
    """Where each chunk of a body ends: within the body, and within what was received."""
    found: list[tuple[int, int]] = []
    length = 0
    while True:
        line, separator, _ = received[start:].partition(b"\r\n")
        if not separator or not int(line, 16):
            return found or [(0, start)]
        size = int(line, 16)
        start += len(line) + 2 + size
        length += size
        found.append((length, start))
        start += 2


def compare(beside: "world.World", alone: "world.World") -> list[str]:
    """What is wrong with the answers of the innocents of a run."""
    wrong = []
    for number, visit in beside.plan.innocents:
        try:
            _compare(beside, alone, number, visit)
        except answers.Broken as broken:
            wrong.append(f"innocent {number}: {broken}")
    return wrong


def _compare(beside: "world.World", alone: "world.World", number: int, visit: plan.Visit) -> None:
    usual, found = seen(alone.visitors[number]), seen(beside.visitors[number])
    contended = beside.plan.contended
    if usual is None or not (usual.whole and usual.heard.done):
        if contended and usual is not None and usual.heard.error in FULL:
            return
        raise answers.Broken(f"it is not answered when it is alone: {usual}")
    why = beside.exposure(number)
    in_bursts = beside.plan.weather.in_bursts
    if why is not None:
        check = _check_burst if in_bursts else _check_beginning
        check(usual, found, why)
        return
    if found is None:
        raise answers.Broken("it was not answered")
    if contended and found.heard.error in FULL:
        return
    if in_bursts:
        _check_burst(usual, found, "in a burst")
        return
    _check_same(usual, found)
    _check_end(beside, 10 * number)
    if not contended and beside.plan.weather.config["log_fsync"] != "always":
        _check_times(beside, alone, 10 * number, usual, found)


def _check_same(usual: Seen, found: Seen) -> None:
    if found.head != usual.head:
        raise answers.Broken(f"its head is {found.head}, and alone {usual.head}")
    if found.frames.keys() != usual.frames.keys():
        raise answers.Broken(f"choices {list(found.frames)}, and alone {list(usual.frames)}")
    for group, frames in usual.frames.items():
        told = [frame for frame, _ in found.frames[group]]
        due = [frame for frame, _ in frames]
        if told != due:
            at = next(
                (at for at, pair in enumerate(zip(told, due, strict=False)) if len(set(pair)) > 1),
                min(len(told), len(due)),
            )
            raise answers.Broken(
                f"frame {at} of {len(told)} is {told[at : at + 1]}, and alone, of {len(due)},"
                f" {due[at : at + 1]}"
            )
    if abs(found.heartbeats - usual.heartbeats) > 1:
        raise answers.Broken(f"{found.heartbeats} heartbeats, and alone {usual.heartbeats}")


def _check_end(beside: "world.World", ask: int) -> None:
    """The log says as well that all is well."""
    end = beside.ends.get(f"sim-{ask}")
    if end is None:
        if beside.logs_all:
            raise answers.Broken("its end is not in the log")
    elif end.kind not in rules.WHOLE:
        raise answers.Broken(f"the log has it end as {end.kind}")


def _check_times(
    beside: "world.World", alone: "world.World", ask: int, usual: Seen, found: Seen
) -> None:
    """Neighbours delay nothing, beyond what the design has a pipe and a connection do."""
    weather = beside.plan.weather
    begun, due = beside.backend.begun_at(ask), alone.backend.begun_at(ask)
    if begun is None or due is None:
        raise answers.Broken("its worker was not asked")
    hop = LATE_S + weather.tick
    # A connection that is there need not be made; one that is stale has to be made after all.
    connecting = weather.latency if beside.plan.world == "upstream" else 0.0
    if abs(begun - due) > HOPS * hop + connecting:
        raise answers.Broken(f"its worker began at {begun:.6f}, and alone at {due:.6f}")
    hop += abs(begun - due)
    for group, frames in usual.frames.items():
        pairs = zip(frames, found.frames[group], strict=True)
        for at, ((_, early), (_, late)) in enumerate(pairs):
            if abs(late - early) > hop:
                raise answers.Broken(f"frame {at} came at {late:.6f}, and alone at {early:.6f}")


def _check_burst(usual: Seen, found: Seen | None, why: str) -> None:
    """Which calls belong to a burst is decided by time, as the operator has asked: one of the two
    answers may have more of them."""
    if found is None or not found.heard.choices:
        return
    for told in found.heard.choices:
        if not any(_begins(told, due) or _begins(due, told) for due in usual.heard.choices):
            raise answers.Broken(f"{told}, and alone {usual.heard.choices} ({why})")


def _check_beginning(usual: Seen, found: Seen | None, why: str) -> None:
    """What hit all that it shared may have cut an innocent's answer, and changes nothing else."""
    if found is None or not found.heard.choices:
        return
    for told in found.heard.choices:  # another attempt may say it as another choice
        if not any(_begins(told, due) for due in usual.heard.choices):
            raise answers.Broken(f"{told}, and alone {usual.heard.choices} ({why})")
    if found.heard.error == "internal_error":
        raise answers.Broken(f"an error of the server's own ({why})")


def _begins(told: answers.Choice, due: answers.Choice) -> bool:
    """Whether a choice is a beginning of another."""
    block = told.content.rfind("<u")  # what may have become a call, and is text where it ended
    said = told.content if due.content.startswith(told.content) else told.content[:block]
    return (
        due.content.startswith(said)
        and due.reasoning.startswith(told.reasoning)
        and due.refusal.startswith(told.refusal)
        and len(told.calls) <= len(due.calls)
    )
