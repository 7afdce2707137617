"""Each rule of an upstream's world fails where it is broken."""

from typing import Any, Final

import msgspec
import pytest

from tests.simulator import plan, replies, upstreamrules, violations
from tests.simulator.finished import (
    REPLY,
    Change,
    answer,
    body,
    both,
    marked,
    other_counts,
    plan_of,
    visitor,
    wrong_after,
)

REFUSAL: Final = replies.Refusal(
    status=429, body="{}", codes=("rate_limit_exceeded",), retry_after=7, delay=0.01
)

# What an upstream was asked, and has answered.


def entry(run: Any) -> Any:
    """The one request that an upstream was sent."""
    (found,) = run.backend.played[0]
    return found


def entry_with(**members: Any) -> Change:
    """Other members of that request."""

    def change(run: Any) -> None:
        for name, value in members.items():
            setattr(entry(run), name, value)

    return change


def asked_with(**members: Any) -> Change:
    """Other members of what was asked."""
    return lambda run: entry(run).body.update(members)


def again(*replied: replies.Reply, reused: bool = False) -> Change:
    """Requests before the last one."""

    def change(run: Any) -> None:
        last = entry(run)
        earlier = [msgspec.structs.replace(last, reply=reply) for reply in replied]
        run.backend.played[0][:0] = earlier
        if reused:
            earlier[0].reused, earlier[0].over, earlier[0].offset = True, "hung_up", 1 << 30
            last.reused = True

    return change


def never_asked(run: Any) -> None:
    run.backend.played.clear()


def unread(run: Any) -> None:
    """A client that left with a part of its answer."""
    visitor(run).left = True
    found = answer(run)
    found.whole = False
    found.body = found.body.partition(b'"lo"')[0].rpartition(b"\n\n")[0] + b"\n\n"


def stale(run: Any) -> None:
    found = entry(run)
    found.reused, found.over, found.offset = True, "hung_up", 1 << 30


def without_text(run: Any) -> None:
    found = answer(run)
    frames = found.body.split(b"\n\n")
    found.body = b"\n\n".join(frame for frame in frames if b'"content": ' not in frame)
    found.body = b"\n\n".join(frame for frame in frames if b'"content":"lo"' not in frame)


def without_retry_after(run: Any) -> None:
    del answer(run).headers["retry-after"]


def another_status(run: Any) -> None:
    answer(run).status = 418


def first_frame_only(run: Any) -> None:
    found = answer(run)
    found.body = found.body.partition(b"\n\n")[0] + b"\n\n"


RETRIED: Final = msgspec.structs.replace(REFUSAL, status=503, retry_after=None)
BROKEN: Final = msgspec.structs.replace(REPLY, ending="error", counts=None, part=0.9)
EMPTY: Final = replies.Rubbish(
    data=b"", then="close", codes=("upstream_disconnected", "empty_upstream"), delay=0.01
)

WHOLE: Final = plan_of("upstream")
FAILED: Final = plan_of("upstream", answered=(BROKEN,))
REFUSED: Final = plan_of("upstream", answered=(REFUSAL,))
LOST: Final = plan_of("upstream", answered=(EMPTY,))


def may_be_empty(run: Any) -> None:
    run.plan.weather.config["empty_upstream"] = "empty"


def estimated(run: Any) -> None:
    """An answer that was long enough to be cut, with the upstream's counts as an estimate."""
    weather = run.plan.weather
    config = weather.config | {"nonstream_truncate_after_ms": 1}
    weather = msgspec.structs.replace(weather, config=config)
    run.plan = msgspec.structs.replace(run.plan, weather=weather)
    answer(run).headers["x-turntape-usage"] = "estimated"


UPSTREAMS: Final[dict[str, tuple[plan.Plan, Change]]] = {
    "were held for a client": (
        WHOLE,
        lambda run: setattr(visitor(run).wire, "most_waiting", 1_000_000),
    ),
    "the upstream was given": (
        WHOLE,
        lambda run: entry(run).headers.update(authorization="bearer alice"),
    ),
    "not asked for a counted stream": (WHOLE, asked_with(stream=False)),
    "by a client that asked": (WHOLE, asked_with(temperature=0)),
    "that may be stale too": (WHOLE, again(REPLY, reused=True)),
    "asked again after Stream": (WHOLE, again(REPLY)),
    "asked 4 times": (WHOLE, again(RETRIED, RETRIED, RETRIED)),
    "choice 0 is Choice(content='Hella'": (WHOLE, body(b'"lo"', b'"la"')),
    "told that an answer is whole that is not": (WHOLE, entry_with(whole_at=None)),
    "usage is unknown, and was told": (WHOLE, marked(b"unknown")),
    "is an estimate of what was not cut": (WHOLE, marked(b"estimated")),
    "is no estimate of": (plan_of("upstream", stream=False), estimated),
    "usage (8, 3) where": (WHOLE, other_counts),
    "a stream that neither": (WHOLE, first_frame_only),
    "told Choice(content='Hel', ": (WHOLE, both(unread, never_asked)),
    "choice 0 is Choice(content='Hal', ": (WHOLE, both(unread, body(b'"Hel"', b'"Hal"'))),
    "bad_thing, and the upstream was not asked": (FAILED, never_asked),
    "closed while it was idle was not replaced": (FAILED, stale),
    "good_thing where ['bad_thing'] was due": (FAILED, body(b"bad_thing", b"good_thing")),
    "choice 0 is 'Hel', of 'Hello' before a failure": (FAILED, without_text),
    "given up after 1 attempts": (
        REFUSED,
        entry_with(reply=msgspec.structs.replace(REFUSAL, status=503, retry_after=None)),
    ),
    "status 418 of a 429": (REFUSED, another_status),
    "retry-after None of a": (REFUSED, without_retry_after),
    "an error in place of an empty stream": (
        LOST,
        both(may_be_empty, body(b"upstream_disconnected", b"empty_upstream")),
    ),
}
"""What is wrong, in a plan and a change of what its upstream was asked, or its client told."""


@pytest.mark.parametrize("says", UPSTREAMS)
def test_a_rule_fails_where_it_is_broken(says: str) -> None:
    wrong = wrong_after(*UPSTREAMS[says])
    assert [each for each in wrong if says in each], wrong


def test_every_rule_is_among_these() -> None:
    with violations.noted() as raised:
        for says in UPSTREAMS:
            test_a_rule_fails_where_it_is_broken(says)
    assert raised.missing(upstreamrules) == []
