"""Our shapes of the app-server protocol, against frames that a real binary wrote and read."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from engine.codex.protocol import appserver, notifications
from tests.support.providers import frames
from tests.tools import schemadrift

THREAD = {
    "threadId": "00000000-0000-7000-8000-000000000001",
    "turnId": "00000000-0000-7000-8000-000000000003",
}

CALL = {
    "type": "function_call",
    "id": "fc_resp_1_0",
    "name": "get_weather",
    "arguments": '{"city": "Rome", "n": 1.50}',
    "call_id": "call_1",
    "internal_chat_message_metadata_passthrough": {"turn_id": THREAD["turnId"]},
}

PIXEL = "data:image/png;base64,iVBORw0KGgo="

TOOL_CALL: list[Any] = [
    {
        "id": 2,
        "method": "thread/start",
        "params": {
            "model": "gpt-5.5",
            "cwd": "/data/codex-home/empty",
            "ephemeral": True,
            "environments": [],
            "approvalPolicy": "never",
            "sandbox": "read-only",
            "baseInstructions": "",
            "experimentalRawEvents": True,
            "dynamicTools": [
                {
                    "type": "function",
                    "name": "get_weather",
                    "description": "Tells it.",
                    "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}},
                }
            ],
        },
    },
    {"method": "rawResponseItem/completed", "params": {**THREAD, "item": CALL}},
    {
        "method": "item/tool/call",
        "id": 0,
        "params": {
            **THREAD,
            "callId": "call_1",
            "namespace": None,
            "tool": "get_weather",
            "arguments": {"city": "Rome", "n": 1.5},
        },
    },
    {
        "id": 0,
        "result": {
            "contentItems": [
                {"type": "inputText", "text": "20 °C"},
                {"type": "inputImage", "imageUrl": PIXEL},
            ],
            "success": True,
        },
    },
    {
        "method": "rawResponseItem/completed",
        "params": {
            **THREAD,
            "item": {
                "type": "function_call_output",
                "id": "fco_00000000-0000-7000-8000-000000000004",
                "call_id": "call_1",
                "output": [
                    {"type": "input_text", "text": "20 °C"},
                    {"type": "input_image", "image_url": PIXEL, "detail": "high"},
                ],
                "internal_chat_message_metadata_passthrough": {
                    "turn_id": THREAD["turnId"],
                    "create_time": 0,
                },
            },
        },
    },
]
"""What of a call's frames no recording has, in their order."""

PING = [
    {"id": 2, "method": "server/diagnostics", "params": {}},
    {
        "id": 2,
        "result": {
            "process": {
                "id": 7,
                "residentMemoryBytes": 90812416,
                "physicalFootprintBytes": None,
            },
            "gauges": [{"name": "app.requests.in_flight", "value": 1}],
        },
    },
]
"""A ping and its answer, which no recording has."""

SOURCE = "8cafa60b-8a3c-4337-bb5d-7454d2093f85"
FORK = [
    {
        "id": 11,
        "method": "thread/fork",
        "params": {
            "threadId": SOURCE,
            "path": f"/data/codex-home/sources/{SOURCE}-1.jsonl",
            "model": "gpt-5.5",
            "cwd": "/data/codex-home/empty",
            "ephemeral": True,
            "approvalPolicy": "never",
            "sandbox": "read-only",
            "baseInstructions": "",
            "excludeTurns": True,
            "config": {},
        },
    },
    {
        "id": 11,
        "result": {
            "thread": {
                "id": "01a22f71-cd6b-7750-9064-c1ccef6b1d89",
                "sessionId": "01a22f71-cd6b-7750-9064-c1ccef6b1d89",
                "forkedFromId": SOURCE,
                "ephemeral": True,
                "model": "gpt-5.5",
                "path": None,
                "turns": [],
            },
            "model": "gpt-5.5",
            "modelProvider": "turntape",
        },
    },
]
"""A fork and its answer, which no recording has; of the answer the members that tell of it."""

QUOTA = {
    "limitId": "codex",
    "limitName": None,
    "primary": {"usedPercent": 56, "windowDurationMins": 300, "resetsAt": 1796045032},
    "secondary": {"usedPercent": 12, "windowDurationMins": 10080, "resetsAt": 1796052032},
    "credits": {"hasCredits": False, "unlimited": False, "balance": "0"},
    "individualLimit": None,
    "planType": "plus",
    "rateLimitReachedType": None,
}

ACCOUNT: list[Any] = [
    {"id": 2, "method": "account/rateLimits/read", "params": {}},
    {"id": 2, "result": {"ordinaryUsageAllowed": None, "rateLimits": QUOTA}},
    {"id": 3, "method": "account/usage/read", "params": {}},
    {
        "id": 3,
        "result": {
            "summary": {"lifetimeTokens": 1000, "peakDailyTokens": 10, "longestStreakDays": 2},
            "dailyUsageBuckets": [{"startDate": "2026-11-01", "tokens": 5}],
            "threadUsage": None,
        },
    },
    {
        "method": "model/rerouted",
        "params": {
            **THREAD,
            "fromModel": "gpt-5.5",
            "toModel": "gpt-5.2",
            "reason": "highRiskCyberActivity",
        },
    },
    {"method": "account/rateLimits/updated", "params": {"rateLimits": {**QUOTA, "credits": None}}},
    {"id": 4, "method": "account/logout", "params": {}},
    {"id": 4, "result": {}},
]
"""A ChatGPT login: 0.163 against `tests.support.providers.chatgpt`."""

EXAMPLES = {
    **{name: frames.load(name) for name in sorted(frames.RECORDINGS)},
    "tool": TOOL_CALL,
    "ping": PING,
    "fork": FORK,
    "account": ACCOUNT,
}


def typed(recording: list[dict[str, Any]]) -> Iterator[tuple[str, Any, Any]]:
    """Each frame, or raw item in one, that has a shape: its name in a pin, its type, itself."""
    asked: dict[int, tuple[str, Any]] = {}
    for frame in recording:
        method = frame.get("method", "")
        if "result" in frame:
            yield *asked[frame["id"]], frame["result"]
        elif method in appserver.SERVER_REQUESTS:
            params, answer = appserver.SERVER_REQUESTS[method]
            asked[frame["id"]] = f"{method} answer", answer
            yield method, params, frame["params"]
        elif "id" in frame:
            asked[frame["id"]] = f"{method} result", appserver.METHODS[method][1]
            yield f"{method} params", appserver.METHODS[method][0], frame["params"]
        elif method in notifications.NOTIFICATIONS:
            yield method, notifications.NOTIFICATIONS[method], frame["params"]
        if method == "rawResponseItem/completed":
            yield f"{method} item", notifications.ResponseItem, frame["params"]["item"]


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


@pytest.mark.parametrize("name", EXAMPLES)
def test_frames_survive_the_round_trip(name: str) -> None:
    for what, type_, theirs in typed(EXAMPLES[name]):
        shape = msgspec.json.decode(msgspec.json.encode(theirs), type=type_)
        ours = msgspec.json.decode(msgspec.json.encode(shape))
        assert list(differences(ours, theirs, what)) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_codex_took_is_what_we_send(name: str) -> None:
    for what, type_, theirs in typed(EXAMPLES[name]):
        if what.endswith((" params", " answer")):
            shape = msgspec.json.decode(msgspec.json.encode(theirs), type=type_)
            ours = msgspec.json.decode(msgspec.json.encode(shape))
            assert {**ours, **theirs} == ours


def test_every_shape_has_an_example() -> None:
    seen = {what for recording in EXAMPLES.values() for what, _, _ in typed(recording)}
    assert seen == {name for name, _ in schemadrift.shapes()}


def test_a_raw_item_is_kept_to_the_letter() -> None:
    item = b'{"b":1.50, "type" : "reasoning","a":"\\u00e9","c":12345678901234567890123}'
    params = b'{"threadId":"t","turnId":"u","item":' + item + b"}"
    shape = msgspec.json.decode(params, type=notifications.RawItemCompleted)
    assert bytes(shape.item) == item


@pytest.mark.parametrize(
    ("item", "read"),
    [
        (
            CALL,
            notifications.ResponseItem(
                "function_call",
                id="fc_resp_1_0",
                call_id="call_1",
                name="get_weather",
                arguments='{"city": "Rome", "n": 1.50}',
            ),
        ),
        (
            {"type": "reasoning", "summary": []},
            notifications.ResponseItem("reasoning", summary=[]),
        ),
        (
            {"type": "tool_search_call", "id": None, "arguments": {"query": "x"}},
            notifications.ResponseItem("tool_search_call", arguments={"query": "x"}),
        ),
    ],
)
def test_a_raw_item_of_every_type_is_read(item: Any, read: notifications.ResponseItem) -> None:
    assert msgspec.convert(item, notifications.ResponseItem) == read


def decoded(name: str, method: str) -> list[Any]:
    """All notifications of one kind in a recording."""
    return [
        msgspec.convert(frame["params"], notifications.NOTIFICATIONS[method])
        for frame in EXAMPLES[name]
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
        (None, "", None),
        ("contextWindowExceeded", "contextWindowExceeded", None),
        ({"httpConnectionFailed": {"httpStatusCode": None}}, "httpConnectionFailed", None),
        ({"httpConnectionFailed": {"httpStatusCode": 503}}, "httpConnectionFailed", 503),
        ({"httpConnectionFailed": {"httpStatusCode": "503"}}, "httpConnectionFailed", None),
        ({"httpConnectionFailed": {"httpStatusCode": True}}, "httpConnectionFailed", None),
        ({"activeTurnNotSteerable": {"turnKind": "review"}}, "activeTurnNotSteerable", None),
        ({"somethingNew": "text"}, "somethingNew", None),
        ({}, "", None),
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
