"""The usage of a real server is what its log says, ending by ending, whatever becomes of it."""

import collections
import functools
import json
import os
import signal
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from engine.log.content import mask
from engine.log.format import sealed
from engine.log.read import segments
from engine.log.summary import rows
from machines import events
from server.access.entry import GOOD_KINDS
from tests.server.ops import test_metrics_agree as endings
from tests.server.plain import KEY, ask, chat
from tests.support.client import httpclient, httpwire
from tests.support.process import heldloop, machinetime, serving
from tests.support.providers import upstreams

QUICK: Final = {"PROXY_SCRIPTED_SPEED": "0"}
ADMIN: Final = "sk-admin-1234567890"


def usage(server: serving.Serve, query: str = "", **headers: str) -> dict[str, Any]:
    answer = ask(server, "GET", f"/v1/usage?{query}", **headers)
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.body)
    return found


def raw(server: serving.Serve, query: str = "", **headers: str) -> list[dict[str, Any]]:
    answer = ask(server, "GET", f"/v1/usage/raw?{query}", **headers)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.body.splitlines()]


def ended(directory: Path) -> list[tuple[events.Opened | None, Any]]:
    """The first and the last record of each request, as a reader of the log finds them."""
    begun: dict[str, events.Opened] = {}
    found: list[tuple[events.Opened | None, Any]] = []
    for record in segments.read(directory):
        event = record.load()
        if isinstance(event, events.Opened):
            begun[record.stream] = event
        elif isinstance(event, events.Terminal | events.RequestRejected):
            found.append((begun.get(record.stream), event))
    return found


def summed(directory: Path) -> dict[str, Any]:
    """What `total` should be, from the log alone."""
    kinds: collections.Counter[str] = collections.Counter()
    failures: collections.Counter[tuple[str, str | None]] = collections.Counter()
    sources: collections.Counter[str] = collections.Counter(
        counted=0, estimated=0, unknown=0, refused=0
    )
    tokens: dict[str, collections.Counter[str]] = {
        "counted": collections.Counter(),
        "estimated": collections.Counter(),
    }
    calls = 0
    for _, last in ended(directory):
        if isinstance(last, events.RequestRejected):
            kinds["rejected"] += last.count
            failures["rejected", last.code] += last.count
            sources["refused"] += last.count
            continue
        kinds[last.kind] += 1
        calls += last.tool_calls
        if last.kind not in GOOD_KINDS:
            failures[last.kind, last.code and mask.mask_code(last.code)] += 1
        if last.usage is None:
            sources["unknown"] += 1
            continue
        sources[last.usage_source] += 1
        tokens[last.usage_source].update(
            input_tokens=last.usage.prompt_tokens,
            output_tokens=last.usage.completion_tokens,
            total_tokens=last.usage.total_tokens,
        )
    return {
        "requests": sum(kinds.values()),
        "kinds": dict(kinds),
        "usage": dict(sources),
        "tool_calls": calls,
        "failures": dict(failures),
        **{name: tokens["counted"][name] for name in OF_TOKENS},
        "estimated": {name: tokens["estimated"][name] for name in OF_TOKENS},
    }


OF_TOKENS: Final = ("input_tokens", "output_tokens", "total_tokens")


def shown(sums: dict[str, Any]) -> dict[str, Any]:
    """The same members of an answer."""
    names = ("requests", "kinds", "usage", "tool_calls", *OF_TOKENS)
    failures = {(each["kind"], each["code"]): each["requests"] for each in sums["failures"]}
    estimated = {name: sums["estimated"][name] for name in OF_TOKENS}
    return {
        **{name: sums[name] for name in names},
        "failures": failures,
        "estimated": estimated,
    }


@pytest.fixture(scope="module")
def played() -> Iterator[serving.Serve]:
    """A server on which every ending was played, with segments of a few streams each."""
    settings = {
        "PROXY_STREAM_IDLE_TIMEOUT_MS": "600",
        "PROXY_NONSTREAM_TRUNCATE_AFTER_MS": "300",
        "PROXY_LOG_SEGMENT_BYTES": "64KiB",
    }
    with upstreams.stage([upstreams.PLAIN], **settings) as stage:
        endings.play(stage)
        cut = endings.request(
            stage, upstreams.stream(upstreams.chunk("Hello there")), max_tokens=1, stream=True
        )
        chat(stage.server, cut)
        wanted = 2 * len(endings.ANSWERS) + 3
        machinetime.until(lambda: len(stage.server.terminals()) == wanted)
        yield stage.server


def test_the_sums_are_what_the_log_says_ending_by_ending(played: serving.Serve) -> None:
    found = usage(played)
    assert found["complete"] is True
    wanted = summed(played.log_dir)
    assert shown(found["total"]) == wanted
    assert {"completed", "truncated", "empty", "client_gone", "rejected", "timeout"} <= set(
        wanted["kinds"]
    )
    assert wanted["usage"]["unknown"] > 0
    assert wanted["usage"]["refused"] > 0


@pytest.mark.parametrize("groups", ["model", "day,route", "key,model,day,route", "route"])
def test_groups_add_up_to_the_total(played: serving.Serve, groups: str) -> None:
    found = usage(played, f"group_by={groups}")
    assert found["group_by"] == [
        name for name in ("day", "key", "model", "route") if name in groups.split(",")
    ]
    for name in ("requests", *OF_TOKENS, "tool_calls"):
        assert sum(each[name] for each in found["data"]) == found["total"][name]
    assert found["rest"] is None
    limited = usage(played, f"group_by={groups}&limit=1")
    assert limited["total"] == found["total"]
    assert limited["data"] == found["data"][:1]
    rest = limited["rest"]["requests"] if limited["has_more"] else 0
    assert rest + limited["data"][0]["requests"] == found["total"]["requests"]


def test_filters_let_through_what_they_say(played: serving.Serve) -> None:
    lines = raw(played)
    for query, wanted in (
        ("kind=rejected", [line for line in lines if line["kind"] == "rejected"]),
        ("kind=empty&kind=completed", [e for e in lines if e["kind"] in ("empty", "completed")]),
        ("model=", [line for line in lines if line["model"] is None]),
        ("route=/v1/chat/completions", [e for e in lines if e["route"] == endings.CHAT]),
        ("code=not_found", [line for line in lines if line["code"] == "not_found"]),
        ("end=2020-01-01", []),
        ("start=2020-01-01T00:00:00%2B02:00", lines),
        ("key=nobody", []),
    ):
        assert raw(played, query) == wanted, query
        counts = sum(line["count"] for line in wanted)
        assert usage(played, query)["total"]["requests"] == counts


def test_there_is_a_line_for_each_request_in_the_order_of_the_log(played: serving.Serve) -> None:
    lines = raw(played)
    wanted = ended(played.log_dir)
    assert len(lines) == len(wanted)
    for line, (first, last) in zip(lines, wanted, strict=True):
        assert line["status"] == last.status
        if first is None:
            assert (line["kind"], line["code"]) == ("rejected", last.code)
            assert (line["req_id"], line["count"]) == (last.request_id, last.count)
            assert (line["usage"], line["input_tokens"]) == ("refused", None)
            continue
        assert (line["req_id"], line["kind"]) == (first.request_id, last.kind)
        assert line["duration_ms"] == last.duration_us / 1000
        tokens = last.usage and last.usage.prompt_tokens
        assert line["input_tokens"] == tokens
        assert line["usage"] == ("unknown" if last.usage is None else last.usage_source)
    members = {tuple(line) for line in lines}
    assert len(members) == 1, "every line has every member"


def test_a_codes_sentence_is_masked_and_a_models_name_is_kept_as_contents_are(
    played: serving.Serve,
) -> None:
    told = ask(played, "GET", "/v1/usage/raw").body + ask(played, "GET", "/v1/usage").body
    assert b"4711" not in told
    assert b"a name of a client" in told  # the log of this server is full


def test_pages_of_lines_are_the_whole(played: serving.Serve) -> None:
    lines = raw(played)
    paged: list[dict[str, Any]] = []
    while page := raw(played, f"limit=3&after={paged[-1]['cursor'] if paged else '0-0'}"):
        assert len(page) <= 3
        paged += page
    assert paged == lines


WRONG: Final = {
    "group_by=user": "group_by",
    "strat=1": "strat",
    "start=yesterday": "start",
    "start=99999999999999999999": "start",
    "start=2026-02-01&end=2026-01-01": "end",
    "limit=0": "limit",
    "limit=x": "limit",
    "limit=10001": "limit",
    "after=1-1": "after",
    "%00=1": "\x00",
}


@pytest.mark.parametrize("query", WRONG)
def test_what_is_wrong_with_a_query_is_named(played: serving.Serve, query: str) -> None:
    answer = ask(played, "GET", f"/v1/usage?{query}")
    assert (answer.status, answer.error["param"]) == (400, WRONG[query])


@pytest.mark.parametrize("place", ["", "1", "a-b", "-1-1", "1-1-1", "１-1", "9" * 50 + "-1"])
def test_a_cursor_that_is_none_is_refused(played: serving.Serve, place: str) -> None:
    request = httpwire.request("GET", f"/v1/usage/raw?after={place.encode().hex()}x", None, {})
    with httpclient.Exchange(httpclient.connect(played.base), request, "GET") as exchange:
        assert exchange.response().status == 400


def test_what_was_used_outlives_restarts_kills_and_the_log(tmp_path: Path) -> None:
    settings = {
        **QUICK,
        "PROXY_LOG_SEGMENT_BYTES": "64KiB",
        "PROXY_LOG_MAX_BYTES": "128KiB",
    }
    seen: list[dict[str, Any]] = []
    lives = 4
    for life in range(lives):
        with serving.running("--worker", "scripted", data_dir=tmp_path, **settings) as server:
            after = f"after={seen[-1]['cursor']}" if seen else ""
            for number in range(8):
                name = f"life-{life}-{number}"
                assert chat(server, x_request_id=name).status == 200
            chat(server, {"model": 1}, x_request_id=f"life-{life}-refused")
            # A refusal is recorded behind its answer.
            refused = f"life-{life}-refused"
            machinetime.until(functools.partial(has_refused, server, refused))
            if life == 0:
                seen += raw(server, after)
                assert len(seen) == 9
            server.stop(signal.SIGKILL if life % 2 else signal.SIGTERM)
    with serving.running("--worker", "scripted", data_dir=tmp_path, **settings) as server:
        seen += raw(server, f"after={seen[-1]['cursor']}")
        named = [line["req_id"] for line in seen]
        assert named == [
            f"life-{life}-{number}" for life in range(lives) for number in (*range(8), "refused")
        ]
        found = usage(server)
        assert found["complete"] is True
        assert found["total"]["kinds"] == {"completed": 8 * lives, "rejected": lives}
        machinetime.until(lambda: segments.list_segments(server.log_dir)[0].number > 1)
        assert len(raw(server)) == 9 * lives, "though the log has forgotten some"
        health = json.loads(ask(server, "GET", "/healthz").body)
        assert health["usage"] == {"state": "working", "failures": 0, "missed": 0}
        assert b"turntape_log_summaries_working 1" in ask(server, "GET", "/metrics").body


def has_refused(server: serving.Serve, request_id: str) -> bool:
    """Whether the refusal of a request is in the log."""
    rejected = (each for each in server.records() if each["event"] == "request_rejected")
    return any(each["request_id"] == request_id for each in rejected)


@pytest.fixture(scope="module")
def secured() -> Iterator[serving.Serve]:
    """A server with a key, and an operator's."""
    keys = {"PROXY_API_KEY": KEY, "PROXY_ADMIN_KEY": ADMIN}
    with serving.running("--worker", "scripted", data_dir=None, **QUICK, **keys) as server:
        assert chat(server, authorization=f"Bearer {KEY}").status == 200
        yield server


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/usage/raw"])
def test_a_key_is_needed(secured: serving.Serve, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer nobody's"}, {"authorization": f"Basic {KEY}"}):
        answer = ask(secured, "GET", path, **headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    for key in (KEY, ADMIN):
        assert ask(secured, "GET", path, authorization=f"Bearer {key}").status == 200
    assert ask(secured, "POST", path, b"").status == 405


def test_usage_names_the_key_and_never_shows_it(secured: serving.Serve) -> None:
    found = usage(secured, "group_by=key", authorization=f"Bearer {ADMIN}")
    of = {each["key"]: each["requests"] for each in found["data"]}
    assert of["PROXY_API_KEY"] == 1
    told = ask(secured, "GET", "/v1/usage/raw", authorization=f"Bearer {KEY}").body
    assert KEY.encode() not in told


def test_without_a_key_it_is_open_where_an_operator_says_so() -> None:
    settings = {"PROXY_API_KEY": KEY, "PROXY_USAGE_ALLOW_UNAUTH": "true", **QUICK}
    with serving.running("--worker", "scripted", data_dir=None, **settings) as server:
        chat(server, authorization=f"Bearer {KEY}")
        assert usage(server)["total"]["requests"] == 1
        assert [line["key"] for line in raw(server)] == ["PROXY_API_KEY"]
        assert chat(server).status == 401


def test_without_a_log_there_is_no_usage_and_that_is_said() -> None:
    with serving.running(
        "--worker", "scripted", data_dir=None, PROXY_EVENT_LOG="off", **QUICK
    ) as server:
        for path in ("/v1/usage", "/v1/usage/raw"):
            answer = ask(server, "GET", path)
            assert (answer.status, answer.error["code"]) == (404, "usage_not_kept")
            assert "PROXY_EVENT_LOG" in answer.error["message"]
        assert json.loads(ask(server, "GET", "/healthz").body)["usage"] == {"state": "off"}


def test_a_response_in_the_background_counts_once_when_it_has_ended() -> None:
    with serving.running("--worker", "scripted", data_dir=None, **QUICK) as server:
        body = {"model": "codex-5", "input": "Hello", "background": True}
        answer = ask(server, "POST", "/v1/responses", body, content_type="application/json")
        assert answer.status == 200
        machinetime.until(lambda: len(server.terminals()) == 1)
        (line,) = raw(server)
        assert (line["route"], line["kind"]) == ("/v1/responses", "completed")
        found = usage(server, "group_by=route")
        assert [(each["route"], each["requests"]) for each in found["data"]] == [
            ("/v1/responses", 1)
        ]


@pytest.mark.long
def test_whoever_does_not_read_holds_up_nobody_and_costs_no_memory(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", data_dir=tmp_path, **QUICK) as server:
        chat(server)
        server.stop()
    (path,) = server.log_dir.glob("events-*.summary")
    rows_file(path, 60_000)
    with serving.running("--worker", "scripted", data_dir=tmp_path, **QUICK) as server:
        before = resident(server)
        with socket.create_connection(("127.0.0.1", int(server.base.rpartition(":")[2]))) as idle:
            idle.sendall(b"GET /v1/usage/raw HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert idle.recv(15) == b"HTTP/1.1 200 OK"
            for _ in range(20):
                assert chat(server).status == 200
            assert resident(server) - before < 24 << 20, "60,000 lines are 50 MB"
        assert usage(server)["total"]["requests"] == 60_000 + 20
        assert len(raw(server)) == 60_000 + 20


def rows_file(path: Path, count: int, models: int = 1) -> None:
    """Make a sidecar of so many rows of the one it has; its segment is gone by then."""
    lines = path.read_bytes().splitlines(keepends=True)
    row = rows.read(lines[1])
    assert row is not None
    made = [
        rows.written(
            msgspec.structs.replace(row, at=(row.at[0], number), model=f"m-{number % models}")
        )
        for number in range(1, count + 1)
    ]
    data = b"".join((lines[0], *made))
    last = {
        "sealed": row.at[0],
        "rows": count,
        "first": row.t,
        "last": row.t,
        "bytes": 1,
        "crc32": f"{zlib.crc32(data):08x}",
    }
    data += sealed.seal(msgspec.json.encode(last)[:-1])
    path.write_bytes(data)
    directory = path.parent
    for each in (*directory.glob("*.jsonl"), directory / "chain", directory / "checkpoint"):
        each.unlink()


def resident(server: serving.Serve) -> int:
    """Resident memory of a server, in bytes."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.long
@pytest.mark.slow
def test_no_answer_holds_the_loop_however_much_it_sums(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", data_dir=tmp_path, **QUICK) as server:
        chat(server)
        server.stop()
    (path,) = server.log_dir.glob("events-*.summary")
    rows_file(path, 40_000, models=12_000)
    with heldloop.running("--worker", "scripted", PROXY_DATA_DIR=str(tmp_path)) as held:
        for query in ("/usage?group_by=model,day&limit=10000", "/usage/raw"):
            ask = functools.partial(httpclient.ask, held.url, "GET", query)
            longest = held.least_of(ask)
            assert longest["longest_ms"] < heldloop.LIMIT_MS, (query, longest)
            answer = ask()
            assert answer.status == 200
            if "raw" not in query:
                found = json.loads(answer.body)
                assert (len(found["data"]), found["has_more"]) == (10_000, True)
                assert found["rest"]["requests"] > 0
                assert found["total"]["requests"] == 40_000


def test_lines_that_break_off_are_cut_off_and_told_once(tmp_path: Path) -> None:
    small = {"PROXY_LOG_SEGMENT_BYTES": "64KiB", **QUICK}
    with serving.running("--worker", "scripted", data_dir=tmp_path, **small) as server:
        body = {"model": "text-long", "messages": [{"role": "user", "content": "Hi"}]}
        for _ in range(4):
            assert chat(server, body).status == 200
        assert usage(server)["total"]["requests"] == 4
        last = max(server.log_dir.glob("*.summary"))
        last.unlink()
        last.mkdir()  # what cannot be read
        with pytest.raises(httpclient.CutOff):
            ask(server, "GET", "/v1/usage/raw")
        assert server.stop() == 0
        told = [line for line in server.lines if line.get("route") == "/v1/usage/raw"]
        assert [line["code"] for line in told] == ["usage_unavailable"]
        refused = [each for each in server.records() if each["event"] == "request_rejected"]
        assert [each["code"] for each in refused] == ["usage_unavailable"]
        assert not any(line.get("event") == "defect" for line in server.lines)


def test_lines_that_lack_a_damaged_one_are_not_passed_off_as_all(tmp_path: Path) -> None:
    small = {"PROXY_LOG_SEGMENT_BYTES": "64KiB", **QUICK}
    with serving.running("--worker", "scripted", data_dir=tmp_path, **small) as server:
        body = {"model": "text-long", "messages": [{"role": "user", "content": "Hi"}]}
        for _ in range(3):
            assert chat(server, body).status == 200
        assert ask(server, "GET", "/v1/usage/raw").status == 200
        named = b'"model":"text-long"'
        path = next(e for e in server.log_dir.glob("*.summary") if named in e.read_bytes())
        path.write_bytes(path.read_bytes().replace(named, b'"model":"text-lone"'))
        assert usage(server)["complete"] is False
        with pytest.raises(httpclient.CutOff):
            ask(server, "GET", "/v1/usage/raw")


def test_who_goes_on_behind_the_last_line_is_not_cut_off_for_ever(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", data_dir=tmp_path, **QUICK) as server:
        chat(server)
        server.stop()
    (path,) = server.log_dir.glob("events-*.summary")
    rows_file(path, 2_000)
    with serving.running("--worker", "scripted", data_dir=tmp_path, **QUICK) as server:
        last = raw(server)[-1]["cursor"]
        lines = path.read_bytes().splitlines(keepends=True)
        lines[1_900] = lines[1_900].replace(b'"model":"m-0"', b'"model":"m-1"')
        path.write_bytes(b"".join(lines))
        with pytest.raises(httpclient.CutOff):
            ask(server, "GET", "/v1/usage/raw")
        (cut,) = raw(server, f"after={last}")
        assert cut["code"] == "usage_unavailable"
