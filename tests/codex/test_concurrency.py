"""Many turns on one real app-server: nothing is mixed up, and nothing is kept."""

import concurrent.futures
import re
from pathlib import Path

import pytest

from tests.support.client import chatclient
from tests.support.client.chatclient import LiveChat
from tests.support.logs import serverlog
from tests.support.process import serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import Message, Piece, Stream
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

STREAMS = 64

WORDS = 40
"""In each half of an answer."""

KEPT_BYTES = 2 << 20
"""What a server may grow by between its 200th turn and its 1,000th."""

STORED_BYTES = 256 << 10
"""What Codex's databases may grow by meanwhile; its traces alone would be 32 MB."""


def words(prompt: str, half: str) -> tuple[str, ...]:
    """One half of the answer to a prompt, like that to no other."""
    return tuple(f"{prompt}:{half}{number} " for number in range(WORDS))


def test_the_texts_of_many_streams_are_not_mixed_up() -> None:
    gate = Gate()

    def script(request: Request) -> Stream:
        prompt = request.prompt
        pieces: tuple[Piece, ...] = (*words(prompt, "a"), gate, *words(prompt, "b"))
        return Stream((Message(pieces),), delay=0.005)

    with (
        Provider(script) as provider,
        serving.codex(provider.url) as server,
        concurrent.futures.ThreadPoolExecutor(STREAMS) as pool,
    ):
        prompts = [f"p{number}" for number in range(STREAMS)]
        live = list(pool.map(lambda prompt: LiveChat(server, prompt, stream=True), prompts))
        list(pool.map(lambda each: each.next("content"), live))
        assert server.get("/healthz")[1]["streams"] == STREAMS
        gate.open()
        answers = list(pool.map(LiveChat.answer, live))
        for prompt, answer in zip(prompts, answers, strict=True):
            assert answer.text == "".join((*words(prompt, "a"), *words(prompt, "b")))
            assert answer.outline == ["role", "content", "finish", "done"]
        assert len({answer.frames[0].value["id"] for answer in answers}) == STREAMS
        assert len(provider.requests) == STREAMS
        serverlog.audit(server)


@pytest.mark.long
def test_a_thousand_turns_leave_nothing_behind() -> None:
    with (
        Provider() as provider,
        serving.codex(provider.url) as server,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):

        def turns(count: int) -> None:
            asked = [pool.submit(chatclient.ask, server, "hi", stream=True) for _ in range(count)]
            assert {each.result().text for each in asked} == {"Hello world"}

        turns(200)
        before, stored = resident_bytes(server), database_bytes(server)
        turns(800)
        assert resident_bytes(server) - before <= KEPT_BYTES
        assert database_bytes(server) - stored <= STORED_BYTES
        assert len(provider.requests) == 1000
        serverlog.audit(server)


def database_bytes(server: serving.Serve) -> int:
    """Return the size of all of Codex's databases, with their write-ahead logs."""
    found = (server.data_dir / "codex-home" / "sqlite").iterdir()
    return sum(path.stat().st_size for path in found)


def resident_bytes(server: serving.Serve) -> int:
    """What the server has in memory."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
