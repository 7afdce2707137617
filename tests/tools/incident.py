"""Plays an incident before a real Prometheus, for `docs/dry-runs.md`.

    python -m tests.tools.incident provider            # print what was seen
    python -m tests.tools.incident provider --write    # and put it on the page

A real server has some load, a real Prometheus has the rules of `docs/deploy` as they are, and
something happens. What is written down is what somebody on call would have seen, and when: the
first request that failed, the probe, the metric, the line, the alerts, and what the commands of
the runbook say. Each takes five to ten minutes, since the rules have their own times.
"""

import argparse
import contextlib
import datetime
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import standin
from server.version import VERSION
from tests.support.process import prometheus, serving
from tests.support.providers import scripted, upstreams
from tests.tools import failurepage, redraw

PAGE: Final = redraw.DOCS / "dry-runs.md"
DEPLOY: Final = redraw.DOCS / "deploy"

BEFORE_S: Final = 60.0
"""All is well for so long, that there are rates to compare with."""

PATIENCE_S: Final = 900.0
"""For so long an alert is waited for, and then its end."""

CHANGES: Final = 6
"""Changes of the probe that are written down one by one."""

CLIENTS: Final = 4

BETWEEN_S: Final = 1.0
"""From the end of a client's request to its next."""

WIDTH: Final = 96


class Happening(NamedTuple):
    """Something that goes wrong with a server, and right again.

    Attributes:
        server: the server, which answers well at first.
        begin: makes it go wrong, and keeps it so.
        end: makes it go right.
    """

    server: serving.Serve
    begin: Callable[[], None]
    end: Callable[[], None]


class Incident(NamedTuple):
    """What is played, and where to look.

    Attributes:
        what: the line of the transcript when it begins, and the one when it ends.
        alert: the one that must fire.
        event: of the diagnostics, what its first line is.
        look: queries of the runbook.
    """

    stage: Callable[[], contextlib.AbstractContextManager[Happening]]
    what: tuple[str, str]
    alert: str
    event: str
    look: tuple[str, ...]


@contextlib.contextmanager
def provider_out() -> Iterator[Happening]:
    """A server whose upstream resets every connection for a while."""
    is_out = threading.Event()

    def answer(request: scripted.Request) -> upstreams.Answer:
        return ["reset"] if is_out.is_set() else upstreams.PLAIN

    with upstreams.stage(answer, PROXY_EVENT_LOG="masked") as stage:
        yield Happening(stage.server, is_out.set, is_out.clear)


@contextlib.contextmanager
def process_stopped() -> Iterator[Happening]:
    """A server whose process is stopped, and so is each that takes its place."""
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent)
        program = standin.install(directory, standin.Scenario())
        with serving.running(CODEX_BIN=str(program)) as server:
            ended = threading.Event()
            stopped: list[int] = []

            def stop_all() -> None:
                while not ended.wait(0.1):
                    for pid in standin.starts(directory):
                        if pid not in stopped:
                            os.kill(pid, signal.SIGSTOP)
                            stopped.append(pid)

            thread = threading.Thread(target=stop_all, daemon=True)

            def go_on() -> None:
                ended.set()
                thread.join()
                for pid in stopped:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)

            yield Happening(server, thread.start, go_on)


INCIDENTS: Final = {
    "provider": Incident(
        provider_out,
        ("the provider resets every connection", "the provider answers again"),
        "TurntapeProviderOutage",
        "turn_failed",
        (
            "sum by (code) (rate(turntape_errors_total{fault='provider'}[5m]))",
            "sum by (kind) (increase(turntape_streams_total[5m]))",
        ),
    ),
    "stopped": Incident(
        process_stopped,
        (
            "SIGSTOP to the Codex process, and to each that takes its place",
            "no process is stopped any more",
        ),
        "TurntapeNotReady",
        "worker_state",
        (
            "sum by (worker, state) (turntape_worker_processes)",
            "sum by (worker) (increase(turntape_worker_restarts_total[10m]))",
        ),
    ),
}
"""What can be played, by name."""


class Transcript:
    """What was seen, each line with its seconds since the incident began."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.began_at = time.monotonic() + BEFORE_S

    def note(self, text: str) -> None:
        """Write a line down."""
        seconds = round(time.monotonic() - self.began_at)
        first, *more = textwrap.wrap(text, WIDTH - 9, break_on_hyphens=False)
        self._add(f"{seconds:+5d} s  {first}", *(f"         {line}" for line in more))

    def show(self, command: str, output: str) -> None:
        """Write down a command and what it printed."""
        self._add("", f"$ {command}", *output.strip().splitlines(), "")

    def _add(self, *lines: str) -> None:
        for line in lines:
            print(line, flush=True)
        self.lines += lines


class Load:
    """Clients that ask again and again until it is closed; each request has an id of its own."""

    def __init__(self, server: serving.Serve) -> None:
        self._server = server
        self._ended = threading.Event()
        self.answers: list[tuple[str, int, str]] = []
        self._numbers = itertools.count(1)
        self._model = server.get("/v1/models")[1]["data"][0]["id"]
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End it."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def failed(self) -> list[tuple[str, int, str]]:
        """Id, status and code of the requests that failed."""
        return [each for each in list(self.answers) if each[1] != 200]

    def _run(self) -> None:
        body = {"model": self._model, "messages": [{"role": "user", "content": "Hello"}]}
        while not self._ended.wait(BETWEEN_S):
            name = f"req-{next(self._numbers)}"
            status, answer = self._server.post(body, {"x-request-id": name})
            self.answers.append((name, status, answer.get("error", {}).get("code", "")))


class Watch:
    """What changes before the eyes of whoever looks."""

    def __init__(self, transcript: Transcript, server: serving.Serve, url: str) -> None:
        self._transcript = transcript
        self._server = server
        self._url = url
        self._probe: object = None
        self._changes = 0
        self._alerts: dict[str, str] = {}

    def look(self) -> dict[str, str]:
        """Note what is new; the states of all alerts that are not at rest."""
        status, body = self._server.get("/readyz")
        probe = f"{status} {json.dumps(body)}"
        if self._probe not in (None, probe):
            self._changes += 1
            if self._changes <= CHANGES:
                self._transcript.note(f"probe: /readyz {probe}")
            elif self._changes == CHANGES + 1:
                self._transcript.note("probe: and so on, back and forth")
        self._probe = probe
        alerts = {
            each["labels"]["alertname"]: each["state"]
            for each in prometheus.asked(self._url, "alerts")["alerts"]
        }
        for name in sorted(self._alerts.keys() | alerts.keys()):
            state = alerts.get(name, "over")
            if state != self._alerts.get(name, "over"):
                self._transcript.note(f"alert: {name} is {state}")
        self._alerts = alerts
        return alerts

    def until(self, is_so: Callable[[dict[str, str]], bool]) -> None:
        """Look once a second until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_so(self.look()):
            if time.monotonic() > deadline:
                raise TimeoutError(self._alerts)
            time.sleep(1)


def play(incident: Incident) -> Transcript:
    """Play an incident to its end."""
    with incident.stage() as happening, prometheus.running(configuration(happening)) as url:
        load = Load(happening.server)
        while prometheus.asked(url, "alerts")["alerts"]:  # that of before its first scrape
            time.sleep(1)
        transcript = Transcript()
        watch = Watch(transcript, happening.server, url)
        transcript.note(f"{CLIENTS} clients, a request a second each, all answered")
        watch.until(lambda _: time.monotonic() >= transcript.began_at)
        told = len(happening.server.lines)
        transcript.note(incident.what[0])
        happening.begin()
        watch.until(lambda _: bool(load.failed()))
        name, status, code = load.failed()[0]
        transcript.note(f"client: {name} is answered with {status} {code}")
        meanwhile = [
            line
            for line in list(happening.server.lines)[told:]
            if line.get("event") == incident.event
        ]
        transcript.note(f"line: {shown(meanwhile[0])}")
        watch.until(lambda alerts: alerts.get(incident.alert) == "firing")
        on_call(transcript, happening.server, url, incident.look, name)
        transcript.note(incident.what[1])
        happening.end()
        watch.until(lambda alerts: incident.alert not in alerts)
        load.close()
        transcript.note(
            f"{len(load.failed())} of {len(load.answers)} requests have failed; other alerts that"
            " look at the last 10 minutes end with these"
        )
    return transcript


def on_call(
    transcript: Transcript, server: serving.Serve, url: str, look: Sequence[str], name: str
) -> None:
    """What the steps of the runbook say now."""
    for query in look:
        rows = [
            f"{json.dumps(each['metric'])} {float(each['value'][1]):.2f}"
            for each in prometheus.series(url, query)
            if float(each["value"][1])
        ]
        transcript.show(query, "\n".join(rows))
    steps = serving.command("inspect", str(server.log_dir), "--request", name).stdout
    transcript.show(f"turntape inspect LOG --request {name}", trimmed(steps))
    select = "jq -c 'select(.event == \"request_ended\") | {req_id, status, kind, code}'"
    ended = [line for line in list(server.lines) if line.get("req_id") == name]
    members = ("req_id", "status", "kind", "code")
    rows = [
        json.dumps({member: line.get(member) for member in members})
        for line in ended
        if line["event"] == "request_ended"
    ]
    transcript.show(f"{select} | grep {name}", "\n".join(rows))


def configuration(happening: Happening) -> str:
    """`docs/deploy/prometheus.yml` for a server elsewhere, without a token and an Alertmanager."""
    text = (DEPLOY / "prometheus.yml").read_text("utf-8")
    text = re.sub(r"(?m)^alerting:\n(?: .*\n)+", "", text)
    text = re.sub(r"(?m)^ *(?:#.*|authorization:.*)\n", "", text)
    text = text.replace("turntape.rules.yml", str(DEPLOY / "turntape.rules.yml"))
    text = text.replace("scrape_interval: 15s", "scrape_interval: 5s")
    return text.replace("127.0.0.1:11435", happening.server.base.removeprefix("http://"))


def shown(line: dict[str, Any]) -> str:
    """A line of diagnostics without what is of this machine alone."""
    left_out = ("timestamp", "pid", "component", "stream", "detail")
    return json.dumps({name: value for name, value in line.items() if name not in left_out})


def trimmed(text: str) -> str:
    """An output without ids, and in the width of the page."""
    text = re.sub(r"\b(st|rj|chatcmpl)([_-])[0-9a-f]{24}\b", r"\1\2…", text)
    return "\n".join(line[:WIDTH].rstrip() for line in text.splitlines())


def page_of(transcript: Transcript) -> str:
    """The transcript as it stands on the page."""
    day = datetime.datetime.now(datetime.UTC).date()
    found = subprocess.run(("prometheus", "--version"), capture_output=True, text=True, check=True)
    version = (found.stdout + found.stderr).split()[2].partition("+")[0]
    head = f"Played on {day} with Turntape {VERSION} and Prometheus {version}, scraped every 5 s."
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(transcript.lines)).strip("\n")
    return f"{head}\n\n```text\n{body}\n```\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what was named."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.incident", description=__doc__)
    parser.add_argument("name", choices=INCIDENTS)
    parser.add_argument("--write", action="store_true", help="put it on the page")
    options = parser.parse_args(arguments)
    played = page_of(play(INCIDENTS[options.name]))
    if options.write:
        before = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(failurepage.put(before, {options.name: played}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
