"""Performance guards: each holds a ratio, measured here and now, against `budgets.toml`.

    python -m pytest bench/test_guards.py -m guard

A ratio is to work that every machine knows, done beside ours in turns so short that a busy machine
is busy for both. Other work can only add to what is measured, never take from it: what counts is
the best of what was seen, and a measurement over its budget is taken again before it is believed.
"""

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import uvloop

from bench import budgets, load, rivals, standin, yardstick
from tests.support.process import serving

pytestmark = pytest.mark.guard

BUDGETS = budgets.load()

BURSTS = 600
"""Samples of the token path in bursts; each has some hundred tokens."""

WAKE_UPS = 4000
"""Samples of the token path with one token a wake-up."""

SERVER_ROUNDS = 15
"""Rounds of a guard between processes."""

PACED_ROUNDS = 5
"""Rounds of a guard between processes whose rounds last for seconds."""

ENDPOINT_ROUNDS = 60
"""Rounds of a guard between two endpoints of one server: short ones, so that both see the same
load."""

STARTS = 5
"""Starts that a guard of the start measures."""

LIBRARIES = (
    "asyncio",
    "h11",
    "msgspec",
    "prometheus_client",
    "statemachine",
    "structlog",
    "uvloop",
)
"""The libraries of a server: their import is long enough to be measured, unlike the interpreter's
own start of 15 ms."""

PLANTED = 0.3
"""The slowdown of the token path that must be noticed, on an idle and on a busy machine."""


def burst_ratio(directory: Path, slowdown: float = 0.0) -> float:
    """Measure the cost of wake-ups with many tokens, as a part of the yardsticks right after them.

    They take a millisecond, so that on a busy machine only some of them are left alone. Those
    count: the samples that were quickest, wake-up and yardstick together.
    """
    samples = uvloop.run(yardstick.samples(directory, 8, 32, BURSTS, slowdown))
    quickest = sorted(samples, key=sum)[: BURSTS // 20]
    ours, least = map(sum, zip(*quickest, strict=True))
    return ours / least


def alone_ratio(directory: Path, slowdown: float = 0.0) -> float:
    """Measure the cost of a wake-up with one token, as a part of the yardstick right after it.

    They take some 20 microseconds, so that most of them are left alone on any machine.
    """
    samples = uvloop.run(yardstick.samples(directory, 1, 1, WAKE_UPS, slowdown))
    return statistics.median(sample.path / sample.yardstick for sample in samples)


def test_a_token_in_a_burst_costs_less_than_the_yardstick(
    tmp_path: Path, say: budgets.Say
) -> None:
    budget = BUDGETS["token"]["burst"]
    ratio = budgets.lowest(lambda: burst_ratio(tmp_path), budget)
    say(f"token path in bursts: {ratio:.3f} of the yardstick")
    assert ratio <= budget


def test_a_token_alone_costs_little_more_than_the_yardstick(
    tmp_path: Path, say: budgets.Say
) -> None:
    budget = BUDGETS["token"]["alone"]
    ratio = budgets.lowest(lambda: alone_ratio(tmp_path), budget)
    say(f"token path, one a wake-up: {ratio:.3f} of the yardstick")
    assert ratio <= budget


@pytest.mark.parametrize(
    ("measure", "name"), [(burst_ratio, "burst"), (alone_ratio, "alone")], ids=["burst", "alone"]
)
def test_a_slowdown_of_the_token_path_is_noticed(
    tmp_path: Path, say: budgets.Say, measure: Callable[[Path, float], float], name: str
) -> None:
    budget = BUDGETS["token"][name]
    ratio = budgets.lowest(lambda: measure(tmp_path, PLANTED), budget)
    say(f"token path, {name}, slowed down by {PLANTED:.0%}: {ratio:.3f} of the yardstick")
    assert ratio > budget


def test_a_token_is_hardly_later_than_through_a_bare_copy(say: budgets.Say) -> None:
    case = rivals.Case(1, standin.Turn(deltas=100, interval=0.002, stamped=True))
    plan = msgspec.json.encode(case.turn).decode()

    def measure() -> float:
        added, copied = [], []
        for _ in range(SERVER_ROUNDS):
            added.append(rivals.ask(ours, case.streams).latency_ms["p50"])
            copied.append(rivals.ask(bare, case.streams).latency_ms["p50"])
        return min(added) / min(copied)

    budget = BUDGETS["latency"]["line_to_byte"]
    with rivals.turntape(case) as ours, rivals.running("echo", plan) as bare:
        ratio = budgets.lowest(measure, budget)
    say(f"worker line to client byte: {ratio:.2f} of a copy from pipe to socket")
    assert ratio <= budget


def relay_ratio(case: rivals.Case, rounds: int, say: budgets.Say) -> float:
    """The least CPU time a chunk of all rounds, as a part of the relay's least."""
    measured = list(rivals.rounds(case, rounds))
    ours = min(each.ours.cpu_us or 0 for each in measured)
    theirs = min(each.theirs.cpu_us or 0 for each in measured)
    say(f"{ours:.2f} µs of CPU time a chunk, {ours / theirs:.3f} of the relay's")
    return ours / theirs


def test_a_flood_costs_a_fraction_of_the_relay(say: budgets.Say) -> None:
    case = rivals.Case(16, standin.Turn(deltas=1000))
    assert relay_ratio(case, SERVER_ROUNDS, say) <= BUDGETS["relay"]["flood"]


def test_paced_streams_cost_a_part_of_the_relay(say: budgets.Say) -> None:
    # System calls rule here, and how many chunks a wake-up gathers.
    case = rivals.Case(64, standin.Turn(deltas=100, interval=0.02))
    assert relay_ratio(case, PACED_ROUNDS, say) <= BUDGETS["relay"]["paced_64"]


def test_the_first_token_is_as_soon_on_responses_as_on_chat(say: budgets.Say) -> None:
    # Paced, as a model is.
    case = rivals.Case(1, standin.Turn(deltas=3, interval=0.002))
    with rivals.turntape(case) as ours:

        def measure() -> float:
            waits: dict[str, list[float]] = {"chat": [], "responses": []}
            for number in range(ENDPOINT_ROUNDS):
                for endpoint in sorted(waits, reverse=number % 2 == 0):
                    report = rivals.ask(ours, case.streams, 5, endpoint)
                    waits[endpoint].append(report.ttft_ms["p50"])
            return min(waits["responses"]) / min(waits["chat"])

        budget = BUDGETS["latency"]["responses_ttft"]
        ratio = budgets.lowest(measure, budget)
    say(f"first token on Responses: {ratio:.2f} of chat's")
    assert ratio <= budget


class Start(NamedTuple):
    """CPU seconds until a process has done what it was started for, and its memory then."""

    cpu: float
    rss_mib: float


def start_of_server(data_dir: Path) -> Start:
    """A server on the scripted worker: ready."""
    server = serving.Serve(data_dir, ("--worker", "scripted"), {})
    try:
        while server.get("/readyz")[0] != 200:
            assert server.process.poll() is None, server.lines
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return Start(load.cpu_seconds([server.process.pid]), rss_mib(status))
    finally:
        server.stop()


def start_of_python(*libraries: str) -> Start:
    """The interpreter with some libraries, which says nothing but its own memory: done."""
    say_itself = "import time; print(time.process_time()); print(open('/proc/self/status').read())"
    imports = "".join(f"import {library}\n" for library in libraries)
    program = (sys.executable, "-c", imports + say_itself)
    said = subprocess.run(program, capture_output=True, text=True)
    return Start(float(said.stdout.splitlines()[0]), rss_mib(said.stdout))


def rss_mib(status: str) -> float:
    """The resident memory in a process's `status`."""
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kib) / 1024


def test_a_start_is_quick_and_small(tmp_path: Path, say: budgets.Say) -> None:
    limits = BUDGETS["start"]
    ours: list[Start] = []

    def measure() -> float:
        starts = [(start_of_server(tmp_path), start_of_python(*LIBRARIES)) for _ in range(STARTS)]
        ours.extend(server for server, _ in starts)
        return min(one.cpu for one, _ in starts) / min(other.cpu for _, other in starts)

    ratio = budgets.lowest(measure, limits["ready_ratio"])
    rss, smallest = min(each.rss_mib for each in ours), start_of_python().rss_mib
    cpu = min(each.cpu for each in ours)
    say(f"start to ready: {cpu:.2f} s of CPU time, {ratio:.2f} of its libraries' import")
    say(f"idle memory: {rss:.1f} MiB, {rss / smallest:.1f} times `python -c pass`")
    assert ratio <= limits["ready_ratio"]
    assert rss <= limits["rss_mib"]
    assert rss / smallest <= limits["rss_ratio"]
