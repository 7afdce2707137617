"""Rows 51 to 55 of the fault matrix, whatever the worker: a damaged log, one of a later version,
diagnostics that nobody reads, signals, a clock that jumps.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from engine.log.read import segments
from tests.faults import expected, observed, places, watched
from tests.faults.places import Place
from tests.support.client import httpclient
from tests.support.logs import damage, logs, serverlog
from tests.support.process import machinetime, serving

HOUR_S: Final = 3600

STOPPING: Final = expected.error("server_shutdown", "The server is stopping.")

DAMAGES: Final = (
    "segment: a bit flipped",
    "last segment: a stream gone",
    "two segments swapped",
    "segment: emptied",
    "chain: cut at a line's end",
)
"""Some of the kinds of `tests.support.logs.damage`, which has many more."""


def each(name: str, values: Any) -> pytest.MarkDecorator:
    """A test of each."""
    return pytest.mark.parametrize(name, values)


# 51 and 52: what a log holds.


class Logs:
    """Logs of a server's that nobody has written to since.

    Attributes:
        clean: of two servers that were stopped.
        killed: the same, and one more that was killed.
    """

    def __init__(self, place: Place, directory: Path) -> None:
        self.clean, self.killed = directory / "clean", directory / "killed"
        for _ in range(2):
            with place.started(self.clean) as server:
                for _ in range(2):
                    places.ask(server)
                assert server.stop() == 0
        shutil.copytree(self.clean, self.killed)
        with place.started(self.killed) as server:
            answer = places.ask(server)
            machinetime.until(lambda: serverlog.has_ended(server, answer.request_id))
            server.stop(signal.SIGKILL)

    def copy_of_clean(self, directory: Path) -> Path:
        """A directory for the data of a server that has the one."""
        return shutil.copytree(self.clean, directory / "data")

    def copy_of_killed(self, directory: Path) -> Path:
        """And the other."""
        return shutil.copytree(self.killed, directory / "data")


def check_damage(place: Place, data_dir: Path, kind: str) -> None:
    """A damaged log is found and located; the next server serves, whatever it notices of it."""
    log_dir = data_dir / "log"
    before = damage.read_files(log_dir)
    files = dict(before)
    while files == before:
        damage.damages()[kind](random.Random(7), files)
    damage.write_files(log_dir, files, before)
    check_corrupt(log_dir)
    with place.started(data_dir) as server:
        with place.held(server):
            answers = [places.ask(server) for _ in range(2)]
        assert server.stop() == 0
        ours = [line for line in server.lines if line["event"] != "worker_stderr"]
        errors = {line["event"] for line in ours if line["severity"] == "error"}
        assert errors <= {"event_log_corrupt"}
    check_corrupt(log_dir)
    listed = serving.command("log", str(log_dir), "--json").stdout.splitlines()
    for answer in answers:
        (of_it,) = (line for line in listed if answer.request_id in line)
        assert json.loads(of_it)["kind"] == "completed"


def check_corrupt(log_dir: Path) -> None:
    """`replay` says of a damaged log where it is, up to the first place that it cannot pass."""
    done = serving.command("replay", str(log_dir))
    assert done.returncode == 2, done.stdout
    reading = segments.read(log_dir)
    for _ in reading:
        pass
    problems = [str(problem) for problem in reading.problems if problem.kind == "corrupt"]
    lines = done.stdout.splitlines()
    found = [line for line in lines if line in problems]
    assert found == problems[: len(found)] != []
    assert lines[-1].startswith(f"corrupt: {len(found)} problem")


LATER: Final[dict[str, tuple[int, logs.Change]]] = {
    "a record": (2, lambda record: record.update(event="text_inverted")),
    "a member": (2, lambda record: record.update(tone="warm")),
    "a stream": (1, lambda record: record.update(schema=99)),
}
"""What a later version may have written, by the line of the segment."""


def check_later(place: Place, data_dir: Path, name: str) -> None:
    """What a later version wrote is said, skipped and counted, and nothing fails for it."""
    log_dir = data_dir / "log"
    last = segments.list_segments(log_dir)[-1].path
    logs.rewrite(last, *LATER[name])
    check_counted(log_dir)
    with place.started(data_dir) as server:
        told = places.told(server, "event_log_later_version")
        assert [line["severity"] for line in told] == ["warning"] * len(told)
        assert len(told) == (0 if name == "a member" else 1)  # a start looks into no text
        with place.held(server):
            answer = places.ask(server)
        serverlog.audit(server)
        places.in_log(server, "completed", answer)
    check_counted(log_dir)


def check_counted(log_dir: Path) -> None:
    """`replay` and `inspect` go on, and say what they did not know."""
    replayed = serving.command("replay", str(log_dir))
    assert replayed.returncode == 0, replayed.stdout
    assert "1 written by a later version: not compared" in replayed.stdout
    inspected = serving.command("inspect", str(log_dir))
    assert inspected.returncode == 0, inspected.stdout
    assert inspected.stdout.startswith("ended ")


# 53: diagnostics.


@contextlib.contextmanager
def unread(place: Place, data_dir: Path) -> Iterator[watched.UnreadServe]:
    """A server that has dropped some of what it had to say, while streams are open."""
    few = {"server.lineoutput.MAX_WAITING": 2000}
    settings = place.settings(**{observed.CONSTANTS: json.dumps(few)})
    server = watched.UnreadServe(data_dir, place.arguments, settings)
    try:
        server.wait_ready()
        with place.held(server):

            def drops() -> bool:
                places.ask(server)
                return "diagnostics_dropped" in server.get("/healthz")[1]

            machinetime.until(drops)
            yield server
            dropped = server.get("/healthz")[1]["diagnostics_dropped"]
            answer = places.ask(server)
            assert server.get("/healthz")[1]["diagnostics_dropped"] >= dropped
        assert server.stop() == 0
        assert server.replay().returncode == 0
        places.in_log(server, "completed", answer)
    finally:
        server.stop(signal.SIGKILL)


def check_unread(place: Place, data_dir: Path) -> None:
    """Nobody reads them: what was dropped is said to who reads on."""
    with unread(place, data_dir) as server:
        server.read_on()
        machinetime.until(lambda: bool(places.told(server, "diagnostics_dropped")))
        (line,) = places.told(server, "diagnostics_dropped")
        assert 0 < line["lines"] <= server.get("/healthz")[1]["diagnostics_dropped"]


def check_closed(place: Place, data_dir: Path) -> None:
    """Nobody ever will."""
    with unread(place, data_dir) as server:
        before = server.get("/healthz")[1]["diagnostics_dropped"]
        server.close()

        def drops_on() -> bool:
            places.ask(server)
            return bool(server.get("/healthz")[1]["diagnostics_dropped"] > before)

        machinetime.until(drops_on)


# 54: signals.


STARTS: Final = (
    "engine.log.event_log.EventLog.open",
    "server.http.listener.HttpServer.bind",
    "server.http.listener.HttpServer.serve",
    "server.cli.serve._announce",
)
"""Moments of a start, beside the worker's own."""


def check_start(place: Place, data_dir: Path, moment: str) -> None:
    """A signal at a moment of the start is a clean end."""
    program = sys.executable, "-m", "tests.support.process.planted"
    plants = {moment: int(signal.SIGTERM)}
    settings = place.settings(PROXY_DATA_DIR=str(data_dir), PATH=os.environ["PATH"])
    done = subprocess.run(
        (*program, json.dumps(plants), "serve", "--port", "0", *place.arguments),
        cwd=serving.ROOT,
        env=settings,
        capture_output=True,
        text=True,
        timeout=httpclient.WAIT_S,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 0, lines
    assert lines[-1]["event"] == "stopped"
    assert {line["severity"] for line in lines} <= {"info", "warning"}
    spawned = [line["pid"] for line in lines if line.get("trigger") == "spawned"]
    assert not any(map(serving.is_alive, spawned))
    assert serving.command("replay", str(data_dir / "log")).returncode == 0


def check_stop(place: Place, data_dir: Path) -> None:
    """Further signals at every moment of a stop under open streams: each has its one clean end."""
    moments = {
        "server.http.listener.HttpServer.drain": signal.SIGINT,
        place.stops: signal.SIGTERM,
        "engine.log.event_log.EventLog.close": signal.SIGINT,
        "server.diagnostics.flush": signal.SIGTERM,
        "server.program._end": signal.SIGINT,
    }
    environ = {
        observed.SIGNALS: json.dumps({name: int(each) for name, each in moments.items()}),
        "PROXY_DRAIN_TIMEOUT_MS": "600000",
    }
    with place.started(data_dir, **environ) as server, place.open(server) as live:
        server.process.send_signal(signal.SIGTERM)
        for asked in live:
            answer = asked.answer()
            assert (answer.status, answer.whole) == (200, True)
            assert answer.body == places.SO_FAR + STOPPING
        serverlog.audit(server)
        places.in_log(server, "shutdown", *live)
        assert server.lines[-1]["event"] == "stopped"


# 55: clocks.


def check_jumps(place: Place, data_dir: Path) -> None:
    """A wall clock that jumps on and back: no stream fails, and records stay in their order."""
    jumps = (HOUR_S, -2 * HOUR_S, HOUR_S)
    with place.started(data_dir, **{observed.JUMPS: json.dumps(jumps)}) as server:
        answers = []
        with place.held(server) as live:
            for seconds in jumps:
                server.jump(seconds)
                answers.append(places.ask(server))
        serverlog.audit(server)
        places.in_log(server, "completed", *live, *answers)
        times = [record["t"] for record in server.records()]
        assert times == sorted(times)
        assert times[-1] - times[0] < HOUR_S * 1_000_000


def check_deadline(place: Place, data_dir: Path) -> None:
    """A clock that is set back keeps no deadline from running out."""
    environ = {
        observed.JUMPS: json.dumps([-HOUR_S]),
        "PROXY_STREAM_IDLE_TIMEOUT_MS": "1000",
    }
    with place.started(data_dir, **environ) as server, place.open(server) as live:
        server.jump(-HOUR_S)
        for asked in live:
            assert asked.answer().body == places.SO_FAR + expected.error(
                "idle_timeout", "The model stopped sending output before its answer was complete."
            )
        serverlog.audit(server)
        places.in_log(server, "timeout", *live)
