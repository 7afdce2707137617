"""The last record of a stream is small where there is little to say."""

import msgspec

from machines import terminal


def test_what_is_not_said_is_not_written() -> None:
    last = terminal.Terminal(kind="empty", emission_trigger="turn_finished", status=200)
    assert msgspec.json.encode(last) == (
        b'{"event":"terminal","kind":"empty","emission_trigger":"turn_finished","status":200}'
    )
