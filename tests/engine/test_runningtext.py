"""A whole text is held against what has gone out of it."""

import random

from hypothesis import given, strategies as st

from engine import runningtext

texts = st.text(max_size=40)


def running(pieces: list[str]) -> runningtext.RunningText:
    made = runningtext.RunningText()
    for piece in pieces:
        made.add(piece)
    return made


@given(st.lists(texts), texts)
def test_what_continues_a_text_is_its_rest(pieces: list[str], rest: str) -> None:
    assert running(pieces).rest_of("".join(pieces) + rest) == rest


@given(st.lists(st.text(min_size=1, max_size=9), min_size=1), st.data())
def test_a_hole_is_noticed_wherever_it_is(pieces: list[str], data: st.DataObject) -> None:
    whole = "".join(pieces)
    lost = data.draw(st.integers(0, len(pieces) - 1))
    heard = pieces[:lost] + pieces[lost + 1 :]
    rest = running(heard).rest_of(whole)
    assert rest is None or "".join(heard) + rest == whole


def test_many_pieces_are_one_text_however_they_are_folded() -> None:
    chance = random.Random(1)
    pieces = [chance.choice(("a", "é", "😀", "\ud83d", "")) for _ in range(5000)]
    made = running(pieces)
    assert made.rest_of("".join(pieces)) == ""
    made.add("x")
    assert made.rest_of("".join(pieces) + "xy") == "y"
    assert made.rest_of("".join(pieces) + "yx") is None
    assert made.rest_of("") is None


def test_a_text_has_begun_with_its_first_character() -> None:
    text = runningtext.RunningText()
    text.add("")
    assert not text.begun
    text.add("a")
    assert text.begun
    text.fold()
    assert text.begun
