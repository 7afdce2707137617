"""Random streams for property tests: how one was opened, and whatever may happen to it then."""

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

from hypothesis import strategies as st

from machines import errors, events, outputs, stream
from tests.playbook import opened

ALPHABET = 'ab#é漢😀\n"\\\u2028\x00'
"""Characters of one to four bytes, those that JSON escapes, and those of `STOPS`."""

STOPS = ("#", "##", "ab", "aab", "abab#", "漢a")
"""Stop sequences that texts over `ALPHABET` run into, and nearly run into."""

TEXTS = st.text(ALPHABET, max_size=6)
WORDS = st.sampled_from(["stop", "length", "max_output_tokens", "content_filter", "banana", ""])
USAGES = st.none() | st.builds(events.Usage, *(st.integers(0, 9) for _ in range(4)))
FAILURES = st.sampled_from(["upstream_error", "timeout", "worker_lost", "rejected"])


class Story(NamedTuple):
    """A stream's options, and its events in order."""

    opened: events.Opened
    events: tuple[events.StreamInput, ...]


@st.composite
def stories(draw: st.DrawFn, /, *, until_ended: bool = False, **fixed: Any) -> Story:
    """Streams of up to three choices.

    Args:
        until_ended: whether the story must come to an end, by its own events or by a failure.
        fixed: options of the stream that shall not be random.
    """
    n = draw(st.sampled_from([1, 1, 2, 3]))
    options: dict[str, Any] = {
        "n": n,
        "streaming": draw(st.booleans()),
        "include_usage": draw(st.booleans()),
        "stop": draw(st.sampled_from([(), (), *((stop,) for stop in STOPS), STOPS])),
        "max_bytes": draw(st.sampled_from([None, None, 0, 1, 5, 12])),
        "length_on_worker_exit": draw(st.booleans()),
    }
    first = opened(**options | fixed)
    happened = draw(st.lists(_events(first.n), max_size=30))
    if until_ended:
        happened += [events.TurnFinished("stop", choice) for choice in range(first.n)]
        happened += [events.TimerFired("finish_grace")]
    return Story(first, tuple(happened))


def _events(n: int) -> st.SearchStrategy[events.StreamInput]:
    """Texts far more often than ends, as in life."""
    choice = st.integers(0, n - 1)
    text = st.builds(events.TextDelta, TEXTS, choice)
    notice = st.one_of(
        st.builds(events.ItemStarted, st.just("reasoning"), choice),
        st.builds(events.BufferPressure, st.just(300_000)),
    )
    end = st.one_of(
        st.builds(events.TurnFailed, FAILURES, st.just("upstream_error"), TEXTS, choice),
        st.builds(events.TimerFired, st.sampled_from(get_args(events.TimerName))),
        st.builds(events.ClientGone, st.sampled_from(get_args(events.GoneCause))),
        st.just(events.ServerStopping()),
    )
    return st.one_of(
        *(text, text, text, text, text, text),
        st.builds(events.ReasoningDelta, TEXTS, choice),
        st.builds(events.TokensCounted, USAGES, choice),
        st.builds(events.TurnFinished, WORDS, choice),
        notice,
        end,
    )


def steps(
    machine: stream.Stream, happened: tuple[events.StreamInput, ...]
) -> Iterator[tuple[events.StreamInput, outputs.Step]]:
    """Each event a machine takes, and its step; those it refuses are left out."""
    for event in happened:
        try:
            step = machine.step(event)
        except errors.IllegalEvent:
            continue
        yield event, step
