"""Reasoning items on their way through a client: the provider gets its own back."""

import json

import msgspec
import pytest

from engine.codex.protocol import notifications
from engine.codex.request import reasoning


@pytest.mark.parametrize("item_id", ["rs_1", None])
def test_the_provider_gets_its_own_item_back(item_id: str | None) -> None:
    made = notifications.ResponseItem("reasoning", item_id, encrypted_content="gAAA-_=")
    item = {"type": "reasoning", "id": "rs_ours", "summary": [{"type": "summary_text"}]}
    client = item | {"encrypted_content": reasoning.carried(made)}
    restored = reasoning.restored(msgspec.Raw(json.dumps(client).encode()))
    wanted = item | {"id": item_id or "rs_ours", "encrypted_content": "gAAA-_="}
    assert json.loads(bytes(restored)) == wanted


def test_nothing_encrypted_is_nothing_carried() -> None:
    assert reasoning.carried(notifications.ResponseItem("reasoning", "rs_1")) == ""


def test_a_summary_is_its_parts() -> None:
    parts = [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}]
    assert reasoning.summary(notifications.ResponseItem("reasoning", summary=parts)) == (
        "One.",
        "Two.",
    )
    assert reasoning.summary(notifications.ResponseItem("reasoning")) == ()
    assert reasoning.summary(notifications.ResponseItem("reasoning", summary=[1])) == ()


def test_an_item_of_another_server_goes_on_as_it_came() -> None:
    raw = msgspec.Raw(b'{"type": "reasoning",  "encrypted_content": "gAAA"}')
    assert bytes(reasoning.restored(raw)) == bytes(raw)
