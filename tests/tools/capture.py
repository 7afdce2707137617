"""Captures `transcripts/` again from real servers: `python -m tests.tools.capture [NAME…]`.

Every scenario is one request: to a server on the real Codex binary, whose model provider is on
loopback, or to a server in front of an upstream on loopback. What it logs goes through
`tests.tools.normalise`, so that two captures of the same behaviour are the same files. Without
`--write` they are only compared with those on file.
"""

import argparse
import difflib
import itertools
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.log import replay
from engine.log.content.digest import BodyDigest
from engine.log.read import segments
from machines import events
from server.renderers import reply
from tests.support.client import httpclient
from tests.support.process import serving
from tests.support.providers import upstreams
from tests.support.providers.provider import Provider
from tests.support.providers.replies import Answer, Held
from tests.support.providers.scripted import Gate
from tests.tools import responsesscenes, scenarios, upstreamscenes
from tests.tools.normalise import Changed, Transcript, transcript
from tests.tools.scenarios import REQUIRED, Cue, Logged, Scenario

DIRECTORY: Final = serving.ROOT / "transcripts"

SUFFIXES: Final = Transcript.__struct_fields__

WAIT_S: Final = 20.0
"""How long a turn may take to begin, and an answer to go on."""

CONTEXT_LINES: Final = 2
"""Unchanged lines shown around a change."""


class Broken(Exception):
    """Raised for a capture whose own log does not bear it out."""


class Played(NamedTuple):
    """Scenarios that were played, by name.

    Attributes:
        bodies: what each client got.
        streams: the records of each.
    """

    bodies: dict[str, bytes]
    streams: dict[str, list[segments.Record]]


class Stage:
    """A server on the real binary, and what the provider behind it is going to answer."""

    def __init__(self, server: serving.Serve, answers: deque[Answer]) -> None:
        self._server = server
        self._answers = answers
        self._begun = 0

    def play(self, name: str, scenario: Scenario) -> bytes:
        """The body that the client gets, as far as it stays."""
        self._server.wait_ready()
        gates = [Gate() for _ in scenario.answers]
        held = zip(gates, scenario.answers, strict=True)
        self._answers.extend(Held(gate, answer) for gate, answer in held)
        self._begun = len(self._log())
        headers = {**scenario.headers, "x-request-id": name}
        path = f"/{scenario.endpoint.replace('.', '/')}"
        url, body = self._server.url, request_body(scenario)
        with httpclient.begin(url, "POST", path, body, headers) as exchange:
            together = scenario.options.get("n", 1)
            for number, gate in enumerate(gates, start=1):
                self._wait_for_turns(max(number, together))
                gate.open()
            if 0 in scenario.cues:
                self._act(scenario.cues[0])
            return b"".join(self._lines(exchange, scenario.cues))

    def _lines(self, exchange: httpclient.Exchange, cues: Mapping[int, Cue]) -> Iterator[bytes]:
        frames = 0
        for line in exchange.lines():
            yield line
            frames += line.startswith(b"data: ")
            cue = cues.get(frames) if line == b"\n" else None
            if cue is not None and self._act(cue):
                return

    def _act(self, cue: Cue) -> bool:
        """Do what a cue says; whether the client leaves."""
        if isinstance(cue, Logged):
            text = cue.text.encode()
            self._wait(lambda: text in self._log()[self._begun :], f"{cue.text} is not logged")
            cue = cue.act
        if cue == "kill":
            self._kill_codex()
        elif isinstance(cue, Gate):
            cue.open()
        return cue == "leave"

    def _kill_codex(self) -> None:
        spawned = [line for line in self._server.lines if line.get("trigger") == "spawned"]
        os.kill(spawned[-1]["pid"], signal.SIGKILL)

    def _wait(self, is_so: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not is_so():
            if time.monotonic() > deadline:
                raise Broken(f"{otherwise} after {WAIT_S} s")
            threading.Event().wait(0.002)

    def _wait_for_turns(self, count: int) -> None:
        """Wait until the log says that they have started: what comes next comes after."""
        self._wait(lambda: self._turns_started() >= count, "a turn has not started")

    def _turns_started(self) -> int:
        return self._log()[self._begun :].count(b'"event":"turn_started"')

    def _log(self) -> bytes:
        return b"".join(map(Path.read_bytes, sorted(self._server.log_dir.glob("events-*.jsonl"))))


def all_scenarios() -> dict[str, Scenario | upstreamscenes.Scenario]:
    """Every scenario by its name."""
    return {**scenarios.make(), **responsesscenes.make(), **upstreamscenes.make()}


def request_body(scenario: Scenario | upstreamscenes.Scenario) -> dict[str, Any]:
    """What the client of a scenario asks."""
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": scenario.prompt}]}
    if isinstance(scenario, Scenario) and scenario.endpoint == events.RESPONSES:
        asked = {"input": scenario.prompt}
    return {"model": scenario.model, **asked, "stream": True, **scenario.options}


def capture(names: Iterable[str]) -> dict[str, Transcript]:
    """Scenarios by name, as the installed binary plays them, and the upstreams.

    Raises:
        Broken: the log of a stream does not replay, or is not what its client got.
        Changed: normalising a stream would change it.
    """
    everything = all_scenarios()
    wanted = {name: everything[name] for name in names}
    on_codex = {name: each for name, each in wanted.items() if isinstance(each, Scenario)}
    others = {
        name: each for name, each in wanted.items() if isinstance(each, upstreamscenes.Scenario)
    }
    streams: dict[str, list[segments.Record]] = {}
    for played in (_play_on_codex(on_codex), _play_on_upstream(others)):
        for name, body in played.bodies.items():
            _check(name, played.streams[name], body)
        streams |= played.streams
    return {
        name: transcript(name, streams[name], scenario.pace_ms)
        for name, scenario in wanted.items()
    }


def _play_on_codex(wanted: Mapping[str, Scenario]) -> Played:
    if not wanted:
        return Played({}, {})
    answers: deque[Answer] = deque()
    with Provider(lambda _: answers.popleft()) as provider, serving.codex(provider.url) as server:
        stage = Stage(server, answers)
        bodies = {name: stage.play(name, scenario) for name, scenario in wanted.items()}
        server.stop()
        return Played(bodies, _streams(server.log_dir))


def _play_on_upstream(wanted: Mapping[str, upstreamscenes.Scenario]) -> Played:
    if not wanted:
        return Played({}, {})
    answers: deque[upstreams.Answer] = deque()
    with upstreams.stage(lambda _: answers.popleft()) as stage:
        bodies = {}
        for name, scenario in wanted.items():
            answers.append(scenario.answer)
            bodies[name] = httpclient.ask(
                stage.server.url,
                "POST",
                "/chat/completions",
                request_body(scenario),
                {"x-request-id": name},
            ).body
        stage.server.stop()
        return Played(bodies, _streams(stage.server.log_dir))


def _streams(directory: Path) -> dict[str, list[segments.Record]]:
    """The records of each request, and a replay of them all."""
    run = replay.Replay(reply)
    run.run(segments.read(directory))
    if run.divergence is not None:
        raise Broken(f"{run.divergence.request_id}: its log diverges: {run.divergence.rows[-1]}")
    requests: dict[str, list[segments.Record]] = {}
    streams: dict[str, list[segments.Record]] = {}
    for record in segments.read(directory):
        event = record.load()
        if isinstance(event, events.Opened):
            requests[event.request_id] = streams[record.stream] = []
        if record.stream in streams:
            streams[record.stream].append(record)
    return requests


def _check(name: str, records: list[segments.Record], body: bytes) -> None:
    """Whether the client got the bytes that the log stands for."""
    opened, terminal = records[0].load(), records[-1].load()
    assert isinstance(opened, events.Opened)
    assert isinstance(terminal, events.Terminal)
    digest = BodyDigest(bytes.fromhex(opened.hash_key or ""))
    digest.update(body)
    if terminal.kind != "client_gone" and digest.hexdigest() != terminal.body_hash:
        raise Broken(f"{name}: the client got other bytes than the log stands for")


def difference(name: str, captured: Transcript, directory: Path) -> list[str]:
    """Lines that show where a capture is not as on file, none where it is.

    The versions in the first record are the capture's own, and are no difference.
    """
    lines: list[str] = []
    for suffix in SUFFIXES:
        path = directory / f"{name}.{suffix}"
        if not path.exists():
            lines.append(f"missing: {path.name}")
            continue
        lines += difflib.unified_diff(
            _view(suffix, path.read_bytes()),
            _view(suffix, getattr(captured, suffix)),
            f"{path.name} on file",
            f"{path.name} captured",
            n=CONTEXT_LINES,
            lineterm="",
        )
    return lines


def _view(suffix: str, data: bytes) -> list[str]:
    """A file as lines for people: of a record, neither its place nor its seal."""
    lines = data.decode().split("\n")
    if suffix != "jsonl":
        return lines
    records = [json.loads(line) for line in lines if line]
    for record in records:
        for member in ("stream", "seq", "seg", "versions", "crc"):
            record.pop(member, None)
    return [json.dumps(record, ensure_ascii=False) for record in records]


def missing(directory: Path) -> list[str]:
    """A line for each required file that is not there."""
    files = (f"{name}.{suffix}" for name in REQUIRED for suffix in SUFFIXES)
    return [f"missing: {file}" for file in files if not (directory / file).exists()]


def store(name: str, captured: Transcript, directory: Path) -> None:
    """Put a transcript on file."""
    directory.mkdir(parents=True, exist_ok=True)
    for suffix in SUFFIXES:
        (directory / f"{name}.{suffix}").write_bytes(getattr(captured, suffix))


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where everything is on file as it was captured, or was written; else 1."""
    options = _parser().parse_args(arguments)
    everything = all_scenarios()
    names = options.names or list(everything)
    unknown = [name for name in (*names, *REQUIRED) if name not in everything]
    if unknown:
        _say([f"missing: a scenario {name}" for name in unknown])
        return 1
    try:
        captured = capture(names)
    except (Broken, Changed) as error:
        _say([f"no capture: {error}"])
        return 1
    changes = {name: difference(name, captured[name], options.directory) for name in names}
    report = [f"{name}: {'CHANGED' if lines else 'the same'}" for name, lines in changes.items()]
    report += itertools.chain.from_iterable(changes.values())
    if options.artifacts is not None:
        keep(captured, options.directory, options.artifacts)
    if options.write:
        for name in names:
            store(name, captured[name], options.directory)
        changes.clear()
    absent = missing(options.directory)
    report += [line for line in absent if line not in report]
    _say(report)
    if options.artifacts is not None:
        (options.artifacts / "report.txt").write_text("\n".join(report) + "\n", "utf-8")
    return 1 if absent or any(changes.values()) else 0


def keep(captured: Mapping[str, Transcript], expected: Path, artifacts: Path) -> None:
    """Keep both sides of the comparison, for whoever looks into it later."""
    (artifacts / "expected").mkdir(parents=True, exist_ok=True)
    for name, each in captured.items():
        store(name, each, artifacts / "captured")
        for path in expected.glob(f"{name}.*"):
            shutil.copy(path, artifacts / "expected")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.capture", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios; all of them without")
    parser.add_argument("--write", action="store_true", help="put what was captured on file")
    parser.add_argument("--artifacts", type=Path, help="where to keep both sides and the report")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="the corpus")
    return parser


def _say(lines: Iterable[str]) -> None:
    sys.stdout.writelines(line + "\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
