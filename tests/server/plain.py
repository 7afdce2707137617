"""Plain requests of a real server, each on a connection of its own, and what they are answered."""

import json
from typing import Any, NamedTuple

from tests.support.client import httpclient, httpwire
from tests.support.process import serving

KEY = "sk-client-1234567890"
"""That of the server `keyed`."""

BODY = {"model": "codex-5", "messages": [{"role": "user", "content": "Hello"}]}
"""A chat completion that is asked for."""


class Answer(NamedTuple):
    """Status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The error of the envelope, which has all four keys."""
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert sorted(error) == ["code", "message", "param", "type"]
        assert self.headers["content-type"] == "application/json"
        return error


def ask(
    server: serving.Serve,
    method: str,
    path: str,
    body: object = None,
    **headers: str,
) -> Answer:
    """One request; header names are given with `_` for `-`."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = httpwire.request(method, path, data, sent)
    with httpclient.Exchange(httpclient.connect(server.base), request, method) as exchange:
        return Answer(*exchange.response()[:3])


def chat(server: serving.Serve, body: object = BODY, **headers: str) -> Answer:
    """A chat completion that is asked for."""
    return ask(
        server,
        "POST",
        "/v1/chat/completions",
        body,
        **{"content_type": "application/json", **headers},
    )
