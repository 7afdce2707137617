"""A stream that broke is severed: nothing is collected or sent, and its end is a cut."""

from typing import Any

from engine.stream import sink


class Noted:
    """A sink that notes what is done with it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def cut(self) -> None:
        self.done.append("cut")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a severed stream's sink is asked to {name}")


def test_a_severed_stream_is_cut_and_nothing_else() -> None:
    noted: Any = Noted()
    severed = sink.Severed(noted)
    part = severed.collect()
    assert (part.data, part.status, part.last) == (b"", 0, True)
    severed.send(part)
    assert noted.done == []
    severed.finish(part, lambda error: None)
    assert noted.done == ["cut"]
