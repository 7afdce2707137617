"""Trials of Chat Completions: the models, an answer whole and streamed, a tool call, a client that
leaves, a wrong key."""

import time
from collections.abc import Iterator
from typing import Any, Final

from server.cli.trials.client import (
    DONE,
    Client,
    Event,
    Failed,
    Json,
    Skipped,
    Unusable,
    describe,
    expect,
    parse,
    rows,
    shown,
    succeed,
    table,
)

PATH: Final = "/chat/completions"

PREFERRED: Final = "codex-5"
"""The model that is asked where none is named and it is listed: an alias of the default model."""

SHORT: Final = "Say hello in one short sentence."
LONG: Final = "Count from 1 to 200 in words, one number a line."
CALL: Final = "What is the weather in Paris? Call the tool get_weather, and say nothing else."

FINISHES: Final = ("stop", "length", "content_filter")
"""How an answer without calls may end."""

TOOL: Final[Json] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}

LOOK_S: Final = 0.05
"""Seconds between two looks at what is left."""

LEFT_S: Final = 5.0
"""Seconds after which nothing may be left of a client that went away: a turn is interrupted within
one."""


def models(client: Client, wanted: str | None) -> tuple[str, str]:
    """List the models: the one to ask, and what was found.

    Raises:
        Unusable: nobody answers, or the key is refused.
        Failed: it is no list, or the wanted one is not in it.
    """
    try:
        answer = client.get("/models")
    except Failed as error:
        raise Unusable(str(error)) from None
    if answer.status in (401, 403):
        given = (
            "the key is refused" if client.has_key else "a key is needed: OPENAI_API_KEY, --key"
        )
        raise Unusable(f"{given}; {describe(answer)}")
    listed = rows(succeed(answer).get("data"))
    expect(listed, "the list has no models")
    ids = [row.get("id") for row in listed]
    expect(all(isinstance(each, str) and each for each in ids), "a model has no id")
    chosen = wanted or (PREFERRED if PREFERRED in ids else str(ids[0]))
    note = "" if chosen in ids else ", which is not listed"
    return chosen, f"{len(ids)} models, asking {chosen}{note}"


def whole(client: Client, model: str) -> str:
    """Ask for an answer that is not streamed.

    Raises:
        Failed: it is not what the API promises.
    """
    body = succeed(client.post(PATH, {"model": model, "messages": _said(SHORT)}))
    expect(body.get("object") == "chat.completion", "it is no chat.completion")
    message, finish = _choice(body)
    expect(finish in FINISHES, f"finish_reason is {shown(finish)}")
    text = message.get("content") or message.get("refusal")
    expect(isinstance(text, str) and text, "the answer has no text")
    return f"{len(str(text))} characters, {finish}"


def streamed(client: Client, model: str) -> str:
    """Ask for a streamed answer: role, content, finish, `[DONE]`, in this order.

    Raises:
        Failed: it is not what the API promises.
    """
    asked = {
        "model": model,
        "messages": _said(SHORT),
        "stream_options": {"include_usage": True},
    }
    reading = _Reading()
    for event in client.stream(PATH, asked):
        reading.take(event)
    return reading.end()


class _Reading:
    """Holds a stream against the order that clients rely on."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._roles = 0
        self._characters = 0
        self._finish: str | None = None
        self._is_done = False

    def take(self, event: Event) -> None:
        """Take the next event.

        Raises:
            Failed: it cannot come here.
        """
        expect(not self._is_done, "something comes after [DONE]")
        if event.data == DONE:
            self._is_done = True
            return
        chunk = parse(event.data)
        if "error" in chunk:
            raise Failed(f"the stream ends with an error: {shown(chunk['error'])}")
        expect(chunk.get("object") == "chat.completion.chunk", f"no chunk: {shown(event.data)}")
        self._ids.add(str(chunk.get("id")))
        expect(len(self._ids) == 1, "the id changes within the stream")
        expect(isinstance(chunk.get("choices"), list), "a chunk has no choices")
        for choice in rows(chunk["choices"]):
            self._take_choice(choice)

    def _take_choice(self, choice: Json) -> None:
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            raise Failed("a choice has no delta")
        expect(self._finish is None, "a choice goes on after its finish")
        if delta.get("role") is not None:
            expect(not self._characters, "the role comes after content")
            self._roles += 1
        text = delta.get("content") or delta.get("refusal") or ""
        if text:
            expect(self._roles, "content comes before the role")
            expect(isinstance(text, str), f"content is no text: {shown(text)}")
            self._characters += len(text)
        self._finish = choice.get("finish_reason")

    def end(self) -> str:
        """Say what it was.

        Raises:
            Failed: it ended too early.
        """
        expect(self._characters, "the stream has no content")
        expect(self._finish in FINISHES, f"finish_reason is {self._finish}")
        expect(self._is_done, "the stream ends without [DONE]")
        return f"{self._characters} characters, {self._finish}, [DONE]"


def tool_call(client: Client, model: str) -> str:
    """Have the model call a tool, and bring it the result.

    Raises:
        Failed: the call or the answer to its result is not what the API promises.
        Skipped: the model answered in text.
    """
    asked: Json = {"model": model, "messages": _said(CALL), "tools": [TOOL], "tool_choice": "auto"}
    message, finish = _choice(succeed(client.post(PATH, asked)))
    calls = rows(message.get("tool_calls"))
    if not calls:
        raise Skipped(f"the model made no call, and said {shown(message.get('content'), 60)!r}")
    expect(finish == "tool_calls", f"finish_reason of a call is {shown(finish)}")
    function = table(calls[0].get("function"))
    expect(function.get("name") == "get_weather", f"it calls {shown(function.get('name'))}")
    arguments = function.get("arguments")
    expect(isinstance(arguments, str), f"arguments are no text: {shown(arguments)}")
    parse(str(arguments))
    results = [
        {"role": "tool", "tool_call_id": call.get("id"), "content": "18 degrees, sunny."}
        for call in calls
    ]
    history = [*asked["messages"], {**message, "content": message.get("content")}, *results]
    message, finish = _choice(succeed(client.post(PATH, {**asked, "messages": history})))
    expect(
        message.get("content") or message.get("tool_calls"), "the result of the call has no answer"
    )
    return f"{len(calls)} called, their results answered, {finish}"


def disconnect(client: Client, model: str) -> str:
    """Leave in the middle of a stream; the server must go on, and keep nothing of it.

    Raises:
        Failed: it does not answer any more, or the stream is still open.
    """
    before = _open_streams(client)
    events = client.stream(PATH, {"model": model, "messages": _said(LONG)})
    seen = _until_content(events)
    events.close()
    left = _wait_for_end(client) if before == 0 else None
    succeed(client.get("/models"))
    told = "/healthz was not asked" if left is None else f"no stream left after {left:.1f} s"
    return f"left after {seen} events, {told}"


def _until_content(events: Iterator[Event]) -> int:
    for number, event in enumerate(events, start=1):
        if event.data == DONE:
            return number
        chunk = parse(event.data)
        expect("error" not in chunk, f"the stream ends with an error: {shown(event.data)}")
        if any(table(choice.get("delta")).get("content") for choice in rows(chunk.get("choices"))):
            return number
    raise Failed("the stream has no content")


def _open_streams(client: Client) -> int | None:
    """Return how many streams are open, where the server says so."""
    found = (client.health() or {}).get("streams")
    return found if isinstance(found, int) else None


def _wait_for_end(client: Client) -> float:
    begun = time.monotonic()
    while (open_streams := _open_streams(client)) != 0:
        passed = time.monotonic() - begun
        said = "how many streams are open is not told any more"
        if open_streams is not None:
            said = f"{open_streams} streams are still open"
        expect(passed < LEFT_S, f"{said} {LEFT_S:.0f} s later")
        time.sleep(LOOK_S)  # HTTP tells of no change by itself
    return time.monotonic() - begun


def wrong_key(client: Client, model: str) -> str:
    """Send a key that is nobody's; where one is needed it is refused with 401.

    Raises:
        Failed: it is taken for good, or refused in another way.
        Skipped: the server needs none.
    """
    # Of a body without messages nothing is asked of any model, whatever becomes of the key.
    answer = client.post(PATH, {"model": model}, key="sk-of-nobody-at-all-0000000000")
    if answer.status == 401:
        error = answer.json().get("error")
        expect(isinstance(error, dict), "the refusal has no error object")
        return "refused with 401"
    if answer.status in (400, 422):
        raise Skipped("the server needs no key, or takes any")
    raise Failed(f"a wrong key is answered with {describe(answer)}")


def _said(text: str) -> list[Json]:
    return [{"role": "user", "content": text}]


def _choice(body: Json) -> tuple[Json, Any]:
    """Return message and finish_reason of the first choice."""
    choice = next(iter(rows(body.get("choices"))), {})
    message = table(choice.get("message"))
    expect(message, "the answer has no choice with a message")
    expect(message.get("role") == "assistant", f"its role is {shown(message.get('role'))}")
    return message, choice.get("finish_reason")
