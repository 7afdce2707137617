"""Trials of the Responses API: an answer whole, and one streamed."""

from typing import Final

from server.cli.trials.client import (
    DONE,
    Client,
    Event,
    Failed,
    Json,
    Refused,
    Skipped,
    expect,
    parse,
    rows,
    shown,
    succeed,
    table,
)

PATH: Final = "/responses"

PROMPT: Final = "Say hello in one short sentence."

_OVER: Final = ("response.completed", "response.incomplete")
"""Events that end a stream well."""


def whole(client: Client, model: str) -> str:
    """Ask for a response that is not streamed.

    Raises:
        Failed: it is not what the API promises.
        Skipped: there is no such API.
    """
    try:
        return _judge(succeed(client.post(PATH, _asked(model))))
    except Refused as error:
        raise _absence(error) from None


def streamed(client: Client, model: str) -> str:
    """Ask for a streamed response: its events in order, and the same text in each place.

    Raises:
        Failed: it is not what the API promises.
        Skipped: there is no such API.
    """
    reading = _Reading()
    try:
        for event in client.stream(PATH, _asked(model)):
            reading.take(event)
    except Refused as error:
        raise _absence(error) from None
    return reading.end()


def _absence(error: Refused) -> Failed | Skipped:
    """Return what a refusal means: many servers have no such API, and need none."""
    return Skipped("the server has no /responses") if error.status == 404 else error


class _Reading:
    """Holds a stream against what clients rely on."""

    def __init__(self) -> None:
        self._count = 0
        self._text = ""
        self._ended: Json | None = None

    def take(self, event: Event) -> None:
        """Take the next event.

        Raises:
            Failed: it cannot come here.
        """
        if event.data == DONE and self._ended is not None:
            return  # some servers end every stream so, this one among them
        data = parse(event.data)
        kind = data.get("type")
        expect(event.name == kind, f"the event {shown(event.name)} has the type {shown(kind)}")
        if kind in ("error", "response.failed"):
            raise Failed(f"the stream ends with {shown(event.data)}")
        expect(self._ended is None, f"{shown(kind)} comes after the end")
        number = data.get("sequence_number")
        expect(number == self._count, f"sequence_number is {shown(number)}, not {self._count}")
        if not self._count:
            expect(kind == "response.created", f"the first event is {shown(kind)}")
        self._count += 1
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            self._text += str(data.get("delta"))
        if kind in _OVER:
            self._ended = table(data.get("response"))

    def end(self) -> str:
        """Say what it was.

        Raises:
            Failed: it ended too early, or with another text.
        """
        if self._ended is None:
            raise Failed("the stream ends without response.completed")
        expect(_text(self._ended) == self._text, "the deltas are not the text of the response")
        return f"{self._count} events, {_judge(self._ended)}"


def _asked(model: str) -> Json:
    return {"model": model, "input": PROMPT, "store": False}


def _judge(response: Json) -> str:
    expect(response.get("object") == "response", "it is no response")
    status = response.get("status")
    expect(status in ("completed", "incomplete"), f"its status is {shown(status)}")
    text = _text(response)
    expect(text, "the response has no text")
    return f"{len(text)} characters, {status}"


def _text(response: Json) -> str:
    """Return the texts of a response, as the SDK joins them to `output_text`."""
    items = rows(response.get("output"))
    parts = [part for item in items for part in rows(item.get("content"))]
    found = [part.get("text") or part.get("refusal") for part in parts]
    return "".join(text for text in found if isinstance(text, str))
