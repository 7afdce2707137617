"""Clients get each call once, whole and in order, however its fragments were addressed."""

import itertools
import json
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, strategies as st

from machines.tools import fragments as toolcalls
from machines.tools.fragments import Call, Extended, Fragment, Marked, Opened
from tests.support.process import growth

Told = list[toolcalls.Change]


def tell(fragments: Sequence[Fragment]) -> tuple[toolcalls.Joiner, Told]:
    """Everything a client hears of a choice's fragments, up to its end."""
    joiner = toolcalls.Joiner("call_made_")
    told: Told = []
    for fragment in fragments:
        told += joiner.ingest_delta(fragment)
    told += joiner.end()
    return joiner, told


def repeat_whole(joiner: toolcalls.Joiner, calls: Sequence[Fragment]) -> Told:
    """What a client hears of the calls of a whole message."""
    told: Told = []
    for call in calls:
        changes = joiner.ingest_whole(call)
        assert changes is not None
        told += changes
    return told


def fold(told: Told) -> list[Call]:
    """The calls as a strict client adds them up."""
    calls: list[Call] = []
    for change in told:
        if isinstance(change, Opened):
            assert change.index == len(calls)
            assert change.name
            assert change.call_id
            calls.append(Call(change.index, change.call_id, change.name, change.arguments))
        elif isinstance(change, Extended):
            assert change.arguments
            call = calls[change.index]
            joined = call.arguments + change.arguments
            calls[change.index] = Call(call.index, call.call_id, call.name, joined)
    assert len({call.call_id for call in calls}) == len(calls)
    return calls


def calls_of(*fragments: Fragment) -> list[tuple[str, str, str]]:
    """Id, name and arguments of the calls that come of fragments."""
    joiner, told = tell(fragments)
    calls = fold(told)
    assert joiner.snapshot() == tuple(calls)
    assert joiner.dropped == ()
    return [(call.call_id, call.name, call.arguments) for call in calls]


PARIS, OSLO = '{"city":"Paris"}', '{"city":"Oslo"}'
TWO = [("a", "weather", PARIS), ("b", "clock", OSLO)]
"""The answer of every way to say the same two calls."""


def frags(*said: tuple[int | None, str | None, str | None, str | None]) -> list[Fragment]:
    """Fragments from index, id, name and arguments."""
    return [Fragment(*one) for one in said]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(
            frags(
                (0, "a", "weather", ""),
                (1, "b", "clock", ""),
                (0, None, None, '{"city"'),
                (1, None, None, '{"ci'),
                (0, None, None, ':"Paris"}'),
                (1, None, None, 'ty":"Oslo"}'),
            ),
            id="interleaved",
        ),
        pytest.param(
            frags(
                (7, "a", "weather", '{"city"'),
                (9, "b", "clock", '{"ci'),
                (7, None, None, ':"Paris"}'),
                (9, None, None, 'ty":"Oslo"}'),
            ),
            id="indices with gaps",
        ),
        pytest.param(
            frags(
                (None, "a", "weather", '{"city"'),
                (None, "b", "clock", '{"ci'),
                (None, "a", None, ':"Paris"}'),
                (None, "b", None, 'ty":"Oslo"}'),
            ),
            id="no index",
        ),
        pytest.param(
            frags(
                (0, "a", "weather", '{"city"'),
                (0, "b", "clock", '{"ci'),
                (0, "a", None, ':"Paris"}'),
                (0, None, None, 'ty":"Oslo"}'),
            ),
            id="all index 0, ids differ",
        ),
        pytest.param(
            frags(
                (0, "a", "weather", ""),
                (0, "", None, PARIS),
                (0, "b", "clock", ""),
                (0, "", None, OSLO),
            ),
            id="all index 0, then empty ids",
        ),
        pytest.param(
            frags(
                (0, "a", None, None),
                (0, None, "weather", None),
                (0, None, None, PARIS),
                (0, "b", None, None),
                (0, None, "clock", OSLO),
            ),
            id="id alone first",
        ),
        pytest.param(
            frags(
                (0, None, "weather", None),
                (0, "a", None, PARIS),
                (1, None, "clock", ""),
                (1, "b", None, ""),
                (1, None, None, OSLO),
            ),
            id="id after the name",
        ),
        pytest.param(
            frags(
                (0, "a", None, '{"city"'),
                (1, "b", None, '{"city"'),
                (0, None, None, ':"Paris"'),
                (0, None, "weather", "}"),
                (1, None, "clock", ':"Oslo"}'),
            ),
            id="name after the arguments",
        ),
        pytest.param(
            frags((0, None, None, PARIS), (0, "a", "weather", None))
            + frags((1, None, None, OSLO[:7]), (1, "b", "clock", OSLO[7:])),
            id="id and name after the arguments",
        ),
        pytest.param(
            frags((0, "a", "weather", PARIS), (0, "b", None, OSLO), (0, "b", "clock", None)),
            id="all index 0, name after the arguments",
        ),
        pytest.param(
            frags((0, "a", None, PARIS[:3]), (0, "b", None, OSLO[:5]))
            + frags((0, "a", "weather", PARIS[3:]), (0, "b", "clock", OSLO[5:])),
            id="all index 0, interleaved, names late",
        ),
        pytest.param(
            frags(
                (0, "a", "weather", '{"city"'),
                (0, "a", "weather", ':"Paris"'),
                (0, "a", "weather", "}"),
                (0, "a", "weather", ""),
                (1, "b", "clock", OSLO),
                (1, "b", "", ""),
            ),
            id="id and name resent, or empty",
        ),
        pytest.param(
            frags(
                (0, "a", "weather", None),
                (0, "x0", None, ""),
                (0, "x1", None, '{"city"'),
                (0, "x2", None, ':"Paris"}'),
                (1, "b", "clock", '{"city"'),
                (1, "x3", "", ':"Oslo"}'),
                (1, "x4", "", ""),
            ),
            id="another id in every fragment",
        ),
        pytest.param(
            frags(
                (None, "a", "weather", '{"city"'),
                (None, None, None, ':"Paris"}'),
                (None, "b", "clock", None),
                (None, None, None, OSLO),
            ),
            id="only ids, in first fragments",
        ),
        pytest.param(
            frags(
                (None, "a", "weather", '{"city"'),
                (4, "a", None, ':"Paris"'),
                (4, None, None, "}"),
                (5, "b", "clock", OSLO[:7]),
                (None, None, None, OSLO[7:]),
            ),
            id="the index only sometimes",
        ),
        pytest.param(
            frags(
                (None, None, None, None),
                (0, "", "", ""),
                (0, "a", "weather", PARIS[:7]),
                (8, "", None, ""),
                (None, None, None, PARIS[7:]),
                (1, "b", "clock", OSLO),
                (3, None, "", ""),
            ),
            id="fragments that say nothing",
        ),
        pytest.param(
            frags(
                (0, "a", "weather", '{"city"'),
                (0, "a", "weather", '{"city":"Par'),
                (1, "b", "clock", OSLO),
                (0, "a", "weather", PARIS),
                (0, "a", "weather", PARIS),
                (1, "b", "clock", OSLO),
            ),
            id="repeats of all so far",
        ),
        pytest.param(
            frags(
                (0, "a", "weather", PARIS[:9]), (0, None, None, PARIS[9:]), (1, "b", "clock", "")
            )
            + frags((0, None, None, PARIS), (1, None, None, OSLO), (1, None, None, "")),
            id="the whole once more at the end",
        ),
    ],
)
def test_the_same_two_calls(said: list[Fragment]) -> None:
    assert calls_of(*said) == TWO


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(
            frags((None, None, "weather", '{"city"'), (None, None, None, ':"Paris"}'))
            + frags((None, None, "clock", OSLO)),
            [("weather", PARIS), ("clock", OSLO)],
            id="neither index nor id",
        ),
        pytest.param(
            frags((None, None, "clock", PARIS), (None, None, "clock", OSLO)),
            [("clock", PARIS), ("clock", OSLO)],
            id="the same function twice",
        ),
        pytest.param(
            frags((None, None, "clock", ""), (None, None, None, PARIS))
            + frags((None, None, "clock", ""), (None, None, None, PARIS)),
            [("clock", PARIS), ("clock", PARIS)],
            id="the same call twice, name first",
        ),
        pytest.param(
            frags((None, None, "clock", '{"a":'), (None, None, "clock", "1"))
            + frags((None, None, "clock", "}")),
            [("clock", '{"a":1}')],
            id="a name resent without index or id",
        ),
        pytest.param(
            frags((None, None, "clock", '{"a":'), (None, None, "clock", '{"a":1}'))
            + frags((None, None, "clock", "}")),
            [("clock", '{"a":{"a":1}}')],
            id="a name resent with nested arguments",
        ),
        pytest.param(
            frags((None, None, None, PARIS), (None, None, "clock", None)),
            [("clock", PARIS)],
            id="a name after the arguments",
        ),
        pytest.param(
            frags((None, None, "stop", None), (None, None, "clock", None)),
            [("stop", ""), ("clock", "")],
            id="no arguments",
        ),
        pytest.param(
            frags((0, None, "clock", PARIS), (0, None, "clock", OSLO), (0, "", "stop", "")),
            [("clock", PARIS), ("clock", OSLO), ("stop", "")],
            id="all index 0 without ids",
        ),
        pytest.param(
            frags((0, None, "clock", '{"a":'), (0, None, "clock", '{"a":1}'))
            + frags((0, None, "clock", '{"a":1}')),
            [("clock", '{"a":1}')],
            id="a name resent with repeats",
        ),
        pytest.param(
            frags((0, None, "clock", PARIS[:3]), (0, None, "clock", PARIS[3:]))
            + frags((0, None, "clock", "\n"), (0, None, "clock", "")),
            [("clock", PARIS + "\n")],
            id="a name resent after the end",
        ),
    ],
)
def test_calls_without_ids(said: list[Fragment], expected: list[tuple[str, str]]) -> None:
    made = [(f"call_made_{index}", *call) for index, call in enumerate(expected)]
    assert calls_of(*said) == made


def test_a_second_call_of_the_same_id_gets_another() -> None:
    said = frags((0, "a", "weather", PARIS), (1, "a", "clock", OSLO), (1, "a", None, "\n"))
    assert calls_of(*said) == [("a", "weather", PARIS), ("call_made_1", "clock", OSLO + "\n")]


def test_ids_made_up_for_every_fragment_do_not_hide_nested_arguments() -> None:
    said = frags(
        (None, "x1", "f", '{"a":'),
        (None, "x2", None, '{"a":1}'),
        (None, "x3", None, "}"),
    )
    assert [arguments for _, _, arguments in calls_of(*said)] == ['{"a":{"a":1}}']


def test_an_id_that_came_without_an_index_first_is_of_one_index() -> None:
    said = frags((None, "a", "weather", PARIS[:5]), (4, "a", None, PARIS[5:]))
    said += frags((5, "a", "clock", OSLO))
    assert calls_of(*said) == [("a", "weather", PARIS), ("call_made_1", "clock", OSLO)]


@pytest.mark.parametrize(
    "said",
    [
        frags((0, "a", "stop", ""), (0, "b", None, None), (0, None, "clock", OSLO)),
        frags((0, "a", "stop", ""), (0, "b", "clock", OSLO)),
        frags((None, "a", "stop", None), (None, "b", "clock", ""), (None, None, None, OSLO)),
    ],
)
def test_a_call_without_arguments_ends_where_another_begins(said: list[Fragment]) -> None:
    assert calls_of(*said) == [("a", "stop", ""), ("b", "clock", OSLO)]


def test_a_call_without_an_id_does_not_take_that_of_the_next() -> None:
    said = frags((0, None, "stop", ""), (0, "b", "clock", OSLO))
    assert calls_of(*said) == [("call_made_0", "stop", ""), ("b", "clock", OSLO)]


def test_a_made_id_does_not_meet_an_upstreams() -> None:
    said = frags((0, "call_made_1", "weather", PARIS), (1, None, "clock", OSLO))
    assert calls_of(*said) == [("call_made_1", "weather", PARIS), ("call_made_1_", "clock", OSLO)]


def test_a_call_opens_at_once_when_it_is_known() -> None:
    joiner = toolcalls.Joiner("c")
    assert joiner.ingest_delta(Fragment(3, "a", "clock", "")) == (Opened(0, "a", "clock", ""),)
    assert joiner.ingest_delta(Fragment(3, None, None, '{"')) == (Extended(0, '{"'),)
    assert joiner.ingest_delta(Fragment(3, None, None, 'a":1}')) == (Extended(0, 'a":1}'),)
    assert joiner.end() == ()


def test_an_id_is_awaited_until_arguments_begin() -> None:
    joiner = toolcalls.Joiner("c")
    assert joiner.ingest_delta(Fragment(0, None, "clock", "")) == ()
    assert joiner.ingest_delta(Fragment(0, None, None, "{")) == (Opened(0, "c0", "clock", "{"),)
    assert joiner.ingest_delta(Fragment(0, "late", None, "}")) == (Extended(0, "}"),)
    assert joiner.snapshot() == (Call(0, "c0", "clock", "{}"),)


def test_an_id_is_awaited_until_another_call_begins() -> None:
    joiner = toolcalls.Joiner("c")
    assert joiner.ingest_delta(Fragment(0, None, "clock")) == ()
    assert joiner.ingest_delta(Fragment(1, "b", "stop")) == (
        Opened(0, "c0", "clock", ""),
        Opened(1, "b", "stop", ""),
    )


def test_an_id_is_awaited_until_the_end() -> None:
    joiner = toolcalls.Joiner("c")
    assert joiner.ingest_delta(Fragment(0, None, "clock")) == ()
    assert joiner.snapshot() == ()
    assert joiner.end() == (Opened(0, "c0", "clock", ""),)
    assert joiner.end() == ()


def test_a_call_without_a_name_is_dropped_and_named() -> None:
    said = frags((0, "a", None, PARIS), (1, "b", "clock", OSLO), (2, None, None, "{}"))
    joiner, told = tell(said)
    assert told == [Opened(0, "b", "clock", OSLO)]
    assert joiner.dropped == ("a", "")


def test_a_doubt_is_settled_as_soon_as_it_can_be() -> None:
    joiner = toolcalls.Joiner("c")
    joiner.ingest_delta(Fragment(0, "a", "clock", '{"a":'))
    assert joiner.ingest_delta(Fragment(0, None, None, '{"a":1')) == ()
    assert joiner.snapshot() == (Call(0, "a", "clock", '{"a":'),)
    assert joiner.ingest_delta(Fragment(1, "b", "stop", "{}")) == (Opened(1, "b", "stop", "{}"),)
    assert joiner.ingest_delta(Fragment(0, None, None, "}")) == ()
    assert joiner.ingest_delta(Fragment(0, None, None, "}")) == (Extended(0, '{"a":1}}'),)
    assert joiner.end() == ()


def test_a_message_is_taken_once() -> None:
    joiner = toolcalls.Joiner("c")
    message = frags(
        (None, "a", "clock", PARIS), (None, None, "clock", OSLO), (0, None, "stop", "")
    )
    assert repeat_whole(joiner, message) == [
        Opened(0, "a", "clock", PARIS),
        Opened(1, "c1", "clock", OSLO),
        Opened(2, "c2", "stop", ""),
    ]
    assert repeat_whole(joiner, message) == []
    assert joiner.ingest_delta(Fragment(None, "a", None, PARIS[:5])) == ()
    assert repeat_whole(joiner, frags((None, "d", "clock", OSLO))) == [
        Opened(3, "d", "clock", OSLO)
    ]


def test_a_message_completes_what_was_streamed() -> None:
    joiner = toolcalls.Joiner("c")
    for fragment in frags(
        (0, "a", "clock", '{"a":'), (0, None, None, '{"a":1}'), (1, None, "x", "")
    ):
        joiner.ingest_delta(fragment)
    message = frags((None, None, "x", PARIS), (None, "a", "clock", '{"a":1}'))
    assert repeat_whole(joiner, message) == [Opened(1, "c1", "x", PARIS), Extended(0, "1}")]
    assert joiner.end() == ()
    assert [call.arguments for call in joiner.snapshot()] == ['{"a":1}', PARIS]


def test_a_message_of_another_id_is_another_call() -> None:
    joiner = toolcalls.Joiner("c")
    joiner.ingest_delta(Fragment(0, "a", "clock", PARIS))
    other = Fragment(None, "b", "clock", PARIS)
    assert repeat_whole(joiner, [other]) == [Opened(1, "b", "clock", PARIS)]


def test_a_message_tells_calls_of_one_id_apart() -> None:
    joiner = toolcalls.Joiner("c")
    told: Told = []
    calls = frags((0, "a", "weather", PARIS), (1, "a", "clock", OSLO))
    for fragment in calls:
        told += joiner.ingest_delta(fragment)
    assert repeat_whole(joiner, calls) == []
    assert joiner.snapshot() == tuple(fold(told))


def test_calls_of_a_message_that_were_not_streamed_are_new() -> None:
    joiner = toolcalls.Joiner("c")
    joiner.ingest_delta(Fragment(0, "a", "weather", PARIS))
    message = frags((0, "a", "weather", PARIS), (1, "a", "clock", OSLO))
    assert repeat_whole(joiner, message) == [Opened(1, "c1", "clock", OSLO)]


@pytest.mark.parametrize("call_id", ["a", None])
def test_a_message_may_write_the_same_arguments_otherwise(call_id: str | None) -> None:
    joiner = toolcalls.Joiner("c")
    joiner.ingest_delta(Fragment(0, "a", "clock", '{"x":[1],"y":"\u00e9"}'))
    message = frags((0, call_id, "clock", '{"y": "é", "x": [1]}'))
    assert repeat_whole(joiner, message) == []


@pytest.mark.parametrize("arguments", [OSLO, PARIS[:5], PARIS + PARIS])
def test_a_message_that_contradicts_a_call_is_told_from_one_that_goes_on(arguments: str) -> None:
    joiner = toolcalls.Joiner("c")
    joiner.ingest_delta(Fragment(0, "a", "clock", PARIS))
    goes_on = arguments.startswith(PARIS)
    changes = joiner.ingest_whole(Fragment(None, "a", "clock", arguments))
    assert changes == ((Extended(0, PARIS),) if goes_on else None)
    assert joiner.snapshot()[0].arguments == (arguments if goes_on else PARIS)


def test_a_turn_is_forgotten() -> None:
    joiner = toolcalls.Joiner("c")
    joiner.ingest_delta(Fragment(0, "a", "clock", PARIS))
    joiner.ingest_delta(Fragment(1, "b", None, "{}"))
    joiner.end()
    joiner.reset_turn()
    assert joiner.snapshot() == ()
    assert joiner.dropped == ()
    assert joiner.ingest_delta(Fragment(0, None, None, "{")) == ()
    assert joiner.ingest_delta(Fragment(0, "a", "stop", "}")) == (Opened(0, "a", "stop", "{}"),)


def test_a_snapshot_stays_as_it_was() -> None:
    joiner = toolcalls.Joiner("c")
    joiner.ingest_delta(Fragment(0, "a", "clock", "{"))
    before = joiner.snapshot()
    joiner.ingest_delta(Fragment(0, None, None, "}"))
    joiner.reset_turn()
    assert before == (Call(0, "a", "clock", "{"),)
    with pytest.raises(AttributeError):
        setattr(before[0], "arguments", "{}")  # noqa: B010 - a type checker refuses it too


KEYS = st.sampled_from(["a", "城市", "😀", "", '"', "\\", "{", ":", ",", '{"', '":"', '{"a":'])
"""Keys and texts from which arguments are made that repeat their own beginning."""

VALUES = st.recursive(
    KEYS | st.integers() | st.none() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=6,
)


@st.composite
def arguments(draw: st.DrawFn) -> str:
    """JSON objects, some of them several times within themselves."""
    value = draw(st.dictionaries(KEYS, VALUES, max_size=3))
    for key in draw(st.lists(KEYS, max_size=3)):
        value = {key: value}
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    return json.dumps(value, ensure_ascii=draw(st.booleans()), separators=separators)


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    """A text in pieces; where it begins with its own beginning is cut on purpose."""
    again = [at for at in range(1, len(text)) if text[at:].startswith(text[:at])]
    places = st.integers(0, len(text))
    cuts = draw(st.lists(st.sampled_from(again) | places if again else places, max_size=8))
    edges = sorted([0, *cuts, len(text)])
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def repeat(pieces: list[str]) -> list[str]:
    """All so far, in every piece."""
    return ["".join(pieces[: end + 1]) for end in range(len(pieces))]


Address = Callable[[int, bool], tuple[int | None, str | None]]
"""Index and id that an upstream gives to the first, or a later, fragment of a call."""

WAYS: dict[str, Address] = {
    "the id first": lambda call, first: (call, f"id{call}" if first else None),
    "an empty id": lambda call, first: (call + 1, f"id{call}" if first else ""),
    "both on all": lambda call, first: (call, f"id{call}"),
    "ids on all": lambda call, first: (None, f"id{call}"),
    "all index 0": lambda call, first: (0, f"id{call}"),
    "indices on all": lambda call, first: (call, None),
    "one id for all": lambda call, first: (call, "same"),
    "in sequence, index 0": lambda call, first: (0, f"id{call}" if first else None),
    "in sequence, an id": lambda call, first: (None, f"id{call}" if first else None),
    "in sequence, nothing": lambda call, first: (None, None),
}


@st.composite
def streams(draw: st.DrawFn, way: str) -> tuple[list[tuple[str, str]], list[Fragment]]:
    """Names and arguments of up to four calls, and their fragments."""
    calls = draw(
        st.lists(
            st.tuples(st.sampled_from(["f", "g", "f_2"]), arguments()), min_size=1, max_size=4
        )
    )
    repeated, resent = draw(st.booleans()), draw(st.booleans()) and "sequence" not in way
    queues: list[list[Fragment]] = []
    for number, (name, text) in enumerate(calls):
        pieces = draw(cut(text))
        queue = []
        for position, piece in enumerate(repeat(pieces) if repeated else pieces):
            index, call_id = WAYS[way](number, position == 0)
            said = name if position == 0 or resent else draw(st.sampled_from(["", None]))
            queue.append(Fragment(index, call_id, said, piece))
        queues.append(queue)
    fragments: list[Fragment] = []
    began: list[int] = []
    while any(queues):
        left = [number for number, queue in enumerate(queues) if queue]
        number = left[0] if "sequence" in way else draw(st.sampled_from(left))
        began += [number] if number not in began else []
        fragments.append(queues[number].pop(0))
    return [calls[number] for number in began], fragments


@pytest.mark.parametrize("way", WAYS)
@given(data=st.data())
def test_calls_come_out_as_they_were_made(way: str, data: st.DataObject) -> None:
    calls, fragments = data.draw(streams(way))
    joiner, told = tell(fragments)
    folded = fold(told)
    assert sorted((call.name, call.arguments) for call in folded) == sorted(calls)
    assert joiner.snapshot() == tuple(folded)
    assert joiner.dropped == ()


@given(data=st.data())
def test_the_order_of_calls_is_kept_and_messages_change_nothing(data: st.DataObject) -> None:
    calls, fragments = data.draw(
        streams(data.draw(st.sampled_from(["both on all", "ids on all"])))
    )
    joiner, told = tell(fragments)
    assert [(call.name, call.arguments) for call in fold(told)] == calls
    whole = [Fragment(None, call.call_id, call.name, call.arguments) for call in fold(told)]
    unnamed = [Fragment(None, None, call.name, call.arguments) for call in fold(told)]
    for message in (whole, unnamed, whole):
        assert repeat_whole(joiner, message) == []


@given(
    calls=st.lists(st.tuples(st.sampled_from(["f", "g"]), arguments()), unique=True, max_size=4)
)
def test_a_message_is_its_calls(calls: list[tuple[str, str]]) -> None:
    joiner = toolcalls.Joiner("c")
    message = [Fragment(None, f"id{at}", *call) for at, call in enumerate(calls)]
    told = repeat_whole(joiner, message)
    assert [(call.name, call.arguments) for call in fold(told)] == calls
    assert joiner.end() == ()


def parted(fragment: Fragment, places: list[int]) -> list[Fragment]:
    """A fragment in parts."""
    text = fragment.arguments or ""
    edges = sorted({0, *(place for place in places if place < len(text)), len(text)})
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)] or [text]
    first, *others = (Fragment(None, None, None, piece, more=True) for piece in pieces)
    first = msgspec.structs.replace(fragment, arguments=first.arguments, more=True)
    *before, last = (first, *others)
    return [*before, msgspec.structs.replace(last, more=False)]


@pytest.mark.parametrize("way", [*WAYS, "one index, no id"])
@given(data=st.data())
def test_a_fragment_in_parts_is_that_fragment(way: str, data: st.DataObject) -> None:
    if way in WAYS:
        _, fragments = data.draw(streams(way))
    else:
        texts = data.draw(st.lists(arguments(), max_size=3))
        pieces = [piece for text in texts for piece in data.draw(cut(text) | st.just([text] * 2))]
        fragments = [Fragment(0, None, "f", piece) for piece in pieces]
    at_once, told = tell(fragments)
    places = st.lists(st.integers(1, 20), max_size=4)
    parts = [part for each in fragments for part in parted(each, data.draw(places))]
    joiner, told_of_parts = tell(parts)
    assert fold(told_of_parts) == fold(told)
    assert joiner.dropped == at_once.dropped


def test_parts_go_on_at_once_while_there_is_no_doubt() -> None:
    joiner = toolcalls.Joiner("c")
    changes = [
        joiner.ingest_delta(Fragment(0, "a", "f", '{"a":"', more=True)),
        joiner.ingest_delta(Fragment(None, None, None, '{"a":"', more=True)),
        joiner.ingest_delta(Fragment(None, None, None, '"}')),
    ]
    assert changes == [
        (Opened(0, "a", "f", '{"a":"'),),
        (Extended(0, '{"a":"'),),
        (Extended(0, '"}'),),
    ]


LONG = json.dumps({"text": "😀" * 131_000}, ensure_ascii=False)
"""Half a megabyte, so that copying it for each of its characters shows."""

STREAMS: dict[str, Callable[[str], list[Fragment]]] = {
    "one character": lambda text: [Fragment(0, "a", "f", piece) for piece in text],
    "names resent, no id": lambda text: [Fragment(0, None, "f", piece) for piece in text],
    "names resent, no address": lambda text: [Fragment(None, None, "f", piece) for piece in text],
    "an id each": lambda text: [
        Fragment(0, f"i{at}", None if at else "f", piece) for at, piece in enumerate(text)
    ],
    "in doubt": lambda text: [
        Fragment(0, "a", "f", piece) for piece in ['{"a":', '{"a":"', *text]
    ],
}


@pytest.mark.parametrize("how", STREAMS)
def test_time_is_linear_in_the_arguments(how: str) -> None:
    def prepare(length: int) -> Callable[[], object]:
        fragments = STREAMS[how](LONG[:length])
        joiner = toolcalls.Joiner("c")

        def run() -> None:
            for fragment in fragments:
                joiner.ingest_delta(fragment)
            joiner.end()

        return run

    growth.check_linear(prepare, len(LONG) // growth.TIMES)


MEMBERS = msgspec.Raw(b'{"a":1}')
OTHERS = msgspec.Raw(b'{"b":2}')


def test_further_members_go_with_the_beginning_of_a_call_or_follow_it() -> None:
    _, told = tell(
        (
            Fragment(0, "c1", members=MEMBERS),
            Fragment(0, name="f", members=OTHERS),
            Fragment(0, arguments="{}"),
            Fragment(0, members=MEMBERS),
            Fragment(1, "c2", "g", "{}", members=OTHERS),
        )
    )
    assert told == [
        Opened(0, "c1", "f", "", members=MEMBERS),
        Marked(0, OTHERS),
        Extended(0, "{}"),
        Marked(0, MEMBERS),
        Opened(1, "c2", "g", "{}", members=OTHERS),
    ]


def test_k77_a_custom_call_has_its_text_as_it_came() -> None:
    joiner, told = tell(
        (
            Fragment(0, "c1", "sh", "ls ", kind="custom"),
            Fragment(0, arguments='{"a', kind="custom"),
            Fragment(0, arguments="ls ", kind="custom"),
        )
    )
    assert [type(change) for change in told] == [Opened, Extended, Extended]
    assert joiner.snapshot() == (Call(0, "c1", "sh", 'ls {"als ', "custom"),)
