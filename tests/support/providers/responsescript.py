"""The events of a Responses stream as the API has them, written down apart from what renders them.

    script.stream(
        *script.begun(),
        *script.message(0, "Hel", "lo"),
        script.ended("completed", [script.said(0, "Hello")], usage=script.usage(11, 5)),
    )

An event has no `sequence_number` until `stream` or `numbered` gives it one. Ids are those of the
response `resp_1`.
"""

import json
from typing import Any, Final

Event = dict[str, Any]

CREATED: Final = 1_795_293_345
"""When every response was made."""

DONE: Final = b"data: [DONE]\n\n"

COUNTS_UNKNOWN: Final = b": x-turntape-usage: unknown\n\n"
"""Stands before the last event where nobody knows the counts."""


def response(status: str, output: list[Event], **members: Any) -> Event:
    """The response object, every member as it is where the request says nothing of it."""
    usual = {
        "id": "resp_1",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "background": False,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "safety_identifier": None,
        "service_tier": "default",
        "temperature": 1.0,
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "model": "m",
        "store": False,
        "reasoning": {"effort": None, "summary": None},
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "output": output,
        "usage": None,
    }
    assert members.keys() <= usual.keys()
    return usual | members


def usage(inputs: int, outputs: int, cached: int = 0, reasoning: int = 0) -> Event:
    """The counts."""
    return {
        "input_tokens": inputs,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": outputs,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": inputs + outputs,
    }


def begun(**members: Any) -> list[Event]:
    """How every stream begins."""
    return [
        {"type": f"response.{name}", "response": response("in_progress", [], **members)}
        for name in ("created", "in_progress")
    ]


def waiting(**members: Any) -> Event:
    """A heartbeat."""
    return begun(**members)[1]


def ended(status: str, output: list[Event], *, reason: str | None = None, **members: Any) -> Event:
    """How a stream ends that is whole, or cut for a reason."""
    whole = response(
        status,
        output,
        **{
            "completed_at": CREATED,
            "incomplete_details": {"reason": reason} if reason else None,
            "usage": usage(11, 5),
            **members,
        },
    )
    return {"type": f"response.{status}", "response": whole}


def failed(
    code: str, message: str, output: list[Event], kind: str = "server_error", **members: Any
) -> list[Event]:
    """How a stream ends that is not."""
    said = {"code": code, "message": message, "param": None}
    known = code if code in ("rate_limit_exceeded", "server_error") else "server_error"
    error = {"code": known, "message": message, "type": kind, "param": None}
    whole = response("failed", output, error=error, **members)
    return [
        {"type": "error", "error": {"type": kind, **said}, **said},
        {"type": "response.failed", "response": whole},
    ]


def said(
    index: int, text: str, status: str = "completed", kind: str = "output_text", key: str = "1"
) -> Event:
    """A message of one part.

    Args:
        kind: of its part: `output_text` or `refusal`.
    """
    return {
        "id": f"msg_{key}{index:04x}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [part(kind, text)],
    }


def part(kind: str, text: str) -> Event:
    """A part of a message, or of reasoning."""
    if kind == "output_text":
        return {"type": kind, "text": text, "annotations": [], "logprobs": []}
    return {"type": kind, "refusal" if kind == "refusal" else "text": text}


def message(
    index: int, *texts: str, status: str = "completed", kind: str = "output_text"
) -> list[Event]:
    """A message of one part, from its beginning to its end."""
    whole = said(index, "".join(texts), status, kind)
    opening, end = ends_of(index, whole | {"status": "in_progress", "content": []}, whole)
    return [opening, *parted(index, 0, kind, *texts), end]


def begun_message(index: int, *texts: str) -> list[Event]:
    """A message of one part that does not end."""
    return message(index, *texts)[: 2 + len(texts)]


def parted(index: int, number: int, kind: str, *texts: str) -> list[Event]:
    """A part, from its beginning to its end.

    Args:
        number: of the part in its item.
    """
    summary = kind == "summary_text"
    item_id = f"{'msg' if kind in ('output_text', 'refusal') else 'rs'}_1{index:04x}"
    counted = "summary_index" if summary else "content_index"
    place = {"item_id": item_id, "output_index": index, counted: number}
    name = f"response.reasoning_{kind}" if summary else f"response.{kind}"
    around = "response.reasoning_summary_part" if summary else "response.content_part"
    member = "refusal" if kind == "refusal" else "text"
    more: Event = {"logprobs": []} if kind == "output_text" else {}
    text = "".join(texts)
    return [
        {"type": f"{around}.added", **place, "part": part(kind, "")},
        *({"type": f"{name}.delta", **place, "delta": delta, **more} for delta in texts),
        {"type": f"{name}.done", **place, member: text, **more},
        {"type": f"{around}.done", **place, "part": part(kind, text)},
    ]


def thought(index: int, *summary: str, content: list[str] | None = None, **more: Any) -> Event:
    """A reasoning item."""
    item: Event = {
        "id": f"rs_1{index:04x}",
        "type": "reasoning",
        "summary": [part("summary_text", text) for text in summary],
    }
    if content is not None:
        item["content"] = [part("reasoning_text", text) for text in content]
    return item | more


def called(
    index: int, call_id: str, name: str, arguments: str, status: str = "completed"
) -> Event:
    """A function call."""
    return {
        "id": f"fc_1{index:04x}",
        "type": "function_call",
        "status": status,
        "arguments": arguments,
        "call_id": call_id,
        "name": name,
    }


def call(
    index: int, call_id: str, name: str, *arguments: str, status: str = "completed"
) -> list[Event]:
    """A function call from its beginning to its end."""
    whole = called(index, call_id, name, "".join(arguments), status)
    opening, end = ends_of(index, whole | {"status": "in_progress", "arguments": ""}, whole)
    return [opening, *argued(index, *arguments), arguments_done(whole), end]


def argued(index: int, *arguments: str) -> list[Event]:
    """Pieces of a call's arguments."""
    place = {"item_id": f"fc_1{index:04x}", "output_index": index}
    name = "response.function_call_arguments.delta"
    return [{"type": name, **place, "delta": each} for each in arguments]


def arguments_done(whole: Event) -> Event:
    """What the arguments of a call were."""
    return {
        "type": "response.function_call_arguments.done",
        "item_id": whole["id"],
        "output_index": int(whole["id"][-4:], 16),
        "arguments": whole["arguments"],
        "name": whole["name"],
    }


def ends_of(index: int, begun: Event, whole: Event) -> tuple[Event, Event]:
    """How an item begins and ends."""
    name, place = "response.output_item", {"output_index": index}
    return (
        {"type": f"{name}.added", **place, "item": begun},
        {"type": f"{name}.done", **place, "item": whole},
    )


def numbered(*events: Event) -> list[Event]:
    """The events as they come, from the first on."""
    return [
        {"type": event["type"], "sequence_number": number, **event}
        for number, event in enumerate(events)
    ]


def stream(*events: Event | bytes, done: bool = True) -> bytes:
    """The bytes of events from the first on, comments between them.

    Args:
        done: whether that is all.
    """
    told = iter(numbered(*(event for event in events if isinstance(event, dict))))
    frames = (event if isinstance(event, bytes) else frame(next(told)) for event in events)
    return b"".join(frames) + (DONE if done else b"")


def frame(event: Event) -> bytes:
    """The bytes of one event that has its number."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), as_json(event))


def as_json(value: Event) -> bytes:
    """JSON as it stands on the wire."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
