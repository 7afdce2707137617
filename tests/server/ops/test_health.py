"""What `/healthz` tells, and what it does not."""

import json

from tests.server.plain import ask
from tests.support.process import machinetime, serving


def test_health_tells_no_pids_and_no_paths(keyless: serving.Serve) -> None:
    body = ask(keyless, "GET", "/healthz").body
    assert json.loads(body)["worker"] == {"kind": "scripted", "state": "ready"}
    assert "account" not in json.loads(body)
    assert str(keyless.process.pid).encode() not in body
    assert b"/" not in body


def test_health_tells_how_late_the_loop_is(keyless: serving.Serve) -> None:
    lag = json.loads(ask(keyless, "GET", "/healthz").body)["loop_lag_ms"]
    assert set(lag) == {"p99", "max"}
    assert 0 <= lag["p99"] <= lag["max"]
    machinetime.until(lambda: health_lag(keyless) > 0)


def test_health_tells_of_the_store(keyless: serving.Serve) -> None:
    store = json.loads(ask(keyless, "GET", "/healthz").body)["store"]
    assert store == {"state": "working", "failures": 0, "files_lost": 0}
    with serving.running("--worker", "scripted", PROXY_STORE="off") as server:
        assert server.get("/healthz")[1]["store"] == {"state": "off"}


def health_lag(server: serving.Serve) -> float:
    return float(server.get("/healthz")[1]["loop_lag_ms"]["max"])
