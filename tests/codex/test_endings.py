"""What a client gets of an answer that ends early, and of a Codex without a login.

On the real Codex binary; each answer is asked for twice at once, streamed and not.
"""

import concurrent.futures
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.client import chatclient
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import Completed, Incomplete, Message, Refusal, Stream, Usage

pytestmark = pytest.mark.codex

COUNTS = Usage(input_tokens=21, output_tokens=34, cached_tokens=13, reasoning_tokens=8)


class Ending(NamedTuple):
    """An answer that is whole although it did not end as it should."""

    answer: Stream
    text: str
    reason: str
    usage: Usage | None


ENDINGS: dict[str, Ending] = {
    "max_output_tokens": Ending(
        Stream((Message(("so ", "far")),), Incomplete("max_output_tokens"), COUNTS),
        "so far",
        "length",
        COUNTS,
    ),
    "content_filter": Ending(
        Stream((Message(("so ", "far")),), Incomplete("content_filter"), COUNTS),
        "so far",
        "content_filter",
        None,
    ),
    "content_filter at once": Ending(
        Stream((), Incomplete("content_filter"), COUNTS), "", "content_filter", None
    ),
    "refusal": Ending(
        Stream((Refusal(("I ", "won't.")),), usage=COUNTS), "", "content_filter", COUNTS
    ),
    "refusal behind a text": Ending(
        Stream((Message(("before",)), Refusal(("I ", "won't."))), usage=COUNTS),
        "before",
        "content_filter",
        COUNTS,
    ),
    "not streamed": Ending(
        Stream((Message(("whole",), streamed=False),), usage=COUNTS), "whole", "stop", COUNTS
    ),
    "empty": Ending(Stream((), Completed(), Usage(21, 8, 0, 8)), "", "stop", Usage(21, 8, 0, 8)),
}


def script(request: Request) -> Stream:
    """The answer to `… streamed` and `… whole`."""
    return ENDINGS[request.prompt.rpartition(", ")[0]].answer


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(script) as provider:
        yield provider


@pytest.fixture(scope="module")
def server(provider: Provider) -> Iterator[serving.Serve]:
    with serving.codex(provider.url) as server:
        yield server
        serverlog.audit(server)


def both(server: serving.Serve, name: str) -> tuple[chatclient.Answer, chatclient.Answer]:
    """The answer streamed and not, asked for at once."""
    streaming: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        streamed = pool.submit(chatclient.ask, server, f"{name}, streamed", **streaming)
        whole = pool.submit(chatclient.ask, server, f"{name}, whole")
        return streamed.result(), whole.result()


@pytest.mark.parametrize("name", ENDINGS)
def test_an_early_end_is_an_answer(server: serving.Serve, provider: Provider, name: str) -> None:
    ending = ENDINGS[name]
    counts = ending.usage or Usage(0, 0, 0, 0)
    streamed, whole = both(server, name)
    content = ["content"] if ending.text else []
    assert streamed.outline == ["role", *content, "finish", "usage", "done"]
    unknown = ending.usage is None
    assert streamed.comments == (["x-turntape-usage: unknown"] if unknown else [])
    assert whole.headers.get("x-turntape-usage") == ("unknown" if unknown else None)
    for answer in (streamed, whole):
        assert answer.status == 200
        assert (answer.text, answer.finish_reason) == (ending.text, ending.reason)
        assert answer.usage == {
            "prompt_tokens": counts.input_tokens,
            "completion_tokens": counts.output_tokens,
            "total_tokens": counts.input_tokens + counts.output_tokens,
            "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        }
        last = serverlog.recorded(server, answer)
        assert (last.kind, last.code) == ("completed", None)
        assert (last.usage is None) == unknown
    prompts = [request.prompt for request in provider.requests]
    assert [prompts.count(f"{name}, {how}") for how in ("streamed", "whole")] == [1, 1]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_codex_without_a_login_is_a_401_that_says_what_to_do(
    tmp_path: Path, elsewhere: bool
) -> None:
    if elsewhere:
        (tmp_path / ".codex").mkdir()
        (tmp_path / ".codex" / "auth.json").write_text("{}")
    with contextlib.ExitStack() as stack:
        server = serving.Serve(tmp_path / "data", (), {"HOME": str(tmp_path)})
        stack.callback(server.stop)
        machinetime.until(lambda: server.get("/readyz")[1].get("worker") == "logged_out", 60)
        assert server.get("/readyz")[0] == 503
        assert server.get("/healthz")[1]["workers"] == {"codex": "logged_out"}
        for answer in both(server, "hi"):
            assert (answer.status, answer.error["code"]) == (401, "worker_unauthorized")
            assert answer.error["type"] == "authentication_error"
            assert "turntape login" in answer.error["message"]
            assert ("~/.codex" in answer.error["message"]) == elsewhere
            assert str(tmp_path) not in str(answer)
        serverlog.audit(server)
