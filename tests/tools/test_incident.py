"""Transcripts of incidents: what is written down, and the page that has them."""

import json
import re

import pytest

from tests.support.process import prometheus, serving
from tests.tools import incident

PAGE = incident.PAGE.read_text("utf-8")


def test_the_page_has_every_incident() -> None:
    assert re.findall(r"<!-- played: (\w+) -->", PAGE) == list(incident.INCIDENTS)


@pytest.mark.parametrize("name", incident.INCIDENTS)
def test_the_alert_fired_on_the_page_and_ended(name: str) -> None:
    played = PAGE.partition(f"<!-- played: {name} -->")[2].partition("<!-- end played -->")[0]
    alert = incident.INCIDENTS[name].alert
    first, last = (played.index(f"alert: {alert} is {state}\n") for state in ("firing", "over"))
    assert first < last
    for query in incident.INCIDENTS[name].look:
        assert f"$ {query}\n" in played


def test_nothing_of_the_machine_is_on_the_page() -> None:
    assert not re.search(r"/(?:tmp|home|root|var|usr)/|127\.0\.0\.1:\d{5}", PAGE)


def test_a_line_is_shown_without_what_is_of_one_machine() -> None:
    line = {"timestamp": "now", "pid": 4711, "event": "worker_state", "worker_state": "failed"}
    assert json.loads(incident.shown(line)) == {"event": "worker_state", "worker_state": "failed"}


def test_long_notes_are_folded_under_their_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    transcript = incident.Transcript()
    transcript.note("word " * 40)
    capsys.readouterr()
    assert transcript.lines[0].startswith("  -60 s  word")
    assert all(len(line) <= incident.WIDTH for line in transcript.lines)
    assert {line[:9] for line in transcript.lines[1:]} == {" " * 9}


@pytest.mark.prometheus
@pytest.mark.skipif(prometheus.PROGRAM is None, reason="needs Debian's prometheus on PATH")
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    with serving.running("--worker", "scripted") as server:
        happening = incident.Happening(server, print, print)
        with prometheus.running(incident.configuration(happening)) as url:
            groups = prometheus.asked(url, "rules")["groups"]
    assert sum(len(group["rules"]) for group in groups) > 30
