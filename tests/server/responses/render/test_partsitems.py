"""An item that is made of parts shows each of them, and ends once."""

import json
from typing import Any

import msgspec

from server.responses.render import partsitems


def as_json(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


def test_a_part_ends_when_one_of_another_kind_begins_or_it_is_ended() -> None:
    item = partsitems.Reasoning("rs_1", 0, has_content=False, shows_encrypted=False)
    for kind, text in (("summary_text", "a"), ("summary_text", "b"), ("reasoning_text", "c")):
        part, _ = item.part(kind)
        part.delta(text)
        if text == "a":
            assert len(item.end_part()) == 2
            assert item.end_part() == []
    item.done("completed")
    shown = as_json(item.object())
    assert [part["text"] for part in shown["summary"]] == ["a", "b"]
    assert [part["text"] for part in shown["content"]] == ["c"]


def test_a_message_has_a_phase_only_where_it_is_known() -> None:
    item = partsitems.Message("msg_1", 0)
    assert "phase" not in as_json(item.object())
    item.phase = "commentary"
    item.done("completed")
    assert as_json(item.kept())["phase"] == "commentary"


def test_what_only_the_provider_reads_is_kept_and_shown_to_who_asked() -> None:
    for shows in (True, False):
        item = partsitems.Reasoning("rs_1", 0, has_content=False, shows_encrypted=shows)
        item.encrypted_content = "e"
        item.done("completed")
        assert as_json(item.object()).get("encrypted_content") == ("e" if shows else None)
        assert as_json(item.kept())["encrypted_content"] == "e"
