"""The fault matrix as its tests have it: which of them stands for which row, for each worker."""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.faults.codexstage import NO_CODEX_FORM
from tests.faults.upstreamstage import NO_UPSTREAM_FORM

ROWS: Final = range(1, 57)
"""Their numbers."""

NO_FORM: Final[Mapping[str, Mapping[int, str]]] = {
    "upstream": NO_UPSTREAM_FORM,
    "codex": NO_CODEX_FORM,
}
"""For each worker, the rows that cannot happen to it, and why."""


def tests_of(worker: str) -> dict[int, list[str]]:
    """The tests of each row, as sentences, in the order they stand."""
    found: dict[int, list[str]] = {}
    for path in sorted(Path(__file__).parent.glob(f"test_{worker}_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            name = node.name if isinstance(node, ast.FunctionDef) else ""
            if name.startswith("test_"):
                row = re.fullmatch(r"test_row_(\d\d)_(\w+)", name)
                assert row is not None, f"{path.name}: {name} is not named for its row"
                found.setdefault(int(row[1]), []).append(row[2].replace("_", " "))
    return found


def table() -> str:
    """Every row and its tests, as Markdown."""
    tests = {worker: tests_of(worker) for worker in NO_FORM}
    lines = ["| # | upstream | codex |", "| --: | --- | --- |"]
    for row in ROWS:
        cells = [_cell(tests[worker].get(row), NO_FORM[worker].get(row)) for worker in tests]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(tests: list[str] | None, reason: str | None) -> str:
    return "<br>".join(tests) if tests else f"*none: {reason}*"
