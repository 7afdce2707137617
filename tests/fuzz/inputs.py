"""What parsers are fed: any JSON, and bytes cut anywhere."""

import itertools

from hypothesis import settings, strategies as st

MANY = settings(max_examples=5 * settings().max_examples // 2)
"""Of a test whose examples cost next to nothing."""

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)
"""Any JSON value, of moderate size."""


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """Bytes in pieces."""
    edges = [0, *sorted(at % (len(data) + 1) for at in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 10_000), max_size=6)
"""Where `cut` cuts."""
