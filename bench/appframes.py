"""The lines that `codex app-server` writes, as a stand-in for it writes them."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

METHODS: Final = (
    "initialize",
    "model/list",
    "account/read",
    "account/login/start",
    "thread/start",
    "thread/inject_items",
    "turn/start",
    "turn/interrupt",
    "thread/unsubscribe",
)
"""Requests that are answered."""

MODELS: Final = ("gpt-5.5", "gpt-6-sol")
"""The model that `model/list` names."""

INVALID_REQUEST: Final = -32600
"""The code of nearly every refusal, unknown methods included."""

OVERLOADED: Final = -32001
"""The code of a refusal that may be tried again."""

EMITTED_AT_MS: Final = 1_760_000_000_000
"""The time of a frame, which no reader uses; this one has the usual length."""

_encode: Final = msgspec.json.encode


def reply(rpc_id: int | str, result: object) -> bytes:
    """The answer to a request."""
    return _encode({"id": rpc_id, "result": result}) + b"\n"


def refusal(rpc_id: int | str, code: int, message: str) -> bytes:
    """The other answer to a request."""
    return _encode({"error": {"code": code, "message": message}, "id": rpc_id}) + b"\n"


def notification(method: str, params: dict[str, Any]) -> bytes:
    """A notification."""
    frame = {"method": method, "params": params, "emittedAtMs": EMITTED_AT_MS}
    return _encode(frame) + b"\n"


def introduction(version: str) -> dict[str, Any]:
    """The result of `initialize`."""
    return {
        "userAgent": f"turntape/{version} (stand-in)",
        "codexHome": "/data/codex-home",
        "platformFamily": "unix",
        "platformOs": "linux",
    }


def models(names: Iterable[str] = MODELS) -> dict[str, Any]:
    """The result of `model/list`."""
    efforts = [{"reasoningEffort": effort, "description": effort} for effort in ("low", "high")]
    data = [
        {
            "id": name,
            "model": name,
            "displayName": name.upper(),
            "description": "",
            "hidden": False,
            "supportedReasoningEfforts": efforts,
            "defaultReasoningEffort": "low",
            "inputModalities": ["text", "image"],
            "isDefault": name == MODELS[0],
        }
        for name in names
    ]
    return {"data": data, "nextCursor": None}


LOGIN_LINK: Final = "https://auth.example/oauth/authorize?state=stand-in"
"""Where a login with ChatGPT leads."""


def account(has_key: bool, logged_out: bool = False) -> dict[str, Any]:
    """The result of `account/read`: unless it is `logged_out`, a login is not required here."""
    return {"account": {"type": "apiKey"} if has_key else None, "requiresOpenaiAuth": logged_out}


def login_link() -> dict[str, Any]:
    """The result of `account/login/start`, with ChatGPT."""
    return {"type": "chatgpt", "loginId": "1", "authUrl": LOGIN_LINK}


def diagnostics(pid: int) -> dict[str, Any]:
    """The result of `server/diagnostics`."""
    gauges = [{"name": "app.requests.in_flight", "value": 1}]
    process = {"id": pid, "residentMemoryBytes": 90 << 20, "physicalFootprintBytes": None}
    return {"process": process, "gauges": gauges}


def logged_in() -> bytes:
    """Return the notifications that follow the reply to a login with a key."""
    completed = {"loginId": None, "success": True, "error": None, "onboardingEntrypoint": None}
    return notification("account/login/completed", completed) + notification(
        "account/updated", {"authMode": "apikey", "planType": None}
    )


def thread(thread_id: str, model: str, cwd: str) -> dict[str, Any]:
    """The result of `thread/start`."""
    return {
        "thread": {
            "id": thread_id,
            "sessionId": thread_id,
            "preview": "",
            "ephemeral": True,
            "modelProvider": "turntape",
            "model": model,
            "createdAt": 0,
            "updatedAt": 0,
            "status": {"type": "idle"},
            "cwd": cwd,
            "cliVersion": "0.163.0",
            "turns": [],
        },
        "model": model,
        "modelProvider": "turntape",
        "cwd": cwd,
        "approvalPolicy": "never",
        "sandbox": {"type": "readOnly", "networkAccess": False},
        "reasoningEffort": None,
    }


class TurnFrames:
    """The frames of one turn, which says one agent message."""

    def __init__(self, thread_id: str, number: int) -> None:
        self.turn_id = f"00000000-0000-7000-9000-{number:012}"
        self._ids = {"threadId": thread_id, "turnId": self.turn_id}
        self._item_id = f"msg_{number:050}"
        delta = {**self._ids, "itemId": self._item_id, "delta": ""}
        line = notification("item/agentMessage/delta", delta)
        self._before, self._after = line.split(b'"delta":""')
        self._before += b'"delta":"'
        self._after = b'"' + self._after

    def deltas(self, texts: Iterable[str]) -> list[bytes]:
        """The lines that carry these texts."""
        return [self._before + _encode(text)[1:-1] + self._after for text in texts]

    def begun(self) -> dict[str, Any]:
        """The result of `turn/start`."""
        return {"turn": self._turn("inProgress", [])}

    def started(self) -> bytes:
        """The turn and its message begin."""
        started = notification("turn/started", self._on_thread(turn=self._turn("inProgress", [])))
        item = notification(
            "item/started", {"item": self._item(""), **self._ids, "startedAtMs": 0}
        )
        return started + item

    def item_completed(self, text: str) -> bytes:
        """The message is whole."""
        params = {"item": self._item(text), **self._ids, "completedAtMs": 0}
        return notification("item/completed", params)

    def completed(self, text: str, tokens: int) -> bytes:
        """The counts, and the end of a turn that went well."""
        counts = {
            "totalTokens": 10 + tokens,
            "inputTokens": 10,
            "cachedInputTokens": 0,
            "cacheWriteInputTokens": 0,
            "outputTokens": tokens,
            "reasoningOutputTokens": 0,
        }
        usage = {"total": counts, "last": counts, "modelContextWindow": 100_000_000}
        counted = notification("thread/tokenUsage/updated", {**self._ids, "tokenUsage": usage})
        return counted + self._ended("completed", [self._item(text)])

    def interrupted(self) -> bytes:
        """The end of a turn that was stopped."""
        return self._ended("interrupted", [])

    def _ended(self, status: str, items: list[dict[str, Any]]) -> bytes:
        return notification("turn/completed", self._on_thread(turn=self._turn(status, items)))

    def _on_thread(self, **params: Any) -> dict[str, Any]:
        return {"threadId": self._ids["threadId"], **params}

    def _item(self, text: str) -> dict[str, Any]:
        return {
            "type": "agentMessage",
            "id": self._item_id,
            "text": text,
            "phase": None,
            "memoryCitation": None,
            "delivery": None,
            "questions": None,
        }

    def _turn(self, status: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.turn_id,
            "rootTurnId": self.turn_id,
            "items": items,
            "itemsView": "summary" if items else "notLoaded",
            "status": status,
            "error": None,
            "startedAt": 0,
            "completedAt": None if status == "inProgress" else 0,
            "durationMs": None if status == "inProgress" else 0,
        }
