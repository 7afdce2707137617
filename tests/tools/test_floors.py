"""A module below its floor is named, and so is a floor that has become too low."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from tests.tools import floors
from tests.tools.floors import Coverage, Floor, Floors

OWN = "engine/own.py"
OTHER = "engine/other.py"
MODULES = [OTHER, OWN]
FLOORS = Floors(90, {OWN: Floor(70, "its program is not installed here")})


def reached(other: float, own: float) -> dict[str, Coverage]:
    """A report of two modules, of which one has a floor of its own."""
    return {OTHER: Coverage(other, (3, 4, 9)), OWN: Coverage(own, (7,))}


def test_modules_at_their_floors_pass() -> None:
    assert list(floors.failures(FLOORS, reached(90, 70), MODULES)) == []


def test_a_module_below_the_default_is_named_with_the_lines_that_no_test_reaches() -> None:
    (line,) = floors.failures(FLOORS, reached(89.9, 70), MODULES)
    assert line == "engine/other.py: 89.9 %, without lines 3-4, 9; its floor is 90 %"


def test_a_module_below_its_own_floor_is_named() -> None:
    (line,) = floors.failures(FLOORS, reached(90, 69.9), MODULES)
    assert line == "engine/own.py: 69.9 %, without lines 7; its floor is 70 %"


def test_a_module_that_was_not_measured_fails() -> None:
    only_other = {OTHER: Coverage(100, ())}
    assert list(floors.failures(FLOORS, only_other, MODULES)) == ["engine/own.py was not measured"]


def test_a_floor_of_a_module_that_is_gone_fails() -> None:
    (line,) = floors.failures(FLOORS, reached(90, 70), [OTHER])
    assert line == "engine/own.py has a floor, and there is no such module"


def test_a_module_that_does_not_ship_has_no_floor() -> None:
    found = reached(90, 70) | {"bench/soak.py": Coverage(0, (1,))}
    assert list(floors.failures(FLOORS, found, MODULES)) == []
    assert {"server/program.py", "bench/load.py"} <= set(floors.shipped())
    assert not {"bench/soak.py", "tests/conftest.py"} & set(floors.shipped())


@pytest.mark.parametrize(
    ("percent", "line"),
    [
        (70.0, None),
        (72.9, None),
        (73.0, "the floor of engine/own.py can be raised from 70 to 71 %"),
        (91.9, "the floor of engine/own.py can be raised from 70 to 89 %"),
        (92.0, "engine/own.py needs no floor of its own any more"),
    ],
)
def test_a_floor_that_is_too_low_is_named_and_fails_nothing(
    percent: float, line: str | None
) -> None:
    found = reached(99, percent)
    assert list(floors.raisable(FLOORS, found)) == ([] if line is None else [line])
    assert list(floors.failures(FLOORS, found, MODULES)) == []


def test_the_least_covered_modules_come_first() -> None:
    found = {f"{number}.py": Coverage(number, ()) for number in range(50, 0, -1)}
    lines = floors.least(found, list(found))
    assert lines == [f"{number}.py: {number:.1f} %" for number in range(1, 11)]


@pytest.mark.parametrize(
    "text", ["default = 90\n[modules]\n'engine/own.py' = {percent = 70}\n", "default = 90\n", ""]
)
def test_a_floor_without_a_reason_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "floors.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(msgspec.ValidationError):
        floors.load(file)


def test_every_floor_of_its_own_is_of_a_module_that_ships_and_below_the_others() -> None:
    known = floors.load()
    assert known.modules.keys() <= set(floors.shipped())
    assert list(known.modules) == sorted(known.modules)
    for floor in known.modules.values():
        assert 0 <= floor.percent < known.default
        assert re.search(r"\w+ \w+", floor.reason)


def write_report(path: Path, percent: float) -> str:
    """Write a report as `coverage json` does, with the same for every module that ships."""
    summary = {"percent_covered": percent, "missing_lines": 2}
    file = {"summary": summary, "missing_lines": [5, 6]}
    path.write_text(json.dumps({"files": dict.fromkeys(floors.shipped(), file)}))
    return str(path)


def test_a_run_of_the_checker_says_what_it_found_and_fails_below_a_floor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert floors.main(write_report(tmp_path / "report.json", 95.5)) == 0
    assert capsys.readouterr().out.endswith("every module is at its floor or above\n")
    assert floors.main(write_report(tmp_path / "report.json", 12.5)) == 1
    out = capsys.readouterr().out
    assert out.count(": 12.5 %, without lines 5-6; its floor is ") >= len(floors.shipped()) - len(
        floors.load().modules
    )
