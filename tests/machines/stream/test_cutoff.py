"""Where an answer is cut does not depend on the pieces it came in, and nothing waits in vain."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, strategies as st

from machines import outputs
from machines.stream import cutoff
from tests.support.machines import feeding, stories
from tests.support.process import growth

Cut = tuple[str, outputs.Cut | None]
"""What was released, and why no more."""


def feed(pieces: Iterable[str], stop: tuple[str, ...], max_bytes: int | None = None) -> Cut:
    """Run a scanner over pieces until it cuts, or to their end."""
    scanner = cutoff.CutOff(stop, max_bytes)
    buffer, released = "", ""
    for piece in pieces:
        buffer += piece
        decision = scanner.feed(piece)
        released += buffer[: decision.released]
        if decision.cut:
            return released, decision.cut
        buffer = buffer[decision.released :]
    decision = scanner.end()
    return released + buffer[: decision.released], decision.cut


def naive(text: str, stop: tuple[str, ...], max_bytes: int | None) -> Cut:
    """The same by the definition: look at every prefix of the text, shortest first."""
    cut: outputs.Cut | None = None
    for end in range(1, len(text) + 1):
        ending = [sequence for sequence in stop if text[:end].endswith(sequence)]
        if ending:
            text, cut = text[: end - max(map(len, ending))], "stop"
            break
    while max_bytes is not None and len(text.encode()) > max_bytes:
        text, cut = text[:-1], "length"
    return text, cut


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("plain", (), ("plain", None)),
        ("no such thing", ("##",), ("no such thing", None)),
        ("a##b", ("##",), ("a", "stop")),
        ("a#b##c", ("##",), ("a#b", "stop")),
        ("##", ("##",), ("", "stop")),
        ("a###", ("##",), ("a", "stop")),
        ("ends with #", ("##",), ("ends with #", None)),
        ("aaab", ("aab",), ("a", "stop")),
        ("ababaabab#", ("abab#",), ("ababa", "stop")),
        ("xabcd", ("abcd", "bc"), ("xa", "stop")),
        ("xabcd", ("bc", "abc"), ("x", "stop")),
        ("xabcd", ("cd", "d", "abcd"), ("x", "stop")),
        ("xabcd", ("abcd", "cd", "d"), ("x", "stop")),
        ("漢字。", ("字",), ("漢", "stop")),
        ("👩‍👩‍👧 end", ("👧 ",), ("👩‍👩‍", "stop")),
        ("a\r\nb\n\nc", ("\n\n",), ("a\r\nb", "stop")),
    ],
)
def test_the_first_sequence_to_be_complete_ends_the_answer_before_it(
    text: str, stop: tuple[str, ...], expected: Cut
) -> None:
    assert feeding.feed_all_ways(lambda pieces: feed(pieces, stop), text) == expected


@pytest.mark.parametrize(
    ("text", "max_bytes", "expected"),
    [
        ("abcd", 4, ("abcd", None)),
        ("abcde", 4, ("abcd", "length")),
        ("abc", 0, ("", "length")),
        ("", 0, ("", None)),
        ("漢字", 6, ("漢字", None)),
        ("漢字", 5, ("漢", "length")),
        ("漢字", 2, ("", "length")),
        ("a😀b", 4, ("a", "length")),
        ("a😀b", 5, ("a😀", "length")),
        ("éé", 3, ("é", "length")),
    ],
)
def test_the_code_point_that_would_exceed_the_budget_ends_the_answer(
    text: str, max_bytes: int, expected: Cut
) -> None:
    assert feeding.feed_all_ways(lambda pieces: feed(pieces, (), max_bytes), text) == expected


@pytest.mark.parametrize(
    ("text", "max_bytes", "expected"),
    [
        ("ab##", 2, ("ab", "stop")),
        ("ab##", 1, ("a", "length")),
        ("ab#c", 2, ("ab", "length")),
        ("ab#", 2, ("ab", "length")),
        ("ab#", 3, ("ab#", None)),
        ("##", 0, ("", "stop")),
    ],
)
def test_of_both_limits_the_one_that_is_met_first_counts(
    text: str, max_bytes: int, expected: Cut
) -> None:
    assert feeding.feed_all_ways(lambda pieces: feed(pieces, ("##",), max_bytes), text) == expected


@given(
    st.lists(st.text(stories.ALPHABET, max_size=5), max_size=10),
    st.lists(st.text("ab#漢", min_size=1, max_size=5), max_size=4).map(tuple),
    st.none() | st.integers(0, 30),
)
def test_any_pieces_of_any_text_give_what_the_definition_says(
    pieces: list[str], stop: tuple[str, ...], max_bytes: int | None
) -> None:
    assert feed(pieces, stop, max_bytes) == naive("".join(pieces), stop, max_bytes)


@given(
    st.lists(st.text("ab#", min_size=1, max_size=12), min_size=1, max_size=10),
    st.lists(st.text("ab#", min_size=1, max_size=5), min_size=1, max_size=3).map(tuple),
)
def test_text_is_held_exactly_while_it_may_begin_a_sequence(
    pieces: list[str], stop: tuple[str, ...]
) -> None:
    scanner = cutoff.CutOff(stop, None)
    buffer = ""
    for piece in pieces:
        buffer += piece
        decision = scanner.feed(piece)
        if decision.cut:
            return
        buffer = buffer[decision.released :]
        prefixes = {sequence[:end] for sequence in stop for end in range(len(sequence))}
        held = max((prefix for prefix in prefixes if buffer.endswith(prefix)), key=len)
        assert buffer == held


def test_nothing_is_held_where_there_is_no_sequence_to_wait_for() -> None:
    scanner = cutoff.CutOff((), 100)
    assert scanner.feed("ab#") == outputs.Decision(3)
    assert scanner.end() == outputs.Decision(0)
    scanner = cutoff.CutOff(("##",), None)
    assert scanner.feed("ab") == outputs.Decision(2)
    assert scanner.feed("c#") == outputs.Decision(1)
    assert scanner.feed("d") == outputs.Decision(2)
    assert scanner.end() == outputs.Decision(0)


def fed(text: str, stop: tuple[str, ...]) -> None:
    """Let a text that has none of the sequences through, in pieces of 64."""
    pieces = [text[start : start + 64] for start in range(0, len(text), 64)]
    assert feed(pieces, stop) == (text, None)


def test_time_is_linear_in_the_text_and_does_not_grow_with_the_sequence() -> None:
    def prepare(length: int) -> Callable[[], object]:
        return lambda: fed("a" * length, ("a" * 1000 + "b",))

    growth.check_linear(prepare, 250_000)
    text = "a" * 1_000_000
    growth.check_as_fast(lambda: fed(text, ("a" * 1000 + "b",)), lambda: fed(text, ("ab",)))
