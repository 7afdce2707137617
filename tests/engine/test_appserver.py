"""Our shapes of the app-server protocol, against frames that a real binary wrote and read."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from engine import appserver, notifications
from tests import frames

RECORDINGS = sorted(frames.RECORDINGS)


def typed(recording: list[dict[str, Any]]) -> Iterator[tuple[str, Any, Any]]:
    """Each frame that has a shape: what it is, its type, its params or result."""
    asked: dict[int, str] = {}
    for frame in recording:
        method = frame.get("method", "")
        if "result" in frame:
            method = asked[frame["id"]]
            yield f"{method} result", appserver.METHODS[method][1], frame["result"]
        elif "id" in frame:
            asked[frame["id"]] = method
            yield f"{method} params", appserver.METHODS[method][0], frame["params"]
        elif method in notifications.NOTIFICATIONS:
            yield method, notifications.NOTIFICATIONS[method], frame["params"]


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where ours says something else than theirs; a field theirs lacks must be empty in ours."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from differences(value, theirs[key], f"{path}.{key}")
            elif value:
                yield f"{path}.{key}: {value} made up"
    elif isinstance(ours, list) and isinstance(theirs, list):
        for one, other in zip(ours, theirs, strict=True):
            yield from differences(one, other, f"{path}[]")
    elif ours != theirs:
        yield f"{path}: {ours} for {theirs}"


@pytest.mark.parametrize("name", RECORDINGS)
def test_frames_survive_the_round_trip(name: str) -> None:
    for what, type_, theirs in typed(frames.load(name)):
        shape = msgspec.json.decode(msgspec.json.encode(theirs), type=type_)
        ours = msgspec.json.decode(msgspec.json.encode(shape))
        assert list(differences(ours, theirs, what)) == []


@pytest.mark.parametrize("name", RECORDINGS)
def test_what_we_send_is_what_codex_took(name: str) -> None:
    for what, type_, theirs in typed(frames.load(name)):
        if what.endswith(" params"):
            shape = msgspec.json.decode(msgspec.json.encode(theirs), type=type_)
            assert msgspec.json.decode(msgspec.json.encode(shape)) == theirs


def test_every_shape_has_an_example() -> None:
    seen = {what for name in RECORDINGS for what, _, _ in typed(frames.load(name))}
    methods = {f"{method} {part}" for method in appserver.METHODS for part in ("params", "result")}
    assert seen == methods | set(notifications.NOTIFICATIONS)


def decoded(name: str, method: str) -> list[Any]:
    """All notifications of one kind in a recording."""
    return [
        msgspec.convert(frame["params"], notifications.NOTIFICATIONS[method])
        for frame in frames.load(name)
        if frame.get("method") == method
    ]


def test_a_turn_reads_as_it_happened() -> None:
    deltas = decoded("turn", "item/agentMessage/delta")
    items = [one.item for one in decoded("turn", "item/completed")]
    (completed,) = decoded("turn", "turn/completed")
    (usage,) = decoded("turn", "thread/tokenUsage/updated")
    assert [one.delta for one in deltas] == ["Let me ", "see.", "4", "2"]
    assert [(item.type, item.phase, item.text, item.summary) for item in items] == [
        ("reasoning", None, "", ("Looking.", "Seen.")),
        ("agentMessage", "commentary", "Let me see.", ()),
        ("agentMessage", "final_answer", "42", ()),
    ]
    assert (completed.turn.status, completed.turn.error) == ("completed", None)
    assert usage.token_usage.total == notifications.TokenCounts(10, 3, 5, 1, 15)


def test_a_failure_reads_as_it_happened() -> None:
    (error,) = decoded("failure", "error")
    (completed,) = decoded("failure", "turn/completed")
    assert completed.turn.status == "failed"
    assert completed.turn.error == error.error
    assert (error.error.error_word, error.error.http_status) == ("httpConnectionFailed", 401)
    assert not error.will_retry


@pytest.mark.parametrize(
    ("info", "word", "status"),
    [
        (None, "other", None),
        ("contextWindowExceeded", "contextWindowExceeded", None),
        ({"httpConnectionFailed": {"httpStatusCode": None}}, "httpConnectionFailed", None),
        ({"activeTurnNotSteerable": {"turnKind": "review"}}, "activeTurnNotSteerable", None),
        ({"somethingNew": "text"}, "somethingNew", None),
        ({}, "other", None),
    ],
)
def test_error_info_of_every_form(info: Any, word: str, status: int | None) -> None:
    error = msgspec.convert({"message": "m", "codexErrorInfo": info}, notifications.TurnError)
    assert (error.error_word, error.http_status) == (word, status)


def test_fields_and_items_of_a_newer_binary_are_skipped() -> None:
    item = {"type": "hologram", "id": "i", "text": "t", "depth": 3, "content": [{"x": 1}]}
    params = {"threadId": "t", "turnId": "u", "item": item, "completedAtMs": 1, "newField": {}}
    shape = msgspec.convert(params, notifications.ItemNotification)
    assert shape.item == notifications.Item("hologram", "i", "t")


def test_a_key_is_not_shown() -> None:
    assert "sk-secret" not in repr(appserver.ApiKeyLogin("sk-secret"))


def test_what_we_listen_to_is_not_opted_out_of() -> None:
    assert not set(appserver.OPT_OUT) & set(notifications.NOTIFICATIONS)
    assert {"thread/started", "thread/status/changed", "hook/started"} <= set(appserver.OPT_OUT)


@pytest.mark.parametrize(
    ("user_agent", "version"),
    [
        ("turntape/0.163.0 (Debian 12.0.0; x86_64) unknown (turntape; 0)", (0, 163, 0)),
        ("t/0.169.12-alpha.2 (Mac OS)", (0, 169, 12)),
        ("codex vscode/1.2.3", (1, 2, 3)),
    ],
)
def test_the_version_is_in_the_user_agent(user_agent: str, version: tuple[int, int, int]) -> None:
    assert appserver.version_of(user_agent) == version


@pytest.mark.parametrize("user_agent", ["", "turntape", "turntape/next", "turntape/1.2"])
def test_a_user_agent_without_version_is_an_error(user_agent: str) -> None:
    with pytest.raises(ValueError, match="no version"):
        appserver.version_of(user_agent)
