"""The dashboard as Grafana reads it, and each of its queries on a real Prometheus under load."""

import concurrent.futures
import functools
import json
import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bench import standin
from tests.codex.test_processes import standing
from tests.deploy import known
from tests.server.ops import test_metrics_agree as endings
from tests.server.plain import ask, chat
from tests.support.process import machinetime, prometheus, serving
from tests.support.providers import upstreams

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(prometheus.PROGRAM is None, reason="needs Debian's prometheus on PATH"),
]

NOT_IN_THE_LOAD: Final = {
    "Turns that wait for results of tools",  # no turn of it is parked
    "Conversations that go on",  # none of it does, so none is missed
    "Calls of workers that failed",  # unless the kill comes between a request and its reply
    "Quota used",  # of a ChatGPT account, and the load has none
    "Quota comes back",
    "Requests by key",  # nobody has a key
    "Tokens by key",
    "Refused by a limit of the key",
    "Open answers by key",
}
"""Panels of metrics that begin with the first of what they count, or of what the load has not."""

UNTYPED: Final = {"__requires", "titleFormat", "textFormat"}
"""Members that Grafana's SDK has no types of: those of exports, and of Prometheus' annotations."""


def lost(ours: Any, read: Any, path: str = "") -> Iterator[str]:
    """Where a value has something that what Grafana's types read of it has not."""
    if isinstance(ours, dict) and isinstance(read, dict):
        for name, value in ours.items():
            if name not in read:
                if name not in UNTYPED:
                    yield f"{path}/{name}"
            else:
                yield from lost(value, read[name], f"{path}/{name}")
    elif isinstance(ours, list) and isinstance(read, list) and len(ours) == len(read):
        for number, (one, other) in enumerate(zip(ours, read, strict=True)):
            yield from lost(one, other, f"{path}/{number}")
    elif ours != read:
        yield f"{path}: {ours!r} is {read!r}"


def test_grafanas_own_types_read_all_of_it() -> None:
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    plugins.register_default_plugins()
    ours = json.loads(known.DASHBOARD.read_text("utf-8"))
    read = json.loads(encoder.JSONEncoder().encode(models.Dashboard.from_json(ours)))
    assert list(lost(ours, read)) == []
    broken = json.loads(known.DASHBOARD.read_text("utf-8"))
    broken["panels"][1]["tittle"] = "a member of no panel"
    read = json.loads(encoder.JSONEncoder().encode(models.Dashboard.from_json(broken)))
    assert list(lost(broken, read)) == ["/panels/1/tittle"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A Prometheus with the rules, that scrapes two servers under a mixed load."""
    settings = {"PROXY_STREAM_IDLE_TIMEOUT_MS": "600", "PROXY_NONSTREAM_TRUNCATE_AFTER_MS": "300"}
    with (
        upstreams.stage([upstreams.PLAIN], **settings) as stage,
        standing(standin.Scenario(), WORKER_BACKOFF_INITIAL_MS="20") as up,
        prometheus.running(configuration(stage.server, up.server)) as where,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        endings.play(stage)  # so that every series is there before it grows
        chat(up.server, {**endings.request(stage, upstreams.PLAIN), "model": "gpt-5.5"})
        thoughtful(stage)
        scraped(where, stage.server)
        playing = pool.submit(endings.play, stage)
        chat(up.server, {**endings.request(stage, upstreams.PLAIN), "model": "gpt-5.5"})
        thoughtful(stage)
        os.kill(up.starts[-1], signal.SIGKILL)
        playing.result()
        scraped(where, stage.server)
        yield where


def thoughtful(stage: upstreams.Stage) -> None:
    """Have an answer of the Responses API, and one of cached tokens and reasoning."""
    body = {"model": endings.MODEL, "input": "Hello", "stream": True}
    answer = ask(stage.server, "POST", "/v1/responses", body, content_type="application/json")
    assert answer.status == 200
    usage = {
        **upstreams.usage(100, 20),
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 15},
    }
    counted = upstreams.chunk(choices=[], usage=usage)
    said = upstreams.stream(upstreams.chunk("Hello"), upstreams.chunk(finish="stop"), counted)
    assert chat(stage.server, endings.request(stage, said)).status == 200


def scraped(url: str, server: serving.Serve) -> None:
    """Wait until Prometheus has counted all that has ended."""
    total = "sum(turntape_stream_duration_seconds_count)"

    def is_so() -> bool:
        counted = prometheus.query(url, total)
        return counted.get(("",), 0) >= len(server.terminals())

    machinetime.until(is_so)


def configuration(*servers: serving.Serve) -> str:
    targets = [server.base.removeprefix("http://") for server in servers]
    return json.dumps(
        {
            "global": {
                "scrape_interval": "250ms",
                "scrape_timeout": "250ms",
                "evaluation_interval": "1s",
            },
            "rule_files": [str(known.RULES)],
            "scrape_configs": [{"job_name": "turntape", "static_configs": [{"targets": targets}]}],
        }
    )


def filled(query: str) -> str:
    """A query with Grafana's variables filled in."""
    query = query.replace("$__rate_interval", "2m").replace("$job", "turntape")
    for name in ("instance", "route", "model"):
        query = query.replace(f"${name}", ".*")
    assert "$" not in query
    return query


def numbers(url: str, query: str) -> list[float]:
    """The values of every series of an answer."""
    return [float(each["value"][1]) for each in prometheus.series(url, query)]


def test_each_panel_has_data(url: str) -> None:
    """Each query is read, and finds numbers, unless its metric is not counted yet."""
    empty = set()
    for title, query in known.drawn():
        values = numbers(url, filled(query))
        pending = any(name in query for name in known.PENDING)
        if not pending and not any(math.isfinite(value) for value in values):
            empty.add(title)
    assert empty <= NOT_IN_THE_LOAD


def test_each_query_of_the_runbook_can_be_asked(url: str) -> None:
    for query in known.of_runbook():
        prometheus.query(url, query)


def test_each_variable_has_values(url: str) -> None:
    dashboard = json.loads(known.DASHBOARD.read_text("utf-8"))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            series, _, label = variable["query"]["query"].partition("(")[2].rpartition(", ")
            found = prometheus.query(url, filled(series), label.rstrip(")"))
            assert found.keys() - {("",)}, variable["name"]


def test_each_rule_is_evaluated(url: str) -> None:
    def healths() -> set[str]:
        groups = prometheus.asked(url, "rules")["groups"]
        return {rule["health"] for group in groups for rule in group["rules"]}

    machinetime.until(lambda: healths() == {"ok"})
    for name in known.recorded():
        if "tool_buffer" not in name:  # ten blocks would have to begin
            machinetime.until(functools.partial(has_data, url, name))


def has_data(url: str, query: str) -> bool:
    """Whether a query finds anything."""
    return bool(prometheus.query(url, query))


def test_a_killed_process_fires_its_alert(url: str) -> None:
    firing = 'ALERTS{alertname="TurntapeWorkerRestarted", alertstate="firing"}'
    machinetime.until(lambda: has_data(url, firing))


def test_the_rules_file_is_the_one_of_the_page() -> None:
    assert Path(known.RULES).name in (known.DEPLOY / "prometheus.yml").read_text("utf-8")
