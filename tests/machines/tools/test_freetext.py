"""The text for a custom tool: the same out of the same arguments, however they were divided."""

import json

import pytest
from hypothesis import given, strategies as st

from machines.tools import freetext

TEXTS = st.text(st.characters(codec="utf-8"))


def text_of(*pieces: str) -> str:
    """The text that arguments stand for, taken in these pieces."""
    taken = freetext.FreeText()
    return "".join([*map(taken.feed, pieces), taken.end()])


@st.composite
def divided(draw: st.DrawFn, arguments: st.SearchStrategy[str]) -> tuple[str, ...]:
    """Arguments in pieces."""
    text = draw(arguments)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=5)))
    return tuple(text[a:b] for a, b in zip((0, *cuts), (*cuts, len(text)), strict=True))


@given(st.data(), TEXTS, st.booleans())
def test_any_text_comes_out_as_it_went_in(data: st.DataObject, text: str, plain: bool) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=plain)
    assert text_of(*data.draw(divided(st.just(arguments)))) == text


WRITTEN = st.lists(
    st.sampled_from([*'{}":\\ \nu', "input", "dC3d", "\\ud83d", "\\ude00", "n", "00", '"input":"'])
)


@given(st.data(), st.booleans())
def test_whatever_the_model_writes_the_pieces_change_nothing(
    data: st.DataObject, usual: bool
) -> None:
    opening = '{"input": "' if usual else ""
    pieces = data.draw(divided(st.builds(lambda parts: opening + "".join(parts), WRITTEN)))
    assert text_of(*pieces) == text_of("".join(pieces))


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        (('{"input"', ': "*** Beg', "in\\", 'n+a"', "}"), ["", "*** Beg", "in", "\n+a", ""]),
        (('{ "input" : "\\ud8', "3d\\ud", 'e00!"}'), ["", "", "\U0001f600!"]),
    ],
    ids=["line break", "pair"],
)
def test_what_is_sure_is_told_at_once(pieces: tuple[str, ...], told: list[str]) -> None:
    taken = freetext.FreeText()
    assert [taken.feed(piece) for piece in pieces] == told
    assert taken.end() == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input": "a\nb"}', "a\nb"),
        ('{"input": "a\\d"}', "a\\d"),
        ('{"input": "\\ud83d"}', "\ufffd"),
        ('{"input": "\\ud83d', "\ufffd"),
        ('{"input": "a\\', "a\\"),
        ('{"input": "a", "more": 1}', "a"),
        ('{"reason": "x", "input": "a\\u0062"}', "ab"),
        ('{"patch": "*** Begin"}', "*** Begin"),
        ('"*** Begin"', "*** Begin"),
        ("*** Begin Patch\n", "*** Begin Patch\n"),
        ("{}", ""),
        ("", ""),
        ("[1]", "[1]"),
        ('{"a": 1}', '{"a": 1}'),
        ('{"a": "x", "b": "y"}', '{"a": "x", "b": "y"}'),
        (" " * 200 + '{"input": "far"}', "far"),
        ("[" * 200, "[" * 200),
    ],
)
def test_unusual_arguments_lose_nothing(arguments: str, text: str) -> None:
    assert text_of(arguments) == text
    assert text_of(*arguments) == text
