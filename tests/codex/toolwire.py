"""Answers with tool calls as they are on the wire, and the body that a client makes of them."""

import itertools
import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.support.client import chatclient, chatwire, httpclient
from tests.support.process import serving

USAGE = {"include_usage": True}
"""Stream options of every stream that is asked for here."""

Json = dict[str, Any]


class Told(NamedTuple):
    """A whole answer, streamed or not.

    Attributes:
        answer: as it came.
        comments: of a stream.
    """

    answer: chatclient.Answer
    comments: tuple[str, ...] = ()

    @property
    def streamed(self) -> bool:
        """Whether it is a stream."""
        return self.answer.headers["content-type"].startswith("text/event-stream")

    @property
    def frames(self) -> list[chatwire.Frame]:
        """The data frames of a stream."""
        return chatwire.frames(self.answer.raw)

    @property
    def body(self) -> Json:
        """The one body, or what the stream adds up to."""
        if self.streamed:
            return completion(self.frames)
        body: Json = self.answer.body
        return body

    @property
    def message(self) -> Json:
        """The message of the first choice."""
        message: Json = self.body["choices"][0]["message"]
        return message

    @property
    def text(self) -> str | None:
        """Its content."""
        text: str | None = self.message["content"]
        return text

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """Its calls: names, and arguments as values."""
        called = (call["function"] for call in self.message.get("tool_calls", ()))
        return [(each["name"], json.loads(each["arguments"])) for each in called]

    @property
    def finish_reason(self) -> str:
        """How the first choice ended."""
        return str(self.body["choices"][0]["finish_reason"])

    @property
    def notes(self) -> dict[str, str]:
        """What is told of the calls, in headers or in comments."""
        if self.streamed:
            notes = (comment.partition(": ")[::2] for comment in self.comments)
        else:
            notes = ((name, value) for name, value in self.answer.headers.items())
        return {name: value for name, value in notes if name.startswith("x-codex-tool-call-")}


def ask(
    server: serving.Serve,
    prompt: str,
    headers: Mapping[str, str] | None = None,
    *,
    stream: bool = False,
    **fields: Any,
) -> Told:
    """Ask once, and take the answer to its end."""
    request_id = f"req-{secrets.token_hex(8)}"
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": prompt}], **fields}
    if stream:
        body = {"stream": True, "stream_options": USAGE} | body
    request = {"x-request-id": request_id, **(headers or {})}
    reply = httpclient.ask(server.url, "POST", "/chat/completions", body, request)
    answer = chatclient.Answer(request_id, reply.status, reply.headers, reply.body)
    lines = reply.body.decode().split("\n") if stream else ()
    return Told(answer, tuple(line[2:] for line in lines if line.startswith(": ")))


def completion(frames: Iterable[chatwire.Frame]) -> Json:
    """The `chat.completion` that a stream with usage adds up to."""
    rest: list[chatwire.Frame] = []
    calls: dict[int, list[Json]] = {}
    legacy: dict[int, Json] = {}
    for frame in frames:
        choice: Json = (frame.get("choices") or [{"delta": {}}])[0]
        match choice["delta"]:
            case {"tool_calls": [delta], **others}:
                assert not others
                _extend(calls.setdefault(choice["index"], []), delta)
            case {"function_call": delta, **others}:
                assert not others
                _join(legacy.setdefault(choice["index"], {"name": "", "arguments": ""}), delta)
            case _:
                rest.append(frame)
    whole = chatwire.completion(rest)
    for name, found in (("tool_calls", calls), ("function_call", legacy)):
        for index, called in found.items():
            message = whole["choices"][index]["message"]
            message |= {"content": message["content"] or None, name: called}
    return whole


def _extend(calls: list[Json], delta: Json) -> None:
    if "id" in delta:
        assert delta["index"] == len(calls), "a call out of order"
        opened = {name: value for name, value in delta.items() if name != "index"}
        calls.append({**opened, "function": {"name": "", "arguments": ""}})
    _join(calls[delta["index"]]["function"], delta["function"])


def _join(function: Json, delta: Json) -> None:
    assert not (function["name"] and delta.get("name")), "a second name"
    for name, piece in delta.items():
        function[name] += piece


def outline(told: Told) -> list[str]:
    """The kinds of a stream's frames in order, repetitions as one."""
    return [name for name, _ in itertools.groupby(map(_part, told.frames))]


def _part(frame: chatwire.Frame) -> str:
    if "done" in frame or "error" in frame:
        return next(iter(frame))
    if not frame["choices"]:
        return "usage"
    (choice,) = frame["choices"]
    return "finish" if choice["finish_reason"] else next(iter(choice["delta"]))
