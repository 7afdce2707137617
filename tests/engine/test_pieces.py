"""A long text is cut into pieces that are the same text, and nothing else is."""

import pytest

from engine import pieces
from machines import events

LONG = "漢a" * pieces.PIECE


@pytest.mark.parametrize("kind", pieces.TEXTS)
def test_a_long_text_is_in_pieces_of_the_limit_and_joined_the_same(
    kind: type[events.TextDelta],
) -> None:
    cut = pieces.of(kind(LONG + "b", 3))
    assert [type(piece) for piece in cut] == [kind] * 3
    texts = [piece.text for piece in cut if isinstance(piece, kind)]
    assert [len(text) for text in texts] == [pieces.PIECE, pieces.PIECE, 1]
    assert "".join(texts) == LONG + "b"
    assert {piece.choice for piece in cut if isinstance(piece, kind)} == {3}


def test_a_text_of_just_the_limit_is_taken_whole() -> None:
    event = events.TextDelta("x" * pieces.PIECE)
    assert pieces.of(event) == [event]
    assert len(pieces.of(events.TextDelta("x" * (pieces.PIECE + 1)))) == 2


@pytest.mark.parametrize(
    "event", [events.TurnFinished("stop"), events.ToolCallDelta(0, arguments=LONG)]
)
def test_what_is_no_text_is_taken_whole(event: events.StreamInput) -> None:
    assert pieces.of(event) == [event]
