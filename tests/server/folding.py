"""Folds a chat stream with tool calls into the body that a client makes of it."""

from typing import Any

from tests.support.client import chatwire


def completion(frames: list[chatwire.Frame]) -> chatwire.Frame:
    """The `chat.completion` that a stream with usage adds up to."""
    calls: dict[int, list[dict[str, Any]]] = {}
    legacy: dict[int, dict[str, Any]] = {}
    rest = []
    for frame in frames:
        delta = frame["choices"][0]["delta"] if frame.get("choices") else {}
        if "tool_calls" in delta:
            (piece,) = delta["tool_calls"]
            _add(calls.setdefault(frame["choices"][0]["index"], []), piece)
        elif "function_call" in delta:
            _join(legacy.setdefault(frame["choices"][0]["index"], {}), delta["function_call"])
        else:
            rest.append(frame)
            continue
        assert len(delta) == 1, "a call beside something else"
    whole = chatwire.completion(rest)
    for choice in whole["choices"]:
        message = choice["message"]
        if choice["index"] in calls:
            message["tool_calls"] = calls[choice["index"]]
        if choice["index"] in legacy:
            message["function_call"] = legacy[choice["index"]]
        if message.keys() & {"tool_calls", "function_call"}:
            message["content"] = message["content"] or None
    return whole


def _add(calls: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    index = piece.pop("index")
    if index == len(calls):
        assert piece["id"]
        assert piece["type"] == "function"
        calls.append(piece)
        return
    assert set(piece) == {"function"}, "a call is opened twice"
    _join(calls[index]["function"], piece["function"])


def _join(function: dict[str, Any], piece: dict[str, Any]) -> None:
    assert not ("name" in function and "name" in piece), "a second name"
    for name, text in piece.items():
        function[name] = function.get(name, "") + text
