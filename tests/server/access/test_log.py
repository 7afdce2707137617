"""Every request leaves a line, and every refused one a record: on a real server, read back."""

import asyncio
import json
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from engine.log import event_log as eventlog
from engine.log.settings import LogSettings
from server.access.log import AccessLog
from server.access.strangers import MOST_ADDRESSES, WINDOW_S
from server.http.errors import ApiError
from tests.server.plain import BODY, KEY, Answer, ask, chat
from tests.support.client import httpclient
from tests.support.logs import logs
from tests.support.machines import virtualtime
from tests.support.process import machinetime, serving

AUTHORIZED = {"authorization": f"Bearer {KEY}"}
JSON = {"content_type": "application/json"}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server() -> Iterator[serving.Serve]:
    """A server with a key behind a proxy, that tells of every request."""
    with serving.running(
        "--worker",
        "scripted",
        PROXY_SCRIPTED_SPEED="0",
        PROXY_API_KEY=KEY,
        PROXY_TRUSTED_PROXIES="127.0.0.1",
        PROXY_LOG_LEVEL="debug",
        PROXY_MAX_BODY_BYTES="4096",
        PROXY_SSE_MAX_CONCURRENCY="1",
        PROXY_EVENT_LOG="full",
    ) as running:
        yield running


def line_of(server: serving.Serve, request_id: str) -> dict[str, Any]:
    """The one access line of a request, once it is written."""
    deadline = time.monotonic() + machinetime.HANG_S
    while True:
        found = [
            line
            for line in list(server.lines)
            if line.get("component") == "access" and line.get("req_id") == request_id
        ]
        if found:
            (line,) = found
            return line
        assert time.monotonic() < deadline, server.lines
        threading.Event().wait(0.01)


def records_of(server: serving.Serve, request_id: str) -> list[dict[str, Any]]:
    return [record for record in server.records() if record.get("request_id") == request_id]


def told(server: serving.Serve, answer: Answer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The line and the one record of a request that was refused."""
    request_id = answer.headers["x-request-id"]
    line = line_of(server, request_id)
    (record,) = records_of(server, request_id)
    assert record["event"] == "request_rejected"
    assert record["stream"].startswith("rj_")
    return line, record


@pytest.mark.parametrize(
    ("status", "code", "method", "path", "body", "headers"),
    [
        (401, "invalid_api_key", "POST", CHAT, BODY, JSON),
        (401, "invalid_api_key", "POST", CHAT, BODY, {**JSON, "authorization": "Bearer x"}),
        (404, "not_found", "GET", "/v1/nowhere", None, AUTHORIZED),
        (405, "method_not_allowed", "GET", CHAT, None, AUTHORIZED),
        (400, "invalid_json", "POST", CHAT, b"{", {**AUTHORIZED, **JSON}),
        (400, "invalid_request", "POST", CHAT, {"model": "codex-5"}, {**AUTHORIZED, **JSON}),
        (404, "model_not_found", "POST", CHAT, {**BODY, "model": "x"}, {**AUTHORIZED, **JSON}),
        (413, "request_too_large", "POST", CHAT, b"x" * 5000, {**AUTHORIZED, **JSON}),
        (415, "unsupported_media_type", "POST", CHAT, BODY, AUTHORIZED),
        (417, "expectation_failed", "POST", CHAT, BODY, {**JSON, "expect": "x"}),
    ],
)
def test_a_refusal_has_a_line_and_a_record(
    server: serving.Serve,
    status: int,
    code: str,
    method: str,
    path: str,
    body: object,
    headers: dict[str, str],
) -> None:
    # Each from an address of its own: what one may have written is bounded.
    client = f"192.0.2.{zlib.crc32(f'{code} {len(headers)}'.encode()) % 250}"
    answer = ask(server, method, path, body, **{**headers, "x_forwarded_for": client})
    assert (answer.status, answer.error["code"] or "invalid_request") == (status, code)
    line, record = told(server, answer)
    known = path == CHAT and status != 417
    for each in (line, record):
        assert (each["status"], each["code"], each["client"]) == (status, code, client)
        assert (each.get("route"), each.get("path")) == ((CHAT, None) if known else (None, path))
        assert each["method"] == method
    assert (line["severity"], line["kind"]) == ("warning", "rejected")
    accepted = "authorization" in headers and status not in (401, 405) and known
    assert line.get("key") == ("PROXY_API_KEY" if accepted else None)
    assert line["bytes"] == len(answer.body)
    assert record["message"] == answer.error["message"]
    assert record.get("param") == line.get("param") == answer.error["param"]


def test_what_is_no_http_has_them_too(server: serving.Serve) -> None:
    with httpclient.Exchange(
        httpclient.connect(server.base), b"NONSENSE\r\n\r\n", "GET"
    ) as exchange:
        answer = Answer(*exchange.response()[:3])
    line, record = told(server, answer)
    assert (line["status"], line["code"], line["client"]) == (400, "bad_http", "127.0.0.1")
    assert (record["code"], record.get("method")) == ("bad_http", None)


def test_an_answer_has_a_line_with_its_stream_and_no_refusal(server: serving.Serve) -> None:
    answer = chat(server, {**BODY, "stream": True}, **AUTHORIZED)
    assert answer.status == 200, answer
    line = line_of(server, answer.headers["x-request-id"])
    assert line["severity"] == "info"
    assert line["event"] == "request_ended"
    assert (line["method"], line["route"], line["status"]) == ("POST", CHAT, 200)
    assert (line["kind"], line["model"], line["key"]) == ("completed", "codex-5", "PROXY_API_KEY")
    assert line["stream"] == answer.headers["x-turntape-stream"]
    assert line["bytes"] == len(answer.body)
    assert 0 <= line["ttft_ms"] <= line["duration_ms"]
    first = records_of(server, answer.headers["x-request-id"])
    assert [record["event"] for record in first] == ["opened"]
    assert "None" not in json.dumps(line) and None not in line.values()


def test_a_probe_has_a_line_for_debugging(server: serving.Serve) -> None:
    answer = ask(server, "GET", "/livez")
    assert line_of(server, answer.headers["x-request-id"])["severity"] == "debug"


def test_inspect_finds_a_refusal_by_its_id(server: serving.Serve) -> None:
    answer = chat(server, {"model": "codex-5"}, **AUTHORIZED, x_request_id="req-of-mine")
    told(server, answer)
    shown = serving.command("inspect", str(server.log_dir), "--request", "req-of-mine")
    assert shown.returncode == 0
    assert "refused with 400" in shown.stdout
    assert answer.error["message"] in shown.stdout
    listed = serving.command("log", str(server.log_dir), "--json")
    assert "req-of-mine" in listed.stdout
    assert server.replay().returncode == 0


def test_a_scanner_is_told_of_ten_times_and_then_by_a_count() -> None:
    with serving.running("--worker", "scripted", PROXY_API_KEY=KEY) as server:
        for _ in range(25):
            assert chat(server).status == 401
        assert chat(server, {**BODY, "model": "no"}, **AUTHORIZED).status == 404
        server.stop()
        lines = [line for line in server.lines if line.get("component") == "access"]
        strangers = [line for line in lines if line["status"] == 401]
        assert [line.get("count", 1) for line in strangers] == [1] * 10 + [15]
        rejected = [each for each in server.records() if each["event"] == "request_rejected"]
        assert [each.get("count", 1) for each in rejected] == [1] * 10 + [1, 15]
        assert [each["status"] for each in rejected] == [401] * 10 + [404, 401]
        assert server.replay().returncode == 0


def test_a_stranger_writes_no_more_than_a_line_of_a_known_size() -> None:
    """A method of 60,000 characters filled the log with 148 MB in some seconds."""
    with serving.running("--worker", "scripted", PROXY_API_KEY=KEY) as server:
        ask(server, "M" * 60_000, "/v1/models")
        ask(server, "GET", "/" + "p" * 60_000)
        server.stop()
        rejected = [each for each in server.records() if each["event"] == "request_rejected"]
        assert [each["status"] for each in rejected] == [405, 404]
        assert all(len(json.dumps(each)) < 1200 for each in rejected)
        assert all(len(json.dumps(each)) < 1200 for each in server.lines)


@pytest.mark.parametrize("kept", ["full", "masked"])
def test_a_key_in_a_path_is_in_no_record(kept: str) -> None:
    with serving.running("--worker", "scripted", PROXY_EVENT_LOG=kept) as server:
        ask(server, "GET", "/sk-proj-abcdefghijklmnop")
        server.stop()
        (record,) = (each for each in server.records() if each["event"] == "request_rejected")
        assert "abcdefgh" not in json.dumps(record)
        assert "abcdefgh" not in json.dumps(server.lines)


def test_a_masked_record_holds_no_words_and_the_code_stays() -> None:
    with serving.running("--worker", "scripted") as server:
        words = {**BODY, "messages": [{"role": "my dog Rex", "content": "x"}]}
        answer = chat(server, words)
        assert (answer.status, answer.error["param"]) == (400, "messages[0].role")
        server.stop()
        (record,) = (each for each in server.records() if each["event"] == "request_rejected")
        assert (record["code"], record["param"]) == ("invalid_request", "messages[0].role")
        assert "Rex" not in json.dumps(record)
        assert not any(character.isalnum() for character in record["message"])
        assert "Rex" not in json.dumps(server.lines)


def test_names_that_a_client_makes_up_are_in_no_line() -> None:
    with serving.running("--worker", "scripted") as server:
        chat(server, {**BODY, "messages": [{"role": "user", "my dog Rex": 1}]})
        ask(server, "GET", "/v1/my%20dog%20Rex")
        server.stop()
        lines = [line for line in server.lines if line.get("component") == "access"]
        assert "Rex" not in json.dumps(lines)
        assert [line["path"] for line in lines if "path" in line] == ["/**/**%*****%*****"]


def test_a_window_ends_also_where_it_counted_nothing(tmp_path: Path) -> None:
    """Else the addresses of days would fill the table, and every stranger be one of the rest."""

    async def run() -> list[Any]:
        loop = asyncio.get_running_loop()

        def clock() -> int:
            return 10**9 + round(loop.time() * 1_000_000)

        event_log = eventlog.EventLog(LogSettings(tmp_path, "full"), clock)
        event_log.open()
        access = AccessLog(event_log, (), 0)
        with structlog.testing.capture_logs() as lines:
            for number in range(MOST_ADDRESSES):
                access.refuse(ApiError("bad_http", "no"), None, f"192.0.2.{number}", "req_1")
            await asyncio.sleep(WINDOW_S + 1)
            access.refuse(ApiError("bad_http", "no"), None, "198.51.100.1", "req_2")
        access.close()
        event_log.close()
        return lines

    lines = virtualtime.run(run())
    assert [line["req_id"] for line in lines] == ["req_1"] * MOST_ADDRESSES + ["req_2"]


def test_a_line_that_cannot_be_written_is_no_failure_of_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> list[Any]:
        event_log = eventlog.EventLog(LogSettings(tmp_path, "full"), lambda: 1)
        event_log.open()
        access = AccessLog(event_log, (), 0)
        monkeypatch.setattr(event_log, "stream", None)
        with structlog.testing.capture_logs() as lines:
            access.refuse(ApiError("bad_http", "no"), None, "127.0.0.1", "req_1")
        access.close()
        event_log.close()
        return lines

    (line,) = asyncio.run(run())
    assert (line["event"], line["boundary"], line["req_id"]) == ("defect", "access", "req_1")
    assert logs.lines_of(tmp_path) == []
