"""Compares a bad stream with a good one, by what each went through and not by their records.

Two answers never have the same words at the same times. What is compared is in the order of a
stream's life, so the first difference is the first that may explain the others. What was quicker
in the bad one explains nothing: mostly it only ended sooner.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from engine.log.timeline import evidence, timeline
from machines import errors, parse

FACTOR: Final = 2.0
LEAST_US: Final = 100_000
"""From when on two times differ: by how many times, and by how much."""

TEXTS: Final = frozenset(
    ("messages", "input", "instructions", "prompt", "user", "metadata", "safety_identifier")
)
"""Members of a request that are no options."""

SHOWN: Final = 120
"""Characters of a value that is shown."""


class Difference(msgspec.Struct, frozen=True):
    """Something that is another in two streams.

    Attributes:
        aspect: what it is.
        bad, good: how it was in each.
        at_us: when the bad one was another than the good one; None of what is of no time.
    """

    aspect: str
    bad: str
    good: str
    at_us: int | None = None


def compare(bad: timeline.Timeline, good: timeline.Timeline) -> tuple[Difference, ...]:
    """Return the differences, in the order of a stream's life."""
    found = [*_asked(bad, good), *_answered(bad, good)]
    return tuple(found)


def _asked(bad: timeline.Timeline, good: timeline.Timeline) -> Iterator[Difference]:
    for name in ("endpoint", "model", "target", "worker", "n", "streaming", "effort", "key"):
        yield from _differing(name, getattr(bad.request, name), getattr(good.request, name))
    theirs, ours = bad.request.versions, good.request.versions
    for name in sorted(theirs.keys() | ours.keys()):
        yield from _differing(f"version of {name}", theirs.get(name), ours.get(name))
    options, others = _options(bad.request.body), _options(good.request.body)
    for name in sorted(options.keys() | others.keys()):
        yield from _differing(f"option {name}", options.get(name), others.get(name))


def _answered(bad: timeline.Timeline, good: timeline.Timeline) -> Iterator[Difference]:
    yield from _attempts(bad, good)
    first, other = bad.received.first_us, good.received.first_us
    if other is not None and (first is None or _is_slower(first, other)):
        said = evidence.seconds(first) if first is not None else "never"
        at = min(other, bad.ending.at_us)
        yield Difference("first piece (TTFT)", said, evidence.seconds(other), at)
    yield from _gaps(bad, good)
    yield from _phases(bad, good)
    at_us = bad.ending.at_us
    yield from _differing("calls", _calls(bad.calls), _calls(good.calls))
    yield from _differing("finish", _finish(bad.received), _finish(good.received), at_us)
    yield from _differing("usage", _usage(bad.received), _usage(good.received), at_us)
    yield from _differing("status", bad.received.status, good.received.status, at_us)
    yield from _differing("ending", ending(bad.ending), ending(good.ending), at_us)


def _differing(
    aspect: str, bad: object, good: object, at_us: int | None = None
) -> Iterator[Difference]:
    if bad != good:
        yield Difference(aspect, _spelled(bad), _spelled(good), at_us)


def _spelled(value: object) -> str:
    text = "-" if value is None or value == "" else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _options(body: msgspec.Raw | None) -> dict[str, Any]:
    """Return the options of a request; of one that cannot be read, none."""
    if body is None:
        return {}
    try:
        members = parse.parse(body, _MEMBERS)
    except errors.DecodeError:
        return {}
    return {name: bytes(value).decode() for name, value in members.items() if name not in TEXTS}


_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _is_slower(one: int, other: int) -> bool:
    return one > other * FACTOR and one - other >= LEAST_US


def _attempts(bad: timeline.Timeline, good: timeline.Timeline) -> Iterator[Difference]:
    told, other = (
        [f"{each.how} on {each.worker}: {each.code or 'answered'}" for each in one.attempts]
        for one in (bad, good)
    )
    ways = [[(each.how, each.worker) for each in one.attempts] for one in (bad, good)]
    is_end = all(each.code in (None, bad.ending.code) for each in bad.attempts)
    if told != other and not (ways[0] == ways[1] and is_end):  # the ending says it
        failed = (each.end_us for each in bad.attempts if each.code is not None)
        at = next(failed, bad.attempts[0].start_us if bad.attempts else 0)
        yield Difference("attempts", _spelled(", ".join(told)), _spelled(", ".join(other)), at)


def _gaps(bad: timeline.Timeline, good: timeline.Timeline) -> Iterator[Difference]:
    """Compare the longest silence of each owner."""
    longest, others = _longest(bad.gaps), _longest(good.gaps)
    for owner, gap in sorted(longest.items()):
        length, usual = _length(gap), _length(others.get(owner))
        if _is_slower(length, usual):
            said = [evidence.seconds(each) if each else "none" for each in (length, usual)]
            yield Difference(f"longest silence, {owner}", said[0], said[1], gap.start_us + usual)


def _longest(gaps: Iterable[timeline.Gap]) -> dict[timeline.Owner, timeline.Gap]:
    found: dict[timeline.Owner, timeline.Gap] = {}
    for gap in gaps:  # the longest come first
        found.setdefault(gap.owner, gap)
    return found


def _length(gap: timeline.Gap | None) -> int:
    return gap.end_us - gap.start_us if gap is not None else 0


def _phases(bad: timeline.Timeline, good: timeline.Timeline) -> Iterator[Difference]:
    """Compare the states that the first choice went through, and how long each lasted."""
    told, other = ([phase for phase in one.phases if not phase.choice] for one in (bad, good))
    for mine, usual in zip(told, other, strict=False):
        if mine.state != usual.state:
            break
        took, usually = mine.end_us - mine.start_us, usual.end_us - usual.start_us
        silent, usually_silent = _silent_us(bad.gaps, mine), _silent_us(good.gaps, usual)
        if _is_slower(took - silent, usually - usually_silent):  # else its silences say it
            said = evidence.seconds(took), evidence.seconds(usually)
            yield Difference(f"time in {mine.state}", *said, mine.start_us + usually)
    paths = [" > ".join(phase.state for phase in each) for each in (told, other)]
    if paths[0] != paths[1]:
        parted = (
            mine.start_us
            for mine, usual in itertools.zip_longest(told, other)
            if mine is not None and (usual is None or mine.state != usual.state)
        )
        at = next(parted, bad.ending.at_us)
        yield Difference("states", _spelled(paths[0]), _spelled(paths[1]), at)


def _silent_us(gaps: Iterable[timeline.Gap], phase: timeline.Phase) -> int:
    """Return how much of a phase was silence."""
    within = (min(gap.end_us, phase.end_us) - max(gap.start_us, phase.start_us) for gap in gaps)
    return sum(length for length in within if length > 0)


def _calls(calls: tuple[timeline.Call, ...]) -> str:
    said = []
    for call in calls:
        parses = ", no JSON object" if call.parses is False else ""
        said.append(f"{call.name} ({call.fate}{parses})")
    return ", ".join(said)


def _finish(got: timeline.Received) -> str:
    return ", ".join(reason or "none" for reason in got.finish_reasons)


def ending(of: timeline.Ending) -> str:
    """Return kind and code of an ending, once where they are the same word."""
    return " ".join(dict.fromkeys(filter(None, (of.kind, of.code))))


def _usage(got: timeline.Received) -> str:
    """Return whether counts are there, and whose: how many they are follows from the texts."""
    return "none" if got.usage is None else got.usage_source
