"""Drift between our shapes, the pin that is checked in, and a binary's schema."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.codex.child import bundled as codexmodels
from engine.codex.protocol import appserver
from tests.tools import schemadrift


def changed(pin: schemadrift.Pin, name: str, **paths: str | None) -> schemadrift.Pin:
    """A pin in which the schema says something else of some fields; None: it lost them."""
    shape = {**pin.shapes[name], **paths}
    kept = {path: said for path, said in shape.items() if said is not None}
    return msgspec.structs.replace(pin, shapes={**pin.shapes, name: kept})


def test_our_shapes_fit_the_pin() -> None:
    assert schemadrift.misfits(schemadrift.pinned()) == []


def test_the_pin_is_of_what_we_use() -> None:
    pin = schemadrift.pinned()
    assert set(pin.shapes) == {name for name, _ in schemadrift.shapes()}
    assert pin.version == appserver.SCHEMA_PIN
    assert pin.shapes["turn/completed"]["turn.items[].text"] == "string?"
    assert pin.shapes["rawResponse/completed"]["usage.inputTokens"] == "integer"
    assert pin.shapes["rawResponseItem/completed item"]["call_id"] == "null|string?"
    assert pin.shapes["item/tool/call"]["callId"] == "string"


@pytest.mark.parametrize(
    ("name", "paths", "line"),
    [
        (
            "turn/start params",
            {"threadKey": "string"},
            "turn/start params: `threadKey` is required, and we do not send it",
        ),
        (
            "turn/start params",
            {"effort": schemadrift.ABSENT},
            "turn/start params: `effort` is ours alone",
        ),
        (
            "item/agentMessage/delta",
            {"delta": None},
            "item/agentMessage/delta: `delta` is ours alone",
        ),
        (
            "item/agentMessage/delta",
            {"itemId": "string?"},
            "item/agentMessage/delta: `itemId` may be missing, and we require it",
        ),
        (
            "item/tool/call",
            {"callId": "string?"},
            "item/tool/call: `callId` may be missing, and we require it",
        ),
        (
            "item/tool/call answer",
            {"cost": "integer"},
            "item/tool/call answer: `cost` is required, and we do not send it",
        ),
    ],
)
def test_a_contradiction_is_a_misfit(name: str, paths: dict[str, str | None], line: str) -> None:
    assert schemadrift.misfits(changed(schemadrift.pinned(), name, **paths)) == [line]


def test_changes_are_told_one_by_one() -> None:
    old = schemadrift.pinned()
    new = changed(old, "error", willRetry="integer")
    new = msgspec.structs.replace(
        new, server_notifications=(*old.server_notifications[1:], "thread/mood/changed")
    )
    assert schemadrift.changes(old, old) == []
    assert schemadrift.changes(old, new) == [
        "new notification thread/mood/changed, which is not opted out of",
        f"notification {old.server_notifications[0]} is gone",
        "error: `willRetry` was boolean, is integer",
    ]


def test_models_are_compared_by_name_with_those_of_the_same_version() -> None:
    first, *others = codexmodels.KNOWN
    changed_model = msgspec.structs.replace(first, efforts=("low",))
    new = codexmodels.find("gpt-7", ())
    same = codexmodels.BUNDLED_WITH
    assert schemadrift.model_changes(codexmodels.KNOWN, same) == []
    lines = schemadrift.model_changes((changed_model, *others[1:], new), same)
    assert [line.split()[1] for line in lines] == [first.slug, others[0].slug, "gpt-7"]
    assert lines[1].endswith("is None")
    assert schemadrift.model_changes((changed_model, new), "0.171.0") == []


def test_a_type_in_several_frames_is_told_of_once() -> None:
    old = schemadrift.pinned()
    new = changed(old, "turn/completed", **{"turn.items[].text": "integer"})
    new = changed(new, "item/completed", **{"item.text": "integer"})
    assert schemadrift.changes(old, new) == [
        "turn/completed: `turn.items[].text` was string, is integer (also in item/completed)"
    ]


def test_what_makes_no_difference_is_no_drift() -> None:
    old = schemadrift.pinned()
    known = f"modelNotFound|bioPolicy|{old.shapes['error']['error.codexErrorInfo']}"
    new = changed(old, "error", **{"error.codexErrorInfo": known})
    new = changed(new, "item/completed", **{"item.text": "string"})  # it was optional
    unasked = (*old.server_notifications, *appserver.NEWER_NOTIFICATIONS)
    new = msgspec.structs.replace(new, version="0.171.0", server_notifications=unasked)
    assert schemadrift.changes(old, new) == []


def test_a_word_that_is_not_told_apart_is_drift() -> None:
    old = schemadrift.pinned()
    said = old.shapes["error"]["error.codexErrorInfo"]
    words = said.replace("cyberPolicy|", "").removesuffix("?") + "|noMoonPhase|modelNotFound?"
    new = changed(old, "error", **{"error.codexErrorInfo": words})
    assert schemadrift.changes(old, new) == [
        "error: `error.codexErrorInfo` may now be noMoonPhase and is no longer cyberPolicy"
    ]


def test_a_union_beside_properties_has_both() -> None:
    item = {
        "properties": {"startedAtMs": {"type": "integer"}},
        "oneOf": [
            {"properties": {"type": {"enum": ["a"]}}, "required": ["type"]},
            {
                "properties": {"type": {"enum": ["b"]}},
                "required": ["type"],
                "anyOf": [
                    {"properties": {"name": {"type": "string"}}, "required": ["name"]},
                    {"properties": {"id": {"type": "string"}}, "required": ["id"]},
                ],
            },
        ],
    }
    pin = schemadrift.Reader(bundle(ResponseItem=item)).pin("1.2.3")
    shape = pin.shapes["rawResponseItem/completed item"]
    assert (shape["type"], shape["name"]) == ("a|b", "string?")


def bundle(**definitions: Any) -> dict[str, Any]:
    """A schema bundle in which only three methods exist."""
    return {
        "definitions": {
            "ServerNotification": {"oneOf": [declared("thread/closed", "ThreadClosed")]},
            "ClientRequest": {"oneOf": [declared("turn/interrupt", "TurnInterruptParams")]},
            "ServerRequest": {"oneOf": [declared("item/tool/call", "DynamicToolCallParams")]},
            "v2": definitions,
        }
    }


def declared(method: str, definition: str) -> dict[str, Any]:
    """How a bundle lists a method."""
    params = {"$ref": f"#/definitions/v2/{definition}"}
    return {"properties": {"method": {"enum": [method]}, "params": params}}


def test_references_unions_and_absence_are_read() -> None:
    thread_id = {"anyOf": [{"$ref": "#/definitions/v2/Id"}, {"type": "null"}]}
    root = bundle(
        Id={"enum": ["b", "a"]},
        ThreadClosed={"properties": {"threadId": thread_id}},
        TurnInterruptParams={
            "properties": {"threadId": {"type": ["string", "null"]}, "why": {"type": "string"}},
            "required": ["threadId", "why"],
        },
        DynamicToolCallParams={
            "properties": {"tool": {"type": "string"}, "mood": {"type": "string"}},
            "required": ["tool", "mood"],
        },
        DynamicToolCallResponse={
            "properties": {"success": {"type": "boolean"}, "why": {"type": "string"}},
            "required": ["success", "why"],
        },
        ResponseItem={
            "oneOf": [
                {"properties": {"type": {"enum": ["b"]}, "name": {"type": "string"}}},
                {"properties": {"type": {"enum": ["a"]}}, "required": ["type"]},
            ]
        },
    )
    pin = schemadrift.Reader(root).pin("1.2.3")
    assert pin.server_notifications == ("thread/closed",)
    assert pin.shapes["thread/closed"] == {"threadId": "a|b|null?"}
    assert pin.shapes["turn/interrupt params"] == {
        "threadId": "null|string",
        "turnId": schemadrift.ABSENT,
        "why": "string",
    }
    # Of what we are sent only what we read counts, of what we send all that must be there.
    assert pin.shapes["item/tool/call"]["tool"] == "string"
    assert "mood" not in pin.shapes["item/tool/call"]
    answer = pin.shapes["item/tool/call answer"]
    assert (answer["success"], answer["why"]) == ("boolean", "string")
    assert pin.shapes["rawResponseItem/completed item"]["type"] == "a|b?"
    assert pin.shapes["rawResponseItem/completed item"]["name"] == "string?"


@pytest.mark.codex
def test_the_installed_binary_has_not_drifted(capsys: pytest.CaptureFixture[str]) -> None:
    assert schemadrift.main([]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.codex
def test_drift_is_printed_and_may_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checked_in = appserver.PIN_PATH.read_bytes()
    old = changed(schemadrift.pinned(), "error", willRetry="integer")
    pin = tmp_path / "pin.json"
    pin.write_bytes(msgspec.json.encode(old))
    monkeypatch.setattr(appserver, "PIN_PATH", pin)
    assert schemadrift.main([]) == 1
    assert schemadrift.main(["--write"]) == 1
    assert capsys.readouterr().out == "error: `willRetry` was integer, is boolean\n" * 2
    assert pin.read_bytes() == checked_in
    assert schemadrift.main([]) == 0
