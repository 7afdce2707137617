"""Performance guards: each holds a ratio, measured here and now, against `budgets.toml`.

    python -m pytest bench/test_guards.py -m guard

A ratio is to work that every machine knows, done beside ours in rounds that alternate, and the
median of the rounds counts: the machine may be slow or busy, so long as it is so to both.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import uvloop

from bench import budgets, rivals, standin, tokenpath
from tests import serving

pytestmark = pytest.mark.guard

BUDGETS = budgets.load()

ROUNDS = 21
"""Of a guard within one process."""

TOKENS = 2048
"""Of a round of the token path."""

SERVER_ROUNDS = 15
"""Of a guard between processes."""

ENDPOINT_ROUNDS = 60
"""Of a guard between two endpoints of one server: short ones, so that both see the same load."""

STARTS = 7
"""Of a guard of the start."""

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Prints what was measured, even where the guard holds."""

    def print_it(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}", end="", flush=True)

    return print_it


async def token_ratios(directory: Path, streams: int, lines_a_stream: int) -> list[float]:
    """For each round the path's CPU time as a part of the yardstick's."""
    ratios = []
    async with tokenpath.running(directory, streams) as path:
        burst = path.burst(lines_a_stream)
        wakeups = TOKENS // (streams * lines_a_stream)
        for _ in range(ROUNDS):
            spent = 0
            for _ in range(wakeups):
                spent += await path.wake(burst)
                assert path.received() == streams * lines_a_stream
            ratios.append(spent / tokenpath.yardstick(path.line, path.chunk, TOKENS))
    return ratios


def test_a_token_in_a_burst_costs_no_more_than_the_yardstick(tmp_path: Path, say: Say) -> None:
    ratio = statistics.median(uvloop.run(token_ratios(tmp_path, 8, 32)))
    say(f"token path in bursts: {ratio:.2f} of json.loads + json.dumps")
    assert ratio <= BUDGETS["token"]["burst"]


def test_a_token_alone_costs_little_more_than_its_system_calls(tmp_path: Path, say: Say) -> None:
    ratio = statistics.median(uvloop.run(token_ratios(tmp_path, 1, 1)))
    say(f"token path, one a wake-up: {ratio:.2f} of json.loads + json.dumps")
    assert ratio <= BUDGETS["token"]["alone"]


def test_a_token_is_hardly_later_than_through_a_bare_copy(say: Say) -> None:
    case = rivals.Case(1, standin.Turn(deltas=100, interval=0.002, stamped=True))
    plan = msgspec.json.encode(case.turn).decode()
    ratios = []
    with rivals.turntape(case) as ours, rivals.running("echo", plan) as bare:
        for _ in range(SERVER_ROUNDS):
            added = [rivals.ask(rival, case.streams).latency_ms["p50"] for rival in (ours, bare)]
            ratios.append(added[0] / added[1])
    ratio = statistics.median(ratios)
    say(f"worker line to client byte: {ratio:.2f} of a copy from pipe to socket")
    assert ratio <= BUDGETS["latency"]["line_to_byte"]


def test_a_flood_costs_a_fraction_of_the_relay(say: Say) -> None:
    case = rivals.Case(16, standin.Turn(deltas=1000))
    measured = list(rivals.rounds(case, SERVER_ROUNDS))
    ratio = rivals.median(measured, lambda each: each.cpu_ratio)
    ours = rivals.median(measured, lambda each: each.ours.cpu_us or 0)
    theirs = rivals.median(measured, lambda each: each.theirs.cpu_us or 0)
    say(f"flood: {ratio:.3f} of the relay's CPU time a chunk ({ours:.1f} µs, {theirs:.1f} µs)")
    assert ratio <= BUDGETS["relay"]["flood"]


def test_the_first_token_is_as_soon_on_responses_as_on_chat(say: Say) -> None:
    # Paced, as a model is.
    case = rivals.Case(1, standin.Turn(deltas=3, interval=0.002))
    waits: dict[str, list[float]] = {"chat": [], "responses": []}
    with rivals.turntape(case) as ours:
        for number in range(ENDPOINT_ROUNDS):
            for endpoint in sorted(waits, reverse=number % 2 == 0):
                report = rivals.ask(ours, case.streams, 5, endpoint)
                waits[endpoint].append(report.ttft_ms["p50"])
    chat, responses = (statistics.median(waits[endpoint]) for endpoint in waits)
    ratio = responses / chat
    say(f"first token on Responses: {ratio:.2f} of chat's ({responses:.2f} ms, {chat:.2f} ms)")
    assert ratio <= BUDGETS["latency"]["responses_ttft"]


class Start(NamedTuple):
    """Seconds until a process has done what it was started for, and its memory then."""

    seconds: float
    rss_mib: float


def start_of_server(data_dir: Path) -> Start:
    """A server on the scripted worker: ready."""
    began = time.monotonic()
    server = serving.Serve(data_dir, ("--worker", "scripted"), {})
    try:
        while server.get("/readyz")[0] != 200:
            assert server.process.poll() is None, server.lines
        seconds = time.monotonic() - began
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return Start(seconds, rss_mib(status))
    finally:
        server.stop()


def start_of_python() -> Start:
    """The interpreter alone, which says nothing but its own memory: done."""
    say_memory = "print(open('/proc/self/status').read())"
    began = time.monotonic()
    said = subprocess.run((sys.executable, "-c", say_memory), capture_output=True, text=True)
    return Start(time.monotonic() - began, rss_mib(said.stdout))


def rss_mib(status: str) -> float:
    """The resident memory in a process's `status`."""
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kib) / 1024


def test_a_start_is_quick_and_small(tmp_path: Path, say: Say) -> None:
    starts = [(start_of_server(tmp_path), start_of_python()) for _ in range(STARTS)]
    seconds = statistics.median(ours.seconds for ours, _ in starts)
    rss = statistics.median(ours.rss_mib for ours, _ in starts)
    slower = statistics.median(ours.seconds / bare.seconds for ours, bare in starts)
    larger = statistics.median(ours.rss_mib / bare.rss_mib for ours, bare in starts)
    say(f"start to ready: {seconds:.2f} s, {slower:.1f} times `python -c pass`")
    say(f"idle memory: {rss:.1f} MiB, {larger:.1f} times `python -c pass`")
    limits = BUDGETS["start"]
    assert seconds <= limits["ready_s"]
    assert slower <= limits["ready_ratio"]
    assert rss <= limits["rss_mib"]
    assert larger <= limits["rss_ratio"]
