"""The page of the machines shows the machines that run."""

import re

import pytest

from machines import drawing, table
from tests.tools import redraw

PAGE = redraw.PAGE.read_text(encoding="utf-8")
DRAWN = re.findall(r"<!-- drawn: (\w+) -->", PAGE)


@pytest.mark.parametrize("compiled", redraw.TABLES, ids=lambda compiled: compiled.name)
def test_a_machine_is_drawn_as_it_runs(compiled: table.Table) -> None:
    assert drawing.block(compiled) in PAGE, "out of date: run `python -m tests.tools.redraw`"


def test_the_page_draws_every_machine_once_and_no_other() -> None:
    assert [compiled.name for compiled in redraw.TABLES] == DRAWN


def test_every_declared_machine_is_on_the_page() -> None:
    sources = (redraw.PAGE.parents[1] / "machines").rglob("*.py")
    text = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    declared = re.findall(r"^class (\w+)Machine\(StateMachine\)", text, re.MULTILINE)
    assert sorted(name.lower() for name in declared) == sorted(DRAWN)


@pytest.mark.parametrize("compiled", redraw.TABLES, ids=lambda compiled: compiled.name)
def test_every_state_is_explained_above_its_drawing(compiled: table.Table) -> None:
    (section,) = (part for part in PAGE.split("\n## ") if f"drawn: {compiled.name} " in part)
    assert tuple(re.findall(r"^- `(\w+)`: ", section, re.MULTILINE)) == compiled.states
