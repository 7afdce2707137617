"""The Chat Completions dialect of the scripted server: an upstream, as bytes.

    async with upstreams.serving([upstreams.stream(*chunks)]) as upstream:
        ...  # ask upstream.url
        assert upstream.requests[0].body["model"] == "m"

Requests for the listing of models are answered beside the script. It runs in the test's own loop;
`Hosted` is one in a loop of its own, for tests without one, and `stage` puts a server in front of
it.
"""

import contextlib
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from tests.support.process.serving import Serve, running
from tests.support.providers import scripted
from tests.support.providers.scripted import PATIENCE_S, Json, Step

Answer = Sequence[Step]
"""What follows a request: see `scripted.Step`."""


class Request(scripted.Request):
    """One request as the upstream saw it."""

    @property
    def prompt(self) -> Any:
        """The content of the last message."""
        return self.body["messages"][-1]["content"]


Script = Sequence[Answer] | Callable[[Request], Answer]
"""Answers in turn, the last of them for all that follow, or a function of the request."""


def chunk(text: str | None = None, finish: str | None = None, **members: Any) -> Json:
    """A chunk as OpenAI writes it, with other members in place of its own or beside them."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-upstream",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "upstream-model",
        "choices": [choice],
        **members,
    }


def usage(prompt: int, completion: int) -> Json:
    """Counts."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def counted(prompt: int, completion: int) -> Json:
    """The chunk that follows the finish."""
    return chunk(choices=[], usage=usage(prompt, completion))


def sse(*chunks: Json | str) -> bytes:
    """Events; a text is data as it stands."""
    datas = (each if isinstance(each, str) else json.dumps(each) for each in chunks)
    return "".join(f"data: {data}\n\n" for data in datas).encode()


DONE: Final = sse("[DONE]")


def head(status: int = 200, *headers: str, kind: str | None = "text/event-stream") -> bytes:
    """The head of a response."""
    kinds = [] if kind is None else [f"content-type: {kind}"]
    lines = [f"HTTP/1.1 {status} Said", *kinds, *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


STREAM_HEAD: Final = head(200, "transfer-encoding: chunked")
"""The head of a stream as servers send it."""

LAST: Final = b"0\r\n\r\n"
"""The end of such a body."""


def framed(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*chunks: Json | str) -> Answer:
    """A whole stream, each event an HTTP chunk, the sentinel and the end of the body included."""
    return [STREAM_HEAD, *(framed(sse(each)) for each in chunks), framed(DONE), LAST]


PLAIN: Final = stream(chunk("Hello"), chunk(" world"), chunk(finish="stop"), counted(7, 2))
"""An answer with nothing wrong."""


def raw_stream(body: bytes) -> Answer:
    """A whole stream of these bytes."""
    return [STREAM_HEAD, framed(body), LAST]


def response(status: int, body: Json | bytes, *headers: str, kind: str | None = None) -> Answer:
    """A response of known length."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    length = f"content-length: {len(data)}"
    return [head(status, length, *headers, kind=kind or "application/json") + data]


class Upstream(scripted.Server[Request]):
    """An upstream in the loop that opens it."""

    def __init__(self, script: Script, models: Answer) -> None:
        super().__init__(Request)
        self._script = script
        self.plans: dict[Any, list[Answer]] = {}
        """Answers in turn to prompts that have their own, the last of them for all that follow."""
        self.models = models
        """The answer to who asks for the models."""
        self.listings: list[Request] = []
        """Requests for the listing of models."""

    def answer_aside(self, request: Request) -> scripted.Steps | None:
        if "/models" not in request.line:
            return None
        self.listings.append(request)
        return self.models

    def answer(self, request: Request) -> scripted.Steps:
        if self.plans and isinstance(request.prompt, str) and request.prompt in self.plans:
            planned = self.plans[request.prompt]
            return planned.pop(0) if len(planned) > 1 else planned[0]
        if callable(self._script):
            return self._script(request)
        return self._script[min(len(self.requests), len(self._script)) - 1]


LISTED: Final = response(
    200, {"object": "list", "data": [{"id": "upstream-model"}, {"id": "whole"}]}
)
"""The listing of models, unless a test says otherwise."""


@contextlib.asynccontextmanager
async def serving(script: Script = (), models: Answer = LISTED) -> AsyncIterator[Upstream]:
    """An upstream on a free port of loopback, closed at the end."""
    upstream = Upstream(script, models)
    await upstream.open()
    try:
        yield upstream
    finally:
        await upstream.close()


class Hosted(scripted.Hosted[Upstream]):
    """An upstream in a thread of its own, which answers each prompt as a test has planned it.

        with upstreams.Hosted() as hosted:
            prompt = hosted.prompt([upstreams.STREAM_HEAD, "reset"])
            ...  # ask hosted.url for the answer to that prompt
            assert len(hosted.requests_for(prompt)) == 1

    Any other prompt gets what a script has for it, which is `PLAIN` by default.
    """

    def __init__(self, script: Script = (PLAIN,), context: ssl.SSLContext | None = None) -> None:
        super().__init__(Upstream(script, LISTED), context)
        self._numbers = itertools.count(1)

    def prompt(self, *answers: Answer) -> str:
        """A new prompt, and the answers to it in turn, the last of them for all that follow."""
        prompt = f"prompt {next(self._numbers)}"
        self.server.plans[prompt] = list(answers)
        return prompt

    def requests_for(self, prompt: str) -> list[Request]:
        """Every request with that prompt."""
        return [request for request in list(self.requests) if request.prompt == prompt]

    def request_for(self, prompt: str) -> Request:
        """The first request with that prompt, once it has come."""
        self.wait(lambda: self.requests_for(prompt), PATIENCE_S)
        return self.requests_for(prompt)[0]


class Stage(NamedTuple):
    """A server in front of an upstream."""

    server: Serve
    upstream: Hosted


@contextlib.contextmanager
def stage(script: Script, **environ: str) -> Iterator[Stage]:
    """A ready server whose upstream answers by this script."""
    with Hosted(script) as upstream:
        settings = {"PROXY_UPSTREAM_URL": upstream.url, "PROXY_EVENT_LOG": "full", **environ}
        with running("--worker", "upstream", data_dir=None, **settings) as server:
            yield Stage(server, upstream)
