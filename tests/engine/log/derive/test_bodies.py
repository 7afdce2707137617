"""A body is the recorded one where its hash says so."""

import msgspec
import pytest

from engine.log.derive import bodies
from engine.log.read import segments
from machines import errors, events
from machines.stream import machine as stream
from server.renderers import reply
from tests.support.logs import corpus
from tests.tools import capture


def records(name: str) -> list[segments.Record]:
    return list(segments.read(capture.DIRECTORY / f"{name}.jsonl"))


@pytest.mark.parametrize("name", ["text-short", "two-choices", "rate-limit", "responses-error"])
def test_it_is_what_the_client_got(name: str) -> None:
    made = bodies.body(records(name), reply)
    assert made == bodies.Body(corpus.on_file(name).sse, True)


def test_another_text_has_another_hash() -> None:
    found = records("stop-sequence")
    at = next(at for at, record in enumerate(found) if b"boil" in record.raw)
    other = found[at].raw.replace(b"boil", b"soil")
    found[at] = msgspec.structs.replace(found[at], raw=other, delta=None)
    assert bodies.body(found, reply).is_recorded is False


def test_of_one_without_an_end_nobody_knows() -> None:
    assert bodies.body(records("text-short")[:-1], reply).is_recorded is None


def test_where_the_machine_takes_no_more_it_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise errors.IllegalEvent("stream", "content", "text")

    whole = bodies.body(records("text-short"), reply)
    monkeypatch.setitem(stream._STEPS, events.TurnFinished, refuse)
    broken = bodies.body(records("text-short"), reply)
    assert broken.is_recorded is False
    assert "content" in broken.failure
    assert broken.data
    assert whole.data.startswith(broken.data)
