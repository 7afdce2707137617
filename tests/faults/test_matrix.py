"""Every row of the fault matrix has its tests, for every worker that it can happen to."""

import re

import pytest

from tests.faults import matrix
from tests.tools import redraw


@pytest.mark.parametrize("worker", matrix.NO_FORM)
def test_every_row_is_tested_or_said_to_have_no_form(worker: str) -> None:
    tested = set(matrix.tests_of(worker))
    without = set(matrix.NO_FORM[worker])
    assert tested & without == set()
    assert tested | without == set(matrix.ROWS)


def test_every_row_can_happen_to_a_worker() -> None:
    formless = [set(rows) for rows in matrix.NO_FORM.values()]
    assert set.intersection(*formless) == set()


def test_every_row_is_described() -> None:
    page = (redraw.DOCS / "faults.md").read_text(encoding="utf-8")
    described = page.partition("\n## What happens\n")[2].partition("\n## ")[0]
    rows = [int(number) for number in re.findall(r"(?m)^\| (\d+) \| \S.* \| \S.* \|$", described)]
    assert rows == list(matrix.ROWS)
