"""For some minutes the streams of one key are logged otherwise: a real server and its log."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server import plain
from tests.support.client import chatclient
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import STREAM_HEAD, chunk, framed, sse

ADMIN = "adminKey0123456789admin"
CLIENT = {"authorization": f"Bearer {plain.KEY}"}
SAID = "Quokka"
"""A word of an answer."""

ASKED = "Wombat"
"""A word of a request."""

Json = dict[str, Any]


def put(server: serving.Serve, **asked: object) -> plain.Answer:
    return plain.ask(
        server,
        "PUT",
        "/admin/logging",
        asked,
        authorization=f"Bearer {ADMIN}",
        content_type="application/json",
    )


def status(server: serving.Serve) -> Json:
    answer = plain.ask(server, "GET", "/admin/logging", authorization=f"Bearer {ADMIN}")
    found: Json = json.loads(answer.body)
    return found


@contextlib.contextmanager
def keeping(content: str, source: upstreams.Hosted, **environ: str) -> Iterator[serving.Serve]:
    """A server whose log keeps contents so."""
    settings = {
        "PROXY_UPSTREAM_URL": source.url,
        "PROXY_EVENT_LOG": content,
        "PROXY_ADMIN_KEY": ADMIN,
        "PROXY_API_KEY": plain.KEY,
        **environ,
    }
    with serving.running("--worker", "upstream", data_dir=None, **settings) as server:
        yield server


@pytest.fixture(scope="module")
def source() -> Iterator[upstreams.Hosted]:
    with upstreams.Hosted() as hosted:
        yield hosted


def answered(server: serving.Serve, source: upstreams.Hosted, streamed: bool = True) -> Json:
    """How the log keeps a stream: what its first record says, and whose words it has."""
    end = framed(sse(chunk(SAID, finish="stop"), "[DONE]"))
    prompt = source.prompt([STREAM_HEAD, end, "close"])
    answer = chatclient.ask(server, prompt, CLIENT, stream=streamed, user=ASKED)
    assert answer.text == SAID
    return logged(server, answer.headers["x-turntape-stream"])


def logged(server: serving.Serve, stream: str) -> Json:
    machinetime.until(lambda: any(each["stream"] == stream for each in server.terminals()))
    records = [record for record in server.records() if record["stream"] == stream]
    opened = records[0]
    return {
        "content": opened.get("content", "full"),
        "asked": ASKED in json.dumps(opened),
        "said": any(SAID in json.dumps(record) for record in records[1:]),
        "has key": opened.get("hash_key") is not None,
    }


FULL = {"content": "full", "asked": True, "said": True, "has key": True}
MASKED = {"content": "masked", "asked": False, "said": False, "has key": False}


@pytest.mark.parametrize("key", ["PROXY_API_KEY", None])
def test_a_masked_log_keeps_the_streams_of_a_key_whole_for_a_while(
    source: upstreams.Hosted, key: str | None
) -> None:
    with keeping("masked", source) as server:
        assert answered(server, source) == MASKED
        answer = put(server, content="full", key=key, minutes=5)
        assert answer.status == 200
        assert status(server) == json.loads(answer.body)
        assert (status(server)["content"], status(server)["key"]) == ("full", key)
        assert answered(server, source) == FULL
        assert answered(server, source, streamed=False) == FULL
        assert put(server, content="usual").status == 200
        assert status(server) == {"content": "masked", "key": None, "until": None}
        assert answered(server, source) == MASKED
        assert server.stop() == 0
        replayed = server.replay()
        assert replayed.returncode == 0, replayed.stdout


def test_a_full_log_masks_them(source: upstreams.Hosted) -> None:
    with keeping("full", source) as server:
        assert answered(server, source) == FULL
        put(server, content="masked", minutes=5)
        assert answered(server, source) == MASKED
        assert server.stop() == 0
        assert server.replay().returncode == 0


def test_a_stream_is_kept_to_its_end_as_it_began(source: upstreams.Hosted) -> None:
    gate = scripted.Gate()
    end = framed(sse(chunk(SAID, finish="stop"), "[DONE]"))
    prompt = source.prompt([STREAM_HEAD, framed(sse(chunk("Hi"))), gate, end, "close"])
    with keeping("masked", source) as server:
        with chatclient.LiveChat(server, prompt, CLIENT, stream=True) as chat:
            chat.next("content")
            put(server, content="full", minutes=5)
            gate.open()
            assert chat.answer().text == f"Hi{SAID}"
            assert logged(server, chat.head.headers["x-turntape-stream"]) == MASKED
        assert server.stop() == 0
        assert server.replay().returncode == 0


def test_each_change_has_a_line_with_its_author(source: upstreams.Hosted) -> None:
    with keeping("masked", source) as server:
        put(server, content="full", key="PROXY_API_KEY", minutes=5)
        put(server, content="usual")
        assert server.stop() == 0
        lines = [line for line in server.lines if line.get("event") == "log_content_changed"]
        assert [line["content"] for line in lines] == ["full", "masked"]
        for line in lines:
            assert (line["severity"], line["cause"]) == ("warning", "admin")
            assert (line["key"], line["client"]) == ("PROXY_ADMIN_KEY", "127.0.0.1")
            assert line["req_id"].startswith("req_")
        assert lines[0]["of_key"] == "PROXY_API_KEY"
        assert lines[0]["until"].endswith("Z")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "content"),
        ({"content": "off", "minutes": 1}, "content"),
        ({"content": "full"}, "minutes"),
        ({"content": "full", "minutes": 0}, "minutes"),
        ({"content": "full", "minutes": 1441}, "minutes"),
        ({"content": "full", "minutes": 1, "key": "other"}, "key"),
        ({"content": "full", "minutes": 1, "key": ""}, "key"),
        ({"content": "full", "minutes": 1, "keys": "x"}, "keys"),
        ({"content": "usual", "minutes": 1}, "minutes"),
        ({"content": "usual", "key": "PROXY_API_KEY"}, "key"),
    ],
)
def test_what_is_wrong_is_named_and_changes_nothing(
    masked: serving.Serve, asked: Json, param: str
) -> None:
    answer = put(masked, **asked)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert status(masked) == {"content": "masked", "key": None, "until": None}


@pytest.fixture(scope="module")
def masked(source: upstreams.Hosted) -> Iterator[serving.Serve]:
    with keeping("masked", source) as server:
        yield server


def test_where_there_is_no_log_or_no_key_there_is_nothing_to_choose(
    source: upstreams.Hosted,
) -> None:
    with keeping("off", source, PROXY_API_KEY="") as server:
        answer = put(server, content="full", minutes=1)
        assert (answer.status, answer.error["param"]) == (400, "content")
    with keeping("masked", source, PROXY_API_KEY="") as server:
        answer = put(server, content="full", key="PROXY_API_KEY", minutes=1)
        assert (answer.status, answer.error["param"]) == (400, "key")


def test_only_operators_have_a_say(masked: serving.Serve) -> None:
    for method in ("GET", "PUT"):
        answer = plain.ask(masked, method, "/admin/logging", **CLIENT)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
