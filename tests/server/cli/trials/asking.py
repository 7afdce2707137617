"""A client of the trials before a scripted server, which answers as a test has it."""

import contextlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from server.cli.trials.client import Client
from tests.support.providers import upstreams

MODEL: Final = "upstream-model"

Json = dict[str, Any]


class Asking(NamedTuple):
    """A client, and the server that it asks."""

    client: Client
    server: upstreams.Hosted


@contextlib.contextmanager
def asking(script: upstreams.Script = (), key: str | None = None) -> Iterator[Asking]:
    """A client of a server with this script."""
    with upstreams.Hosted(script) as server:
        yield Asking(Client(server.url, key, 10.0), server)


def answer(message: Json, finish: str = "stop", **members: Any) -> upstreams.Answer:
    """A chat completion with this message."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return upstreams.response(200, {"object": "chat.completion", "choices": [choice], **members})


def chunk(delta: Json | None = None, finish: str | None = None, **members: Any) -> Json:
    """A chunk with this delta."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "choices": [choice], **members}


def error(status: int, code: str = "some_code") -> upstreams.Answer:
    """A refusal."""
    return upstreams.response(status, {"error": {"code": code, "message": "No."}})
