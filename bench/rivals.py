"""Two servers side by side on the same chunks: ours on a stand-in for Codex, and the relay."""

import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import uvloop

from bench import load, standin
from tests.support.process import serving


class Case(NamedTuple):
    """The request that both are sent.

    Attributes:
        turn: how each stream goes.
        work: what the relay does with an event: see `bench.relay`.
    """

    streams: int
    turn: standin.Turn
    work: str = "chunks"


class Rival(NamedTuple):
    """A server under load."""

    url: str
    pid: int


class Round(NamedTuple):
    """The measurements of one round."""

    ours: load.Report
    theirs: load.Report

    @property
    def cpu_ratio(self) -> float:
        """Our CPU time a chunk, as a part of theirs."""
        assert self.ours.cpu_us is not None
        assert self.theirs.cpu_us is not None
        return self.ours.cpu_us / self.theirs.cpu_us


@contextlib.contextmanager
def running(module: str, *arguments: str) -> Iterator[Rival]:
    """A program of this package that prints its address."""
    with subprocess.Popen(
        (sys.executable, "-m", f"bench.{module}", *arguments),
        cwd=serving.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield Rival(process.stdout.readline().strip(), process.pid)
        finally:
            process.kill()


@contextlib.contextmanager
def turntape(case: Case) -> Iterator[Rival]:
    """Our server, as it is by default but for the number of streams, on a stand-in for Codex."""
    with tempfile.TemporaryDirectory() as directory:
        program = standin.install(Path(directory), standin.Scenario(turn=case.turn))
        with serving.running(
            CODEX_BIN=str(program), WORKER_MAX_CONCURRENCY=str(case.streams)
        ) as server:
            yield Rival(server.url, server.process.pid)


@contextlib.contextmanager
def relay(case: Case) -> Iterator[Rival]:
    """The relay on its source."""
    with (
        running("source", msgspec.json.encode(case.turn).decode()) as source,
        running("relay", source.url, case.work) as rival,
    ):
        yield rival


def ask(rival: Rival, streams: int, requests: int = 1, endpoint: str = "chat") -> load.Report:
    """Load one of them; every answer must be whole."""
    plan = load.Plan(
        url=rival.url,
        streams=streams,
        requests=requests,
        endpoint=endpoint,
        pids=(rival.pid,),
    )
    report = uvloop.run(load.run(plan))
    assert report.outcomes == {"done": streams * requests}, report.outcomes
    return report


def rounds(case: Case, count: int) -> Iterator[Round]:
    """Load both in turn; a round before the first warms them."""
    with turntape(case) as ours, relay(case) as theirs:
        for number in range(count + 1):
            measured = Round(ask(ours, case.streams), ask(theirs, case.streams))
            if number:
                yield measured


def median(measured: list[Round], of: Callable[[Round], float]) -> float:
    """The median round's value of something."""
    return statistics.median(map(of, measured))
