"""Holds what tests reach of each module to its floor: `python -m tests.tools.floors REPORT`.

A test that is deleted, or skipped for ever, fails nothing. What it alone reached is then reached
by no test, and that shows here. The report is what `coverage json` writes of a run of the whole
suite; the floors are in `tests/coverage-floors.toml`. A module that ships and is in no report was
not measured, and fails as well.
"""

import itertools
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tests.tools import sources

FILE: Final = sources.ROOT / "tests" / "coverage-floors.toml"
"""The floors."""

SLACK: Final = 2
"""Percent that a floor stays below what was measured: some lines are reached only by chance."""

LEAST: Final = 10
"""How many of the least covered modules are printed."""


class Floor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A floor below that of other modules, in percent of a module's lines, and why."""

    percent: int
    reason: str


class Floors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The least percent of lines that tests reach: of any module, and of some by their files."""

    default: int
    modules: dict[str, Floor]

    def of(self, module: str) -> int:
        """The floor of a module."""
        own = self.modules.get(module)
        return self.default if own is None else own.percent


class Coverage(NamedTuple):
    """What tests reach of a module: percent of its lines, and those that they do not."""

    percent: float
    missing: tuple[int, ...]


def load(file: Path = FILE) -> Floors:
    """Read the floors of a file.

    Raises:
        ValidationError: one has no reason, or something else is in it.
    """
    return msgspec.toml.decode(file.read_bytes(), type=Floors)


def shipped() -> list[str]:
    """The files of the modules that have a floor: those of the layers."""
    return [
        module.path.relative_to(sources.ROOT).as_posix()
        for module in sources.PRODUCT
        if sources.layer_of(module.name) is not None
    ]


def measured(report: Path) -> dict[str, Coverage]:
    """Read a report of coverage: what was reached of each file."""
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    return {
        name: Coverage(file["summary"]["percent_covered"], tuple(file["missing_lines"]))
        for name, file in files.items()
    }


def failures(floors: Floors, found: Mapping[str, Coverage], modules: list[str]) -> Iterator[str]:
    """Yield a line for each module below its floor or not measured, and floor without a module."""
    for module in modules:
        if module not in found:
            yield f"{module} was not measured"
        elif found[module].percent < floors.of(module):
            yield f"{described(module, found[module])}; its floor is {floors.of(module)} %"
    for module in sorted(floors.modules.keys() - set(modules)):
        yield f"{module} has a floor, and there is no such module"


def raisable(floors: Floors, found: Mapping[str, Coverage]) -> Iterator[str]:
    """Yield a line for each floor of its own that is lower than it has to be."""
    for module, floor in floors.modules.items():
        percent = found[module].percent if module in found else 0.0
        possible = math.floor(percent - SLACK)
        if possible >= floors.default:
            yield f"{module} needs no floor of its own any more"
        elif possible > floor.percent:
            yield f"the floor of {module} can be raised from {floor.percent} to {possible} %"


def least(found: Mapping[str, Coverage], modules: list[str]) -> list[str]:
    """The modules of which tests reach least, a line each."""
    known = [module for module in modules if module in found]
    known.sort(key=lambda module: found[module].percent)
    return [described(module, found[module]) for module in known[:LEAST]]


def described(module: str, coverage: Coverage) -> str:
    """What is reached of a module, and the lines that are not."""
    lines = ", ".join(runs(coverage.missing))
    return f"{module}: {coverage.percent:.1f} %" + (f", without lines {lines}" if lines else "")


def runs(lines: tuple[int, ...]) -> Iterator[str]:
    """Yield numbers in ascending order as ranges: `7`, `9-12`."""
    for _, run in itertools.groupby(enumerate(lines), lambda place: place[1] - place[0]):
        numbers = [line for _, line in run]
        yield "-".join(map(str, sorted({numbers[0], numbers[-1]})))


def main(report: str) -> int:
    """Print how a report stands to the floors; the exit status is 1 if a module is below."""
    floors, found, modules = load(), measured(Path(report)), shipped()
    wrong = list(failures(floors, found, modules))
    print("least covered:", *least(found, modules), sep="\n  ")
    print(*raisable(floors, found), sep="\n")
    print(*wrong or ["every module is at its floor or above"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
