"""The messages of a turn are told apart by their ids, and by what is open where these differ."""

from typing import Any

import msgspec
import pytest

from engine.codex.protocol import notifications
from engine.codex.turns import messages
from machines import events


def message(item_id: str, phase: str | None = None) -> notifications.Item:
    return notifications.Item("agentMessage", item_id, phase=phase)


@pytest.mark.parametrize(
    ("phase", "told"),
    [
        ("commentary", "commentary"),
        ("final_answer", "final_answer"),
        ("partial_answer", None),
        (None, None),
    ],
)
def test_a_phase_is_told_as_the_api_names_it(phase: str | None, told: events.Phase | None) -> None:
    found = messages.Messages()
    found.begin(message("a", phase))
    assert found.phase("a") == told
    assert found.is_commentary("a") is (phase == "commentary")
    assert found.phase("b") is None


def test_what_ends_is_what_is_open() -> None:
    found = messages.Messages()
    assert not found.any_mute
    found.begin(message("a", "commentary"))
    found.begin(message("b"))
    assert found.end(message("z", "final_answer")) == "b"
    assert found.phase("b") == "final_answer"
    assert found.end(message("a")) == "a"
    assert found.is_commentary("a")
    assert not found.any_mute
    assert found.end(message("c")) == "c"


def test_a_message_that_never_says_anything_is_mute() -> None:
    found = messages.Messages()
    found.begin(message("a"))
    found.begin(message("b"))
    found.text_of("a")
    found.end(message("a"))
    assert found.any_mute
    found.text_of("b")
    assert not found.any_mute


def test_each_message_has_a_text_of_its_own() -> None:
    found = messages.Messages()
    found.text_of("a").add("Hel")
    found.text_of("b").add("x")
    assert found.text_of("a").rest_of("Hello") == "lo"


def ended(item_id: str, text: str, phase: str | None = None) -> notifications.Item:
    return msgspec.structs.replace(message(item_id, phase), text=text)


@pytest.mark.parametrize(
    ("separate", "told"),
    [
        (False, (("One.\n\nTwo.", None),)),
        (True, (("Hm.", "commentary"), ("One.", None), ("Two.", "final_answer"))),
    ],
)
def test_what_a_client_may_repeat_is_what_it_was_told(separate: bool, told: Any) -> None:
    found = messages.Messages(separate)
    said = (("a", "Hm.", "commentary"), ("b", "One.", None), ("c", "", None))
    for item_id, text, phase in (*said, ("d", "Two.", "final_answer")):
        found.begin(message(item_id, phase))
        assert found.told == ()  # of one that is open nobody knows
        found.end(ended(item_id, text, phase))
    assert found.told == told
    assert found.whole == 3
    found.text_of("e").add("of none that ended")
    assert found.told == ()
