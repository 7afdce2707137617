"""The log of one request, over HTTP: as on disk, for whoever made it and for nobody else."""

import asyncio
import errno
import json
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.log.derive import purging
from engine.log.find import stories
from engine.log.read import segments
from server.http.errors import ApiError
from server.streams import endpoint as streams
from tests.server import keyed
from tests.server.plain import Answer, ask, chat
from tests.support.logs import logs, summaries
from tests.support.process import serving

ADMIN = {"authorization": "Bearer sk-admin-1234567890"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Serve]:
    """A server of two keys, and an operator."""
    path = keyed.write(
        tmp_path_factory.mktemp("keys") / "keys.toml",
        ann=keyed.held("ann"),
        bob=keyed.held("bob"),
    )
    environ = {
        "PROXY_API_KEYS_FILE": str(path),
        "PROXY_ADMIN_KEY": "sk-admin-1234567890",
        "PROXY_SCRIPTED_SPEED": "0",
    }
    with serving.running("--worker", "scripted", data_dir=None, **environ) as server:
        yield server


def asked(server: serving.Serve, name: str, request_id: str) -> Answer:
    body = {"model": "text-short", "messages": [{"role": "user", "content": "x"}]}
    answer = chat(server, body, **keyed.bearer(name), x_request_id=request_id)
    assert answer.status == 200
    return answer


def got(server: serving.Serve, name: str, **headers: str) -> list[bytes]:
    answer = ask(server, "GET", f"/v1/streams/{name}", **headers)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["cache-control"] == "no-store"
    return answer.body.splitlines(keepends=True)


def on_disk(server: serving.Serve, stream: str) -> list[bytes]:
    return [record.raw for record in segments.read(server.log_dir) if record.stream == stream]


def test_its_owner_gets_the_records_as_on_disk_by_any_of_its_ids(server: serving.Serve) -> None:
    answer = asked(server, "ann", "req-own")
    stream = answer.headers["x-turntape-stream"]
    wanted = on_disk(server, stream)
    assert json.loads(wanted[-1])["event"] == "terminal"
    for name in (stream, "req-own", json.loads(answer.body)["id"], stream[:-4]):
        assert got(server, name, **keyed.bearer("ann")) == wanted


def refused(answer: Answer) -> tuple[int, dict[str, Any]]:
    return answer.status, answer.error


def test_another_key_s_stream_is_not_there(server: serving.Serve) -> None:
    asked(server, "ann", "req-private")
    theirs = ask(server, "GET", "/v1/streams/req-private", **keyed.bearer("bob"))
    nobodys = ask(server, "GET", "/v1/streams/req-nothing", **keyed.bearer("bob"))
    assert refused(theirs) == refused(nobodys)
    assert theirs.status == 404
    keyless = ask(server, "GET", "/v1/streams/req-private")
    assert (keyless.status, keyless.error["code"]) == (401, "invalid_api_key")


def test_one_id_of_two_keys_is_each_one_s_own(server: serving.Serve) -> None:
    streams = {
        name: asked(server, name, "req-same").headers["x-turntape-stream"]
        for name in ("ann", "bob")
    }
    for name in ("ann", "bob"):
        lines = got(server, "req-same", **keyed.bearer(name))
        assert {json.loads(line)["stream"] for line in lines} == {streams[name]}


def test_one_id_sent_twice_is_both_streams_oldest_first(server: serving.Serve) -> None:
    streams = [asked(server, "bob", "req-twice").headers["x-turntape-stream"] for _ in range(2)]
    lines = got(server, "req-twice", **keyed.bearer("bob"))
    assert lines == [line for stream in streams for line in on_disk(server, stream)]


def test_the_operator_sees_all(server: serving.Serve) -> None:
    stream = asked(server, "ann", "req-of-ann").headers["x-turntape-stream"]
    assert got(server, "req-of-ann", **ADMIN) == on_disk(server, stream)


def test_a_refusal_is_its_key_s(server: serving.Serve) -> None:
    answer = chat(server, {"model": "nope"}, **keyed.bearer("ann"), x_request_id="req-refused")
    assert answer.status == 400
    (line,) = got(server, "req-refused", **keyed.bearer("ann"))
    assert json.loads(line)["event"] == "request_rejected"
    assert ask(server, "GET", "/v1/streams/req-refused", **keyed.bearer("bob")).status == 404


def test_whose_a_stream_is_its_records_say_and_no_summary(server: serving.Serve) -> None:
    stream = asked(server, "ann", "req-forged").headers["x-turntape-stream"]
    wanted = on_disk(server, stream)
    assert ask(server, "GET", "/v1/usage", **ADMIN).status == 200  # by now its row is there
    kept = {path: path.read_bytes() for path in server.log_dir.glob("*.summary*")}
    for begun in ({}, {"begun": [0, 0]}):
        lie: dict[str, Any] = {"key": "bob", **begun}

        def lying(row: dict[str, Any], lie: dict[str, Any] = lie) -> dict[str, Any]:
            return {**row, **lie}

        summaries.forge(server.log_dir, lying)
        assert b'"key":"bob"' in b"".join(path.read_bytes() for path in kept)
        for name in (stream, "req-forged"):
            answer = ask(server, "GET", f"/v1/streams/{name}", **keyed.bearer("bob"))
            assert answer.status == 404
            assert got(server, name, **keyed.bearer("ann")) == wanted
        lines = ask(server, "GET", "/v1/usage/raw", **keyed.bearer("bob"))
        assert (lines.status, lines.headers["x-turntape-usage-complete"]) == (200, "false")
        assert stream.encode() not in lines.body
    for path, data in kept.items():
        path.write_bytes(data)


@pytest.mark.slow  # a server is started twice
def test_of_a_purged_stream_its_owner_is_told(tmp_path: Path) -> None:
    keys = keyed.write(tmp_path / "keys.toml", ann=keyed.held("ann"), bob=keyed.held("bob"))
    environ = {"PROXY_API_KEYS_FILE": str(keys), "PROXY_SCRIPTED_SPEED": "0"}
    with serving.running("--worker", "scripted", data_dir=tmp_path, **environ) as server:
        stream = asked(server, "ann", "req-purged").headers["x-turntape-stream"]
        log = server.log_dir
    purging.purge(log, [stream], 1_700_000_000_000_000, lambda *_: None)
    with serving.running("--worker", "scripted", data_dir=tmp_path, **environ) as server:
        own = ask(server, "GET", f"/v1/streams/{stream}", **keyed.bearer("ann"))
        others = ask(server, "GET", f"/v1/streams/{stream}", **keyed.bearer("bob"))
        nobodys = ask(server, "GET", "/v1/streams/req-purged", **keyed.bearer("ann"))
    assert (own.status, own.error["code"]) == (404, "not_found")
    said = "The records of this stream were erased at 2023-11-14T22:13:20Z."
    assert own.error["message"] == said
    assert refused(others) == refused(nobodys)
    assert others.error["message"] != said


@pytest.mark.parametrize("name", ["st_", "%00", "x" * 600, "..%2Flock", "%1b%5b31m"])
def test_what_is_no_id_is_not_there(server: serving.Serve, name: str) -> None:
    asked(server, "ann", "req-1")
    asked(server, "ann", "req-2")
    answer = ask(server, "GET", f"/v1/streams/{name}", **keyed.bearer("ann"))
    assert (answer.status, answer.error["code"]) == (404, "not_found")


def test_without_a_log_nothing_is_there(tmp_path: Path) -> None:
    environ = {"PROXY_EVENT_LOG": "off", "PROXY_SCRIPTED_SPEED": "0"}
    with serving.running("--worker", "scripted", data_dir=tmp_path, **environ) as server:
        answer = chat(server, x_request_id="req-1")
        assert answer.status == 200
        assert ask(server, "GET", "/v1/streams/req-1").status == 404


def test_the_log_is_not_read_on_the_loop_s_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    where: list[threading.Thread] = []

    def find(*_: object) -> None:
        where.append(threading.current_thread())
        raise ApiError("not_found", "")

    async def answer() -> None:
        context = types.SimpleNamespace(story_turns=asyncio.Semaphore(1))
        call = types.SimpleNamespace(entry=types.SimpleNamespace(key="ann"), tail="st_1")
        with pytest.raises(ApiError):
            await streams.stream(context, call)  # type: ignore[arg-type] # it looks at no more

    monkeypatch.setattr(streams, "_find", find)
    asyncio.run(answer())
    assert where
    assert threading.current_thread() not in where


def test_a_disk_that_fails_while_the_owner_is_read_shows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = logs.open_log(tmp_path, **summaries.KEPT)
    summaries.write(event_log, "st_1", key="ann")
    event_log.close()
    log = types.SimpleNamespace(content="full")
    config = types.SimpleNamespace(log_dir=tmp_path)
    context: Any = types.SimpleNamespace(config=config, log=log)

    def failing(*_: object) -> Iterator[tuple[object, int, bytes]]:
        raise OSError(errno.EIO, "Input/output error")

    assert streams._find(context, "st_1", "ann")[1]
    monkeypatch.setattr(stories, "pieces", failing)
    with pytest.raises(ApiError) as raised:
        streams._find(context, "st_1", "ann")
    assert (raised.value.status, raised.value.code) == (404, "not_found")
