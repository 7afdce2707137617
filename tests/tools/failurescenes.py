"""Failures of many kinds, each played once on a real server, for `docs/failures.md`.

One server stands before an upstream on loopback and another on the real Codex binary, whose model
provider is on loopback. Each failure is one request, whose id is the failure's name; what its
client got, what the event log has of it and what the server said meanwhile is a `Failure`.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from tests.support.client import httpclient, httpwire
from tests.support.process import machinetime, serving
from tests.support.providers import replies, scripted, upstreams
from tests.support.providers.provider import Provider
from tests.support.providers.upstreams import chunk, framed, response, sse

Json = dict[str, Any]

KEY: Final = "sk-turntape-of-the-docs"
"""The server's own key."""

BODY_BYTES: Final = "4096"
"""Largest body that the server before the upstream takes."""

IDLE_MS: Final = "1000"
"""How long its upstream may say nothing in the middle of an answer."""

SO_FAR: Final = (upstreams.STREAM_HEAD, *(framed(sse(chunk(text))) for text in ("Hel", "lo")))
"""What an upstream says before it fails."""

KEY_REFUSED: Final = {
    "error": {
        "message": "Incorrect API key provided.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
}
"""An upstream's answer to a key that it does not know."""

OUT_OF_MEMORY: Final = {"error": {"message": "CUDA out of memory on shard 12", "type": "internal"}}
"""What a failed upstream says to its operator, and to nobody else."""

UNSUPPORTED: Final = {
    "error": {
        "message": "Unsupported parameter: 'reasoning.effort'.",
        "type": "invalid_request_error",
        "param": "reasoning.effort",
        "code": "unsupported_parameter",
    }
}
"""A model provider's refusal of what Codex asked it."""

OPEN: Final = replies.Stream((replies.Message(("Hello", scripted.Gate())),))
"""Some text of a model provider, and no end."""

OF_PROCESSES: Final = ("worker_state", "worker_lost")
"""Events of lines that name no request, and tell what became of the process that answers it."""


class Failure(NamedTuple):
    """One failure, as everybody saw it.

    Attributes:
        response: what its client got; not whole where the client left.
        records: what the event log has of its request.
        access: the access line of its request.
        lines: what else its diagnostics say of the request, and of processes meanwhile.
    """

    response: httpwire.Response
    records: list[Json]
    access: Json
    lines: list[Json]


class Stage:
    """A server on which failures are played one after the other."""

    def __init__(self, server: serving.Serve) -> None:
        self.server = server

    def failure(self, name: str, play: "Play") -> Failure:
        """Play a failure; its request has this id."""
        before = len(self.server.lines)
        self.server.wait_ready()
        answer = play(self, name)
        machinetime.until(lambda: bool(self._access(name)))
        self.server.wait_ready()
        self._read_on()
        (access,) = self._access(name)
        meanwhile = [line for line in self.server.lines[before:] if line is not access]
        told = [
            line
            for line in meanwhile
            if line.get("req_id") == name or line.get("event") in OF_PROCESSES
        ]
        return Failure(answer, self._records(name), access, told)

    def asked(
        self, name: str, prompt: str, headers: Mapping[str, str] | None = None, path: str = ""
    ) -> httpclient.Exchange:
        """A request for a streamed answer."""
        fields = {"x-request-id": name, "authorization": f"Bearer {KEY}", **(headers or {})}
        body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": prompt}]}
        path = path or "/chat/completions"
        return httpclient.begin(self.server.url, "POST", path, {**body, "stream": True}, fields)

    def ask(self, name: str, prompt: str, **more: Any) -> httpwire.Response:
        """The answer to such a request."""
        with self.asked(name, prompt, **more) as exchange:
            return exchange.response()

    def _read_on(self) -> None:
        """Wait for all that the server has written: the line of a request of ours comes last.

        It has a key: refusals of strangers are counted, and the eleventh has no line.
        """
        name = f"behind-{len(self.server.lines)}"
        fields = {"x-request-id": name, "authorization": f"Bearer {KEY}"}
        httpclient.ask(self.server.url, "GET", "/models/nobody", None, fields)
        machinetime.until(lambda: bool(self._access(name)))

    def _access(self, name: str) -> list[Json]:
        lines = [line for line in list(self.server.lines) if line.get("req_id") == name]
        return [line for line in lines if line.get("event") == "request_ended"]

    def _records(self, name: str) -> list[Json]:
        everything = self.server.records()
        mine = {each["stream"] for each in everything if each.get("request_id") == name}
        return [each for each in everything if each["stream"] in mine]


Play = Callable[[Any, str], httpwire.Response]
"""Has a request of this name fail on a stage, and gives what its client got."""


class UpstreamStage(Stage):
    """A server before an upstream that fails as it is told."""

    def __init__(self, server: serving.Serve, upstream: upstreams.Hosted) -> None:
        super().__init__(server)
        self.upstream = upstream

    def answered(self, name: str, *answer: scripted.Step) -> httpwire.Response:
        """The answer of a client whose upstream answers so."""
        return self.ask(name, self.upstream.prompt(answer))

    def left(self, name: str) -> httpwire.Response:
        """What a client has got that leaves."""
        with self.asked(name, self.upstream.prompt([*SO_FAR, "stall"])) as exchange:
            exchange.until(b'"lo"')
            head = exchange.head
        return httpwire.Response(head.status, head.headers, exchange.so_far, whole=False)

    def crowded_out(self, name: str) -> httpwire.Response:
        """The answer to a client that comes while another's answer takes the only place."""
        with self.asked("in-the-way", self.upstream.prompt([*SO_FAR, "stall"])) as exchange:
            exchange.until(b'"lo"')
            answer = self.ask(name, "hi")
        machinetime.until(lambda: bool(self._access("in-the-way")))
        return answer

    def preflight(self, name: str) -> httpwire.Response:
        """The answer to a browser that asks whether a page may ask."""
        headers = {
            "x-request-id": name,
            "origin": "https://page.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        return httpclient.ask(self.server.url, "OPTIONS", "/chat/completions", None, headers)


class CodexStage(Stage):
    """A server on the real Codex binary, whose model provider fails as it is told."""

    def __init__(self, server: serving.Serve, answers: dict[str, replies.Answer]) -> None:
        super().__init__(server)
        self._answers = answers

    def answered(self, name: str, answer: replies.Answer) -> httpwire.Response:
        """The answer of a client whose model provider answers so."""
        self._answers[name] = answer
        return self.ask(name, name)

    def killed(self, name: str) -> httpwire.Response:
        """The answer of a client while the system kills Codex."""
        self._answers[name] = OPEN
        with self.asked(name, name) as exchange:
            exchange.until(b'"Hello"')
            spawned = [line for line in self.server.lines if line.get("trigger") == "spawned"]
            os.kill(spawned[-1]["pid"], signal.SIGKILL)
            return exchange.response()


UPSTREAM: Final[dict[str, Callable[[UpstreamStage, str], httpwire.Response]]] = {
    "wrong_key": lambda on, name: on.ask(name, "hi", headers={"authorization": "Bearer sk-old"}),
    "unknown_path": lambda on, name: on.ask(name, "hi", path="/chat/completion"),
    "large_body": lambda on, name: on.ask(name, "x" * 2 * int(BODY_BYTES)),
    "many_streams": UpstreamStage.crowded_out,
    "other_origin": UpstreamStage.preflight,
    "upstream_key": lambda on, name: on.answered(name, *response(401, KEY_REFUSED)),
    "upstream_5xx": lambda on, name: on.answered(name, *response(500, OUT_OF_MEMORY)),
    "upstream_reset": lambda on, name: on.answered(name, *SO_FAR, "reset"),
    "upstream_stall": lambda on, name: on.answered(name, *SO_FAR, "stall"),
    "client_left": UpstreamStage.left,
}
"""The failures before an upstream, by name."""

CODEX: Final[dict[str, Callable[[CodexStage, str], httpwire.Response]]] = {
    "codex_killed": CodexStage.killed,
    "codex_400": lambda on, name: on.answered(name, replies.HttpError(400, UNSUPPORTED)),
}
"""The failures on Codex, by name."""


def upstream_failures() -> Iterator[tuple[str, Failure]]:
    """Each failure before an upstream, with its name."""
    settings = {
        "PROXY_API_KEY": KEY,
        "PROXY_MAX_BODY_BYTES": BODY_BYTES,
        "PROXY_SSE_MAX_CONCURRENCY": "1",
        "PROXY_STREAM_IDLE_TIMEOUT_MS": IDLE_MS,
    }
    with upstreams.stage((upstreams.PLAIN,), **settings) as (server, upstream):
        stage = UpstreamStage(server, upstream)
        for name, play in UPSTREAM.items():
            yield name, stage.failure(name, play)


def codex_failures() -> Iterator[tuple[str, Failure]]:
    """Each failure on Codex, with its name."""
    answers: dict[str, replies.Answer] = {}
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(Provider(lambda request: answers[request.prompt]))
        server = stack.enter_context(serving.codex(provider.url, PROXY_API_KEY=KEY))
        stage = CodexStage(server, answers)
        for name, play in CODEX.items():
            yield name, stage.failure(name, play)
