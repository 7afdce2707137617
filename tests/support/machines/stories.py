"""Random streams for property tests: how one was opened, and whatever may happen to it then."""

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import msgspec
from hypothesis import strategies as st

from engine.log.content import mask
from machines import errors, events, outputs, tooloptions
from machines.stream import machine as stream
from tests.support.machines.playbook import opened

ALPHABET = 'ab#é漢😀\n"\\\u2028\x00'
"""Characters of one to four bytes, those that JSON escapes, and those of `STOPS`."""

STOPS = ("#", "##", "ab", "aab", "abab#", "漢a")
"""Stop sequences that texts over `ALPHABET` run into, and nearly run into."""

BLOCKS = (
    "<use_tool><name>a</name><x>1</x></use_tool>",
    "<use_tool>\n<name>a</name>\n<x>1</x>\n</use_tool>",
    '<use_tool name="b"/>',
    "<use_tool><name>c</name>漢</use_tool>",
    "<use_tool></use_tool>",
)
"""Blocks that are calls, of names that are declared or not, and one that is none."""

SHREDS = (*BLOCKS, *BLOCKS, "<use_tool>", "<use_t", "</use_tool>", "<", ">", "<name>a</name>", "#")
"""What the texts of calls are made of, and of what is nearly one."""

TEXTS = st.text(ALPHABET, max_size=6)
TAGGED = st.lists(st.sampled_from(SHREDS) | TEXTS, max_size=4).map("".join)
WORDS = st.sampled_from(["stop", "length", "max_output_tokens", "content_filter", "banana", ""])
COUNTS = st.builds(events.Usage, *(st.integers(0, 9) for _ in range(4)))
USAGES = st.none() | COUNTS
FAILURES = st.sampled_from(["upstream_error", "timeout", "worker_lost", "rejected"])


NAMES = st.sampled_from(["a", "b", "c"])
IDS = st.sampled_from(["", "i", "j"])
ARGUMENTS = st.sampled_from(["", "{}", '{"x":"1"}', '{ "x": "1" }', '{"x"', ':"1"}', "漢"])


def tools(**fixed: Any) -> st.SearchStrategy[tooloptions.ToolOptions]:
    """Options of tools, those that are not `fixed` random."""
    options: dict[str, st.SearchStrategy[Any]] = {
        "names": st.sampled_from([(), ("a",), ("a", "b")]),
        "output_mode": st.sampled_from(get_args(tooloptions.OutputMode)),
        "legacy": st.booleans(),
        "max_calls": st.sampled_from([0, 0, 1, 2]),
        "dedup": st.booleans(),
        "stop_after": st.sampled_from([None, None, *get_args(tooloptions.StopAfterTools)]),
        "suppress_tail": st.booleans(),
        "call_limit": st.sampled_from([1, 3, tooloptions.CALL_LIMIT]),
    }
    given = {name: st.just(value) for name, value in fixed.items()}
    return st.builds(tooloptions.ToolOptions, **options | given)


NO_TOOLS = st.just(tooloptions.NO_TOOLS)
ANY_TOOLS = NO_TOOLS | tools()


class Story(NamedTuple):
    """A stream's options, and its events in order."""

    opened: events.Opened
    events: tuple[events.StreamInput, ...]


@st.composite
def stories(
    draw: st.DrawFn,
    /,
    *,
    until_ended: bool = False,
    tools: st.SearchStrategy[tooloptions.ToolOptions] = ANY_TOOLS,
    **fixed: Any,
) -> Story:
    """Streams of up to three choices.

    Args:
        until_ended: whether the story must come to an end, by its own events or by a failure.
        tools: its options of tools.
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
        "prompt_bytes": draw(st.sampled_from([None, 40])),
        "empty_message": draw(st.sampled_from(get_args(events.EmptyMessage))),
        "tools": draw(tools),
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
    text = st.builds(events.TextDelta, TEXTS | TAGGED, choice)
    call = st.one_of(
        st.builds(events.ToolCalled, IDS, NAMES, ARGUMENTS, choice),
        st.builds(
            events.ToolCallDelta,
            st.sampled_from([None, 0, 1]),
            st.none() | IDS,
            st.sampled_from([None, ""]) | NAMES,
            st.none() | ARGUMENTS,
            choice,
        ),
    )
    phase = st.sampled_from([None, *get_args(events.Phase)])
    boundary = st.one_of(
        st.builds(events.MessageStarted, phase, choice),
        st.builds(events.MessageCompleted, phase, choice),
        st.builds(events.ReasoningPartStarted, choice),
        st.builds(events.ReasoningCompleted, TEXTS, choice),
    )
    thought = st.sampled_from(get_args(events.ReasoningKind))
    notice = st.one_of(
        st.builds(events.ItemStarted, st.just("reasoning"), choice),
        st.builds(events.UpstreamGarbled, TEXTS, choice),
        st.just(events.ThreadChanged("start_sent", "new", "starting")),
        st.builds(events.BufferPressure, st.just(300_000)),
    )
    end = st.one_of(
        st.builds(events.TurnFailed, FAILURES, st.just("upstream_error"), TEXTS, choice),
        st.builds(events.TimerFired, st.sampled_from(get_args(events.TimerName))),
        st.builds(events.ClientGone, st.sampled_from(get_args(events.GoneCause))),
        st.just(events.ServerStopping()),
    )
    return st.one_of(
        *(text, text, text, text, text, text, call, call),
        st.builds(events.ReasoningDelta, TEXTS, choice, thought),
        boundary,
        st.builds(events.RefusalDelta, TEXTS, choice),
        st.builds(events.TokensCounted, USAGES, choice),
        st.builds(events.TokensEstimated, COUNTS, choice),
        st.builds(events.TurnFinished, WORDS, choice, st.just(False), st.booleans()),
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


_INPUTS: msgspec.json.Decoder[events.StreamInput] = msgspec.json.Decoder(events.StreamInput)


def masked(event: events.StreamInput) -> events.StreamInput:
    """An event as a masked log gives it back."""
    return _INPUTS.decode(msgspec.json.encode(mask.mask_event(event)))
