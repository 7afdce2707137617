"""Records of text deltas are read in one decoding, and nothing else is taken for one."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.log.format import sealed
from engine.log.read import deltas, segments
from machines import events, outputs
from tests.support.logs import logs

PLAIN: dict[str, Any] = {
    "stream": "st_1",
    "seq": 3,
    "seg": 17,
    "t": 5,
    "event": "text_delta",
    "text": 'a "b" \\ é 東',
    "state": "content",
    "out": ["content"],
}
"""The members of nearly every record."""

DECIDED = PLAIN | {
    "choice": 1,
    "states": ["content", "done"],
    "released": 3,
    "cut": "stop",
    "pieces": [["text", 2], ["call", 1, "f"]],
    "joined": [[0, "f"]],
    "repeats": [1],
    "marked": [2],
}
"""All members that there may be."""


def line(members: dict[str, Any]) -> bytes:
    return sealed.seal(msgspec.json.encode(members)[:-1])


@pytest.mark.parametrize("members", [PLAIN, DECIDED])
def test_it_says_what_the_record_says_read_as_any_other(
    tmp_path: Path, members: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow way is the oracle of the quick one."""
    members = members | {"seq": 0, "seg": 0}
    path = tmp_path / "log.jsonl"
    path.write_bytes(line(members))
    (quick,) = segments.read(path)
    monkeypatch.setattr(deltas, "MARK", b"nothing has this")
    (slow,) = segments.read(path)
    assert quick.delta is not None
    assert slow.delta is None
    assert msgspec.structs.replace(quick, delta=None) == slow
    assert quick.load() == slow.load()
    assert quick.decision == slow.decision


def test_a_decision_is_there_where_one_was_made() -> None:
    plain, decided = deltas.read(line(PLAIN)), deltas.read(line(DECIDED))
    assert plain is not None
    assert decided is not None
    assert plain.load() == events.TextDelta('a "b" \\ é 東')
    assert plain.decision is None
    assert decided.load() == events.TextDelta('a "b" \\ é 東', 1)
    assert decided.decision == outputs.Decision(
        3,
        "stop",
        (outputs.Piece("text", 2), outputs.Piece("call", 1, "f")),
        (outputs.Joined(0, "f"),),
        (1,),
        (2,),
    )


@pytest.mark.parametrize(
    "members",
    [
        PLAIN | {"more": 1},
        PLAIN | {"schema": 3},
        PLAIN | {"text": 1},
        PLAIN | {"choice": "0"},
        PLAIN | {"cut": "else"},
        PLAIN | {"pieces": [["else", 1]]},
        PLAIN | {"event": "text_gamma"},
        PLAIN | {"event": "item_started", "item": "x"},
        {name: value for name, value in PLAIN.items() if name != "text"},
    ],
)
def test_what_is_otherwise_is_left_to_the_slow_way(members: dict[str, Any]) -> None:
    assert deltas.read(line(members)) is None


@pytest.mark.parametrize(
    "raw",
    [
        line(PLAIN).replace("é".encode(), b"\xff"),
        line(PLAIN).replace(b"3", b"03", 1),
        line(PLAIN)[:-2],
        line(PLAIN).replace(b'"out":["content"]', b'"out":' + b"[" * 5000 + b"]" * 5000),
    ],
    ids=["utf-8", "number", "cut", "deep"],
)
def test_what_is_no_json_is_too(raw: bytes) -> None:
    assert deltas.MARK in raw
    assert deltas.read(raw) is None


def test_a_member_of_a_later_version_is_said_to_be_one(tmp_path: Path) -> None:
    path = logs.write(tmp_path / "log.jsonl", PLAIN | {"seq": 0, "seg": 0, "more": 1})
    reading = segments.read(path)
    (record,) = reading
    assert reading.load(record) is None
    assert str(reading.problems[0]).endswith("written by a later version: text_delta: more")
