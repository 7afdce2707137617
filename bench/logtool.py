"""Measures the commands that read a log, beside `grep` and `wc -l` of the same files.

    python -m bench.logtool                 # makes a log of 1 GiB first: some minutes
    python -m bench.logtool --log DIRECTORY --rounds 5 --write

Rounds alternate between all that is measured, so that a busy machine is busy for all of it. What
counts is the least CPU time of the rounds, that of a command's children included: other work can
only add to it. The least seconds that passed are told beside it.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench import compare, logcorpus
from engine.log.read import segments

ROOT: Final = Path(__file__).parents[1]
"""The checkout."""

MARKS: Final = ("<!-- log -->", "<!-- end log -->")
"""Around the results on the page."""

STREAM: Final = re.compile(rb'\{"stream":"(st_[0-9a-f]+)","seq":0,')
"""A first record."""

RECORDS: Final = re.compile(rb", (\d+) records in ")
"""The line in which `check` says what it has replayed."""

VERSION: Final = "turntape --version"
"""The least that every command costs."""


HEADINGS: Final = (
    "CPU, s",
    "passed, s",
    "beyond `--version`, s",
    "CPU to `wc -l`",
    "CPU to `grep`",
    "steps/s of CPU",
)
"""The columns of the results, behind the names."""


class Task(NamedTuple):
    """Something that is measured.

    Attributes:
        status: with which it must end.
    """

    name: str
    command: tuple[str, ...]
    status: tuple[int, ...] = (0,)


class Cost(NamedTuple):
    """The cost of a run, in seconds."""

    cpu: float
    passed: float
    output: bytes


def tasks(log: Path, name: str) -> list[Task]:
    """All that is measured.

    Args:
        name: the id of a stream in the log.
    """
    files = tuple(str(each.path) for each in segments.list_segments(log))
    turntape = (sys.executable, "-m", "server")
    where = ("--log", str(log))
    return [
        Task("`wc -l`", ("wc", "-l", *files)),
        Task("`grep` an id", ("grep", "-c", name, *files)),
        Task(VERSION, (*turntape, "--version")),
        Task("turntape show ID", (*turntape, "show", name, *where)),
        Task("turntape log --failed", (*turntape, "log", str(log), "--failed", "-n", "20")),
        Task("turntape check", (*turntape, "check", str(log))),
        Task("turntape check --jobs 2", (*turntape, "check", str(log), "--jobs", "2")),
    ]


def run(task: Task) -> Cost:
    """Run a command to its end.

    Raises:
        RuntimeError: it ended with another status than it should.
    """
    before, began = _children(), time.perf_counter()
    done = subprocess.run(task.command, capture_output=True, cwd=ROOT)
    cost = Cost(_children() - before, time.perf_counter() - began, done.stdout)
    if done.returncode not in task.status:
        raise RuntimeError(f"{task.name} ended with {done.returncode}: {done.stderr.decode()}")
    return cost


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def ids(log: Path) -> list[str]:
    """The streams that begin in the first, a middle and the last segment of a log."""
    found = segments.list_segments(log)
    some = (found[0], found[len(found) // 2], found[-1])
    return [stream.decode() for each in some for stream in STREAM.findall(each.path.read_bytes())]


def measure(log: Path, rounds: int, seed: int = 1) -> dict[str, Cost]:
    """The least cost of each task; every round asks for another stream."""
    choose, known = random.Random(seed), ids(log)
    least: dict[str, Cost] = {}
    for _ in range(rounds):
        for task in tasks(log, choose.choice(known)):
            cost = run(task)
            best = least.get(task.name, cost)
            least[task.name] = Cost(
                min(best.cpu, cost.cpu), min(best.passed, cost.passed), cost.output
            )
            print(f"{task.name}: {cost.cpu:.2f} s of CPU time, {cost.passed:.2f} s", flush=True)
    return least


def table(log: Path, least: dict[str, Cost]) -> str:
    """The results in Markdown."""
    size = sum(each.size for each in segments.list_segments(log))
    names = list(least)
    counted, searched, bare = (least[each] for each in (*names[:2], VERSION))
    heading = f"a log of {size / (1 << 20):,.0f} MiB"
    lines = [f"| {' | '.join((heading, *HEADINGS))} |", "| --- " * (len(HEADINGS) + 1) + "|"]
    for name, cost in least.items():
        is_ours = name.startswith("turntape")
        beyond = f"{cost.passed - bare.passed:.2f}" if is_ours and name != VERSION else ""
        steps = _steps(cost, bare)
        cells = (
            f"`{name}`" if is_ours else name,
            f"{cost.cpu:.2f}",
            f"{cost.passed:.2f}",
            beyond,
            f"{cost.cpu / counted.cpu:.1f}",
            f"{cost.cpu / searched.cpu:.1f}",
            "" if steps is None else f"{steps:,.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _steps(cost: Cost, bare: Cost) -> float | None:
    """Steps that a second of CPU time replays; None of what replays none."""
    told = RECORDS.search(cost.output)
    return None if told is None else int(told[1]) / max(0.01, cost.cpu - bare.cpu)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and write the page if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.logtool")
    parser.add_argument("--log", type=Path, help="one that is there; else one is made")
    parser.add_argument("--mib", type=int, default=1024, help="of one that is made (1024)")
    parser.add_argument("--rounds", type=int, default=3, help="of each command (3)")
    parser.add_argument("--write", action="store_true", help=f"to {compare.PAGE.name} too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="turntape-bench-") as directory:
        log = options.log or Path(directory)
        if options.log is None:
            logcorpus.Corpus(log).write(options.mib << 20)
        text = "\n\n".join(_report(log, measure(log, options.rounds)))
    print(text)
    if options.write:
        page = compare.PAGE.read_text("utf-8")
        compare.PAGE.write_text(compare.rewritten(page, text, MARKS), "utf-8")


def _report(log: Path, least: dict[str, Cost]) -> Iterable[str]:
    load = os.getloadavg()[1]
    yield f"{compare.machine()} The load average of the machine was {load:.1f}."
    yield table(log, least)


if __name__ == "__main__":
    main(sys.argv[1:])
