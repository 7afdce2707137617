"""Who may read the metrics of a real server, in which form, and what that costs who does not."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Final

import prometheus_client.openmetrics.parser
import prometheus_client.parser
import pytest
from prometheus_client import core

from server.config import settings
from server.http import exchange as http
from server.http.errors import ApiError
from server.metrics import families
from server.ops import metrics
from tests.faults import observed
from tests.server.plain import BODY, KEY, Answer, ask, chat
from tests.support.process import machinetime, serving

TOKEN: Final = "scrape-1234567890abcdef"
BEARER: Final = {"authorization": f"Bearer {TOKEN}"}

Parse = Callable[[str], Iterable[core.Metric]]

QUICK: Final = {"PROXY_SCRIPTED_SPEED": "0"}


@pytest.fixture(scope="module")
def tokened() -> Iterator[serving.Serve]:
    """A server with a key and a token, open to this machine too."""
    environ = {"PROXY_API_KEY": KEY, "PROXY_METRICS_TOKEN": TOKEN}
    with serving.running("--worker", "scripted", data_dir=None, **QUICK, **environ) as server:
        yield server


@pytest.fixture(scope="module")
def closed() -> Iterator[serving.Serve]:
    """The same, closed to this machine."""
    environ = {
        "PROXY_API_KEY": KEY,
        "PROXY_METRICS_TOKEN": TOKEN,
        "PROXY_METRICS_ALLOW_LOOPBACK": "false",
    }
    with serving.running("--worker", "scripted", data_dir=None, **QUICK, **environ) as server:
        yield server


def scrape(server: serving.Serve, **headers: str) -> Answer:
    return ask(server, "GET", "/metrics", **headers)


FOREIGN: Final = (
    {"host": "turntape.example"},
    {"host": "127.0.0.1.example"},
    {"host": "10.0.0.1:11435"},
    {"forwarded": "for=192.0.2.1"},
    {"x_forwarded_for": "192.0.2.1"},
    {"x_forwarded_for": "127.0.0.1"},
    {"x_forwarded_proto": "https"},
    {"x_forwarded_host": ""},
    {"x_real_ip": "192.0.2.1"},
    {"via": "1.1 proxy"},
)
"""Headers of requests that come from elsewhere, or by way of somebody."""

LOCAL: Final[tuple[dict[str, str], ...]] = (
    {},
    {"host": "localhost"},
    {"host": "[::1]:11435"},
    {"host": "127.0.0.2:"},
)


@pytest.mark.parametrize("headers", LOCAL, ids=str)
def test_this_machine_may_read(keyed: serving.Serve, headers: dict[str, str]) -> None:
    answer = scrape(keyed, **headers)
    assert (answer.status, b"turntape_streams_open 0" in answer.body) == (200, True)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_nobody_else_may_where_there_is_no_token(
    keyed: serving.Serve, headers: dict[str, str]
) -> None:
    for authorization in ({}, {"authorization": f"Bearer {KEY}"}, BEARER):
        answer = scrape(keyed, **headers, **authorization)
        assert (answer.status, answer.error["code"]) == (403, "host_not_allowed")
        assert b"turntape_" not in answer.body


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_who_has_the_token_may(tokened: serving.Serve, headers: dict[str, str]) -> None:
    assert scrape(tokened, **headers, **BEARER).status == 200
    for wrong in ("", "Bearer", f"Bearer {KEY}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer é"):
        answer = scrape(tokened, **headers, authorization=wrong)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key"), wrong
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("peer", ["192.0.2.1", "10.0.0.1", "2001:db8::1", "::ffff:127.0.0.1", ""])
def test_a_peer_elsewhere_that_says_it_is_here_may_not(peer: str) -> None:
    config = settings.Config(data_dir=Path(), log_dir=Path())
    assert metrics.admit(config, local_request("127.0.0.1")) == ""
    assert metrics.admit(config, local_request("::1")) == ""
    with pytest.raises(ApiError):
        metrics.admit(config, local_request(peer))


def local_request(peer: str) -> http.Request:
    """A request for a host of this machine."""

    async def no_body() -> bytes:
        return b""

    headers = http.Headers([("host", "localhost:11435")])
    return http.Request("GET", "/metrics", headers, peer, no_body)


def test_this_machine_needs_no_token_unless_it_is_told_to(
    tokened: serving.Serve, closed: serving.Serve
) -> None:
    assert scrape(tokened).status == 200
    assert scrape(closed).status == 401
    assert scrape(closed, **BEARER).status == 200


def test_without_any_way_in_nobody_may() -> None:
    environ = {"PROXY_METRICS_ALLOW_LOOPBACK": "false", **QUICK}
    with serving.running("--worker", "scripted", data_dir=None, **environ) as server:
        assert scrape(server).status == 403


def test_an_operator_may_open_them_to_everyone() -> None:
    environ = {"PROXY_API_KEY": KEY, "PROXY_METRICS_ALLOW_UNAUTH": "true", **QUICK}
    with serving.running("--worker", "scripted", data_dir=None, **environ) as server:
        for headers in FOREIGN:
            assert scrape(server, **headers).status == 200


def test_a_refusal_leaves_the_trace_of_any_other(closed: serving.Serve) -> None:
    scrape(closed, x_request_id="refused-scrape")
    line = access_line(closed, "refused-scrape")  # the record comes before it
    (record,) = (each for each in closed.records() if each.get("request_id") == "refused-scrape")
    assert (record["event"], record["route"], record["code"]) == (
        "request_rejected",
        "/metrics",
        "invalid_api_key",
    )
    assert (line["severity"], "key" in line) == ("warning", False)


def access_line(server: serving.Serve, request_id: str) -> dict[str, object]:
    """The line of a request, once it is written."""

    def lines() -> list[dict[str, object]]:
        return [line for line in list(server.lines) if line.get("req_id") == request_id]

    machinetime.until(lambda: bool(lines()))
    return lines()[0]


def test_an_answered_scrape_is_nothing_to_read_of() -> None:
    environ = {"PROXY_METRICS_TOKEN": TOKEN, "PROXY_LOG_LEVEL": "debug", **QUICK}
    with serving.running("--worker", "scripted", data_dir=None, **environ) as server:
        scrape(server, x_request_id="told", **BEARER)
        line = access_line(server, "told")
    assert (line["severity"], line["key"]) == ("debug", metrics.KEY_NAME)
    assert TOKEN not in json.dumps(server.lines)


def test_both_formats_can_be_read(tokened: serving.Serve) -> None:
    plain = scrape(tokened)
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = {
        each.name
        for each in prometheus_client.parser.text_string_to_metric_families(plain.body.decode())
    }
    opened = scrape(tokened, accept="application/openmetrics-text; version=1.0.0")
    assert opened.headers["content-type"].startswith("application/openmetrics-text")
    parse: Parse = prometheus_client.openmetrics.parser.text_string_to_metric_families
    assert {each.name for each in parse(opened.body.decode())} == names


def test_a_scrape_has_every_metric_that_is_declared_and_no_other(tokened: serving.Serve) -> None:
    told = re.findall(r"(?m)^# TYPE (\w+) (\w+)$", scrape(tokened).body.decode())
    assert sorted(told) == sorted((each.name, each.type.value) for each in families.FAMILIES)


def test_switched_off_there_is_no_such_route(tmp_path: Path) -> None:
    loaded = imports_of(tmp_path, PROXY_ENABLE_METRICS="false", PROXY_METRICS_TOKEN=TOKEN)
    assert not [name for name in loaded if name.startswith("prometheus_client")]
    assert "server.metrics.requests" not in loaded
    assert "server.metrics.families" not in loaded


def test_what_writes_them_is_loaded_by_the_first_scrape(tmp_path: Path) -> None:
    assert "prometheus_client" not in imports_of(tmp_path / "before")
    assert "prometheus_client" in imports_of(tmp_path / "behind", scrapes=2)


def imports_of(data_dir: Path, scrapes: int = 0, **environ: str) -> set[str]:
    """The modules that a server has loaded which was started, asked, and maybe scraped.

    Python itself writes a line of each that is loaded to standard error.
    """
    given = {"PYTHONPROFILEIMPORTTIME": "1", **QUICK, **environ}
    server = serving.Serve(data_dir, ("--worker", "scripted"), given)
    try:
        server.wait_ready()
        assert chat(server).status == 200
        for _ in range(scrapes):
            assert scrape(server).status == 200
        if "PROXY_ENABLE_METRICS" in environ:
            assert scrape(server, **BEARER).error["code"] == "not_found"
    finally:
        server.stop()
    texts = "\n".join(str(line.get("text", "")) for line in server.lines)
    return set(re.findall(r"(?m)^import time: .*\| +([\w.]+)$", texts))


class BuggedServe(serving.Serve):
    """A server process in which calls of functions raise."""

    module = observed.__name__


def test_a_count_that_fails_is_a_defect_and_changes_no_byte(tmp_path: Path) -> None:
    well = serving.Serve(tmp_path / "well", ("--worker", "scripted"), QUICK)
    broken = {observed.PLANTED: json.dumps({REQUEST_ENDED: [*range(1, 50)]}), **QUICK}
    ill = BuggedServe(tmp_path / "ill", ("--worker", "scripted"), broken)
    try:
        answers = [
            [without_ids(chat(server, body, x_request_id="same")) for body in bodies()]
            for server in (well, ill)
        ]
        assert answers[0] == answers[1]
        assert len(ill.terminals()) == len(well.terminals())
        told = scrape(ill).body.decode()
    finally:
        statuses = [server.stop() for server in (well, ill)]
    assert statuses == [0, 0]
    defects = [line for line in ill.lines if line.get("event") == "defect"]
    assert {(line["boundary"], line["req_id"]) for line in defects} >= {("projection", "same")}
    assert int(re.findall(r'defects_total{boundary="projection"} (\d+)', told)[0]) >= 3
    assert "turntape_http_requests_total{" not in told


REQUEST_ENDED: Final = "server.metrics.requests.RequestMetrics.request_ended"


def bodies() -> Iterator[object]:
    """A stream, a body and a refusal."""
    yield {**BODY, "stream": True}
    yield BODY
    yield {**BODY, "model": 1}


def without_ids(answer: Answer) -> tuple[int, bytes]:
    """An answer without what is another one each time."""
    masked = re.sub(rb'"(id|created)":("[^"]*"|\d+)', b"", answer.body)
    return answer.status, masked


def test_names_that_strangers_make_up_are_no_series(keyless: serving.Serve) -> None:
    for number in range(3):
        body = {**BODY, "model": f"made-up-{number}", "stream": True}
        chat(keyless, body)
        ask(keyless, "GET", f"/made-up-{number}")
        ask(keyless, f"MADEUP{number}", "/v1/models")
    told = scrape(keyless).body.decode()
    assert "made-up" not in told.lower()
    assert "MADEUP" not in told


def test_scrapes_at_once_are_all_answered(tokened: serving.Serve) -> None:
    with futures.ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(scrape, [tokened] * 5))
    assert [answer.status for answer in answers] == [200] * 5
