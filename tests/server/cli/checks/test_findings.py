"""Findings: sizes as people write them."""

import pytest

from server.cli.checks import findings


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (64 << 20, "64.0 MiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 42, "4.0 TiB"),
    ],
)
def test_a_size_has_a_unit(count: int, said: str) -> None:
    assert findings.size(count) == said
