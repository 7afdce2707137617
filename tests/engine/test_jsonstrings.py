"""Texts as JSON, all at once."""

import msgspec
from hypothesis import given, strategies as st

from engine import jsonstrings

TEXTS = st.lists(st.text() | st.text(',"\\\n[]a', max_size=3) | st.sampled_from(',"a'), min_size=1)


@given(TEXTS)
def test_each_text_is_as_it_was_and_stands_alone(texts: list[str]) -> None:
    joined = jsonstrings.join(texts, b"\n")
    assert [msgspec.json.decode(line) for line in joined.split(b"\n")] == texts
