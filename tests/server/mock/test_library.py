"""Which of several recordings answers, and what is said where none does."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import scripted
from machines import events
from server.mock.library import Library
from server.mock.matching import Asked, Match
from tests.support.logs import logs

MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def body(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


def asked(text: str, **fields: Any) -> Asked:
    return Asked(events.CHAT, MEMBERS.decode(json.dumps(body(text, **fields))))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of four recordings."""
    directory = tmp_path / "mine"
    directory.mkdir()
    for name, request in {
        "01": body("Hello"),
        "02": body("Hello", seed=1),
        "03": body("Bye"),
        "04": body("Hello", seed=2),
    }.items():
        opened = logs.opened(request=msgspec.Raw(json.dumps(request).encode()))
        record = {**json.loads(msgspec.json.encode(opened)), "state": "held", "out": []}
        last = {**json.loads(msgspec.json.encode(logs.TERMINAL)), "state": "done", "out": []}
        logs.write(directory / f"{name}.jsonl", record, last)
    return directory


def test_each_answers_once_and_the_last_again(place: Path) -> None:
    library = Library([place])
    names = []
    for _ in range(5):
        chosen = library.choose(asked("Hello", seed=9), Match.MESSAGE, may_repeat=True)
        assert chosen is not None
        names.append(chosen.name)
    assert names == ["mine/01", "mine/02", "mine/04", "mine/04", "mine/04"]
    assert library.choose(asked("Hello"), Match.MESSAGE, may_repeat=False) is None


def test_where_a_whole_body_is_the_same_no_other_will_do(place: Path) -> None:
    library = Library([place])
    for _ in range(2):
        chosen = library.choose(asked("Hello", seed=2), Match.MODEL, may_repeat=True)
        assert chosen is not None
        assert chosen.name == "mine/04"


def test_a_sequence_ends(place: Path) -> None:
    library = Library([place])
    found = [library.choose(asked("x"), Match.SEQUENCE, may_repeat=True) for _ in range(5)]
    assert [each and each.name for each in found] == [
        *("mine/01", "mine/02", "mine/03", "mine/04"),
        None,
    ]


def test_a_miss_says_what_came_and_what_was_near(place: Path) -> None:
    text = Library([place]).miss(asked("Bye?", model="n"), Match.MESSAGE)
    assert text.splitlines()[:7] == [
        "No recording answers this request (match: message).",
        "  came: chat.completions, model 'n'",
        "        last message  user: 'Bye?'",
        "  near: mine/03",
        "        model         m",
        "        last message  user: 'Bye'",
        "        differs in    messages, model",
    ]
    assert text.endswith("\n  and 1 others")


def test_where_nothing_is_recorded_it_says_so(tmp_path: Path) -> None:
    text = Library([tmp_path / "none"]).miss(asked("Bye"), Match.BODY)
    assert text.endswith(f"there are no recordings in {tmp_path / 'none'}")


def test_a_file_that_is_no_recording_is_refused(place: Path) -> None:
    (place / "05.jsonl").write_text("{}\n")
    with pytest.raises(scripted.TranscriptError, match=r"05\.jsonl:1"):
        Library([place])
    assert len(Library([place / "01.jsonl"]).recordings) == 1
