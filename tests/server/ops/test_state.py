"""What a scrape says of the state of a server is what the server is in."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import prometheus_client.parser
import pytest

from bench import standin
from engine import containment
from machines import lifecycle
from server.version import VERSION
from tests.server.plain import BODY, ask
from tests.support.client import httpclient
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import chunk, framed, sse

Told = dict[tuple[str, tuple[str, ...]], float]


def told(server: serving.Serve) -> Told:
    """Every sample of a scrape, by its name and the values of its labels, sorted by the labels."""
    body = ask(server, "GET", "/metrics").body.decode()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for metric in prometheus_client.parser.text_string_to_metric_families(body)
        for sample in metric.samples
    }


def test_a_server_that_is_ready_says_so(keyless: serving.Serve) -> None:
    found = told(keyless)
    for state in lifecycle.TABLE.states:
        expected = float(state == lifecycle.READY)
        assert found["turntape_lifecycle_state", (state,)] == expected
    assert found["turntape_worker_ready", ("scripted",)] == 1
    assert found["turntape_log_accepting", ()] == 1
    assert found["turntape_store_working", ()] == 1
    assert found["turntape_loop_lag_p99_seconds", ()] <= found["turntape_loop_lag_max_seconds", ()]
    for boundary in containment.Boundary:
        assert found["turntape_defects_total", (boundary.value,)] == 0
    versions = [labels for name, labels in found if name == "turntape_build_info"]
    assert [labels[1] for labels in versions] == [VERSION]


def test_what_is_on_file_is_counted(keyless: serving.Serve) -> None:
    before = told(keyless)["turntape_log_written_bytes_total", ()]
    keyless.stream(BODY)
    behind = told(keyless)
    path = max(keyless.log_dir.glob("events-*.jsonl"))
    header = path.read_bytes().partition(b"\n")[0]
    assert behind["turntape_log_written_bytes_total", ()] > before
    assert behind["turntape_log_written_bytes_total", ()] == path.stat().st_size - len(header) - 1
    assert behind["turntape_log_records_waiting", ()] == 0


def test_without_a_store_there_is_nothing_to_say_of_it() -> None:
    with serving.running("--worker", "scripted", PROXY_STORE="off") as server:
        assert not [name for name, _ in told(server) if name.startswith("turntape_store")]


@pytest.fixture
def held() -> Iterator[tuple[serving.Serve, scripted.Gate]]:
    """A server whose upstream begins an answer and goes on when a gate opens."""
    gate = scripted.Gate()
    head = upstreams.STREAM_HEAD + framed(sse(chunk("Hello")))
    rest = framed(sse(chunk(finish="stop")) + upstreams.DONE) + upstreams.LAST
    with upstreams.stage([[head, gate, rest]], PROXY_SSE_MAX_CONCURRENCY="7") as stage:
        yield stage.server, gate


def test_streams_that_are_open_are_there_until_they_end(
    held: tuple[serving.Serve, scripted.Gate],
) -> None:
    server, gate = held
    open_now = ("turntape_streams_open", "turntape_permits_taken")
    with (
        contextlib.closing(httpclient.connect(server.base)) as idle,
        httpclient.begin(
            server.url, "POST", "/chat/completions", {**BODY, "model": "whole", "stream": True}
        ) as stream,
    ):
        stream.until(b"Hello")
        found = told(server)
        assert [found[name, ()] for name in open_now] == [1, 1]
        assert found["turntape_permits_limit", ()] == 7
        assert found["turntape_connections_open", ()] >= 3, idle
        gate.open()
        stream.response()
    machinetime.until(lambda: [told(server)[name, ()] for name in open_now] == [0, 0])


def test_requests_to_codex_are_counted_by_method(tmp_path: Path) -> None:
    program = standin.install(tmp_path, standin.Scenario(turn=standin.Turn(deltas=2)))
    with serving.running(CODEX_BIN=str(program)) as server:
        server.stream({**BODY, "model": "gpt-5.5"})
        found = told(server)
        counted = {
            labels[0]: value
            for (name, labels), value in found.items()
            if name == "turntape_worker_rpc_duration_seconds_count"
        }
        assert counted["turn/start"] == counted["thread/start"] == 1
        assert found["turntape_worker_rpc_duration_seconds_sum", ("turn/start", "codex")] > 0
        assert not [name for name, _ in found if name == "turntape_worker_rpc_errors_total"]
        assert found["turntape_maintenance", ()] == found["turntape_log_lag_seconds", ()] == 0
