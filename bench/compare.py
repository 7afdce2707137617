"""Measures our server against the relay, and writes `docs/benchmarks.md`: run by hand.

    python -m bench.compare [--rounds 5] [--write]

Both servers run side by side; rounds alternate between them, and medians are told. A server's CPU
time is that of its own process: neither Codex nor the relay's source is in it.
"""

import argparse
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench import budgets, rivals, standin

PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"
"""Where the results are written."""

MARKS: Final = ("<!-- measured -->", "<!-- end measured -->")
"""The marks around the results on the page."""

PACKAGES: Final = ("uvloop", "h11", "msgspec", "starlette", "uvicorn", "httpx")
"""Packages that the results depend on."""


class Comparison(NamedTuple):
    """A line of the results.

    Attributes:
        limit: our CPU time as a part of theirs, at most; None where nothing is required.
    """

    name: str
    case: rivals.Case
    limit: float | None


def comparisons() -> list[Comparison]:
    """Everything that is measured."""
    limits = budgets.load()["relay"]
    flood = standin.Turn(deltas=4000)
    paced = standin.Turn(deltas=500, interval=0.02, stamped=True)
    slower = msgspec.structs.replace(paced, deltas=150, interval=0.04)
    return [
        Comparison("flood", rivals.Case(16, flood), limits["flood"]),
        Comparison("flood, relay only copies", rivals.Case(16, flood, "lines"), None),
        Comparison("20 ms", rivals.Case(64, paced), limits["paced_64"]),
        Comparison("20 ms", rivals.Case(256, paced), limits["paced_256"]),
        # At 20 ms that is more than the relay can do on one core: here it keeps up.
        Comparison("40 ms", rivals.Case(256, slower), limits["paced_256"]),
    ]


def row(comparison: Comparison, measured: list[rivals.Round]) -> list[str]:
    """A line of the results as cells."""
    ratio = rivals.median(measured, lambda each: each.cpu_ratio)
    limit = f" (≤ {comparison.limit})" if comparison.limit is not None else ""
    sides = ([each.ours for each in measured], [each.theirs for each in measured])
    return [
        comparison.name,
        str(comparison.case.streams),
        *(_median([report.cpu_us for report in reports if report.cpu_us]) for reports in sides),
        f"{ratio:.2f}{limit}",
        *(
            _median([report.latency_ms[part] for report in reports if report.latency_ms])
            for reports in sides
            for part in ("p50", "p99")
        ),
    ]


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else ""


HEADINGS: Final = (
    "chunks",
    "streams",
    "Turntape, µs",
    "relay, µs",
    "ratio",
    "Turntape p50, ms",
    "p99, ms",
    "relay p50, ms",
    "p99, ms",
)


def table(rows: list[list[str]]) -> str:
    """The results in Markdown."""
    lines = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine() -> str:
    """Describe the machine and the versions that were measured."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    cores = len([line for line in _cpuinfo() if line.startswith("processor")])
    model = next((line.split(":")[1].strip() for line in _cpuinfo() if "model name" in line), "")
    return (
        f"{cores} cores ({model}), Linux {platform.release()}, "
        f"Python {platform.python_version()}; {versions}."
    )


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text().splitlines()


def rewritten(page: str, results: str, marks: tuple[str, str] = MARKS) -> str:
    """The page with other results between its marks."""
    begin, end = marks
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{results}\n\n{end}{after}"


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and write the page if asked to."""
    parser = argparse.ArgumentParser(prog="bench.compare")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison (5)")
    parser.add_argument("--write", action="store_true", help=f"to {PAGE.name} too")
    options = parser.parse_args(arguments)
    rows = []
    for comparison in comparisons():
        rows.append(row(comparison, list(rivals.rounds(comparison.case, options.rounds))))
        print(" | ".join(rows[-1]), flush=True)
    text = f"{machine()}\n\n{table(rows)}"
    print(text)
    if options.write:
        PAGE.write_text(rewritten(PAGE.read_text("utf-8"), text), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
