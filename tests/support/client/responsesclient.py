"""A client of `/v1/responses` that sees bytes: whole answers, and streams read by and by."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.support.client import httpclient, responseswire
from tests.support.process.serving import Serve

MODEL = "gpt-5.5"
"""The model that is asked for."""

Json = dict[str, Any]


class Reply(NamedTuple):
    """A whole answer, header names in lower case."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Json:
        """The JSON of an answer that is no stream."""
        assert self.headers["content-type"] == "application/json"
        body: Json = json.loads(self.raw)
        return body

    @property
    def error(self) -> Json:
        """The error of an answer that is nothing else."""
        assert set(self.body) == {"error"}
        error: Json = self.body["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    @property
    def problem(self) -> tuple[int, str | None, str | None]:
        """Status, code and param of an error."""
        return self.status, self.error["code"], self.error["param"]

    @property
    def told(self) -> list[responseswire.Event]:
        """The events of a whole stream."""
        assert self.headers["content-type"] == "text/event-stream; charset=utf-8"
        return responseswire.whole(self.raw)


class LiveResponse(httpclient.Exchange):
    """One request on a connection of its own; its answer is read when a test asks for it.

    Args:
        receive_buffer: bytes the client's system takes in for it; 0 for the usual.
    """

    def __init__(
        self,
        server: Serve,
        method: str,
        path: str,
        body: Json | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int = 0,
    ) -> None:
        data = httpclient.encoded(server.url, method, path, body, headers)
        super().__init__(httpclient.connect(server.url, receive_buffer), data, method)

    @property
    def response_id(self) -> str:
        """The id of the response that the stream tells of, once it does."""
        return str(self.event("response.created")["response"]["id"])

    def event(self, kind: str) -> responseswire.Event:
        """The first event of a type, once it has come."""
        start = f"event: {kind}\ndata: ".encode()
        self.until(start)
        while b"\n\n" not in (found := self.so_far.partition(start)[2]):
            assert self.more(), f"the body ended: {self.so_far!r}"
        event: responseswire.Event = json.loads(found.partition(b"\n")[0])
        return event

    def reply(self) -> Reply:
        """The whole answer, once it has come."""
        return Reply(*self.response()[:3])


class Client(NamedTuple):
    """Who asks a server for responses.

    Attributes:
        key: its API key; empty for none.
    """

    server: Serve
    key: str = ""

    def live(
        self,
        method: str,
        path: str,
        body: Json | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int = 0,
    ) -> LiveResponse:
        """A request whose answer is read by and by; `path` is what follows `/v1`."""
        sent = dict(headers or {})
        if self.key:
            sent["authorization"] = f"Bearer {self.key}"
        return LiveResponse(self.server, method, path, body, sent, receive_buffer)

    def ask(
        self,
        method: str,
        path: str,
        body: Json | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """The whole answer to a request."""
        with self.live(method, path, body, headers) as live:
            return live.reply()

    def create(self, prompt: Any, **fields: Any) -> Reply:
        """A response that is asked for."""
        return self.ask("POST", "/responses", {"model": MODEL, "input": prompt, **fields})

    def creating(self, prompt: Any, **fields: Any) -> LiveResponse:
        """The same, streamed, and read by and by."""
        body = {"model": MODEL, "input": prompt, "stream": True, **fields}
        return self.live("POST", "/responses", body)

    def made(self, prompt: Any, **fields: Any) -> Json:
        """A response that is whole."""
        reply = self.create(prompt, **fields)
        assert reply.status == 200, reply
        return reply.body

    def get(self, response_id: str, query: str = "") -> Reply:
        """What is kept of a response."""
        return self.ask("GET", f"/responses/{response_id}{query}")

    def delete(self, response_id: str) -> Reply:
        """Have a response forgotten."""
        return self.ask("DELETE", f"/responses/{response_id}")

    def cancel(self, response_id: str) -> Reply:
        """Have a response stopped."""
        return self.ask("POST", f"/responses/{response_id}/cancel")

    def input_items(self, response_id: str, query: str = "") -> Reply:
        """What was asked for a response."""
        return self.ask("GET", f"/responses/{response_id}/input_items{query}")
