"""Every decision has a date and a status, and is where a reader looks for it."""

import datetime
from pathlib import Path

import pytest

from tests.tools import decisions, redraw

each_decision = pytest.mark.parametrize("path", decisions.pages(), ids=lambda path: path.stem)


@each_decision
def test_a_decision_has_a_date_and_a_status(path: Path) -> None:
    found = decisions.read(path)
    assert datetime.date.fromisoformat(found.date).year >= 2026
    assert found.status in decisions.STATUSES


@each_decision
def test_a_decision_is_in_the_index_under_its_subject(path: Path) -> None:
    index = (redraw.DOCS / "index.md").read_text(encoding="utf-8")
    assert index.count(f"](decisions/{path.name})") == 1


@pytest.mark.parametrize(
    "head",
    [
        "# A decision\n\nIt was so decided.\n",
        "# A decision\n\nDate: 2026-11-22\n\nIt was so decided.\n",
        "Date: 2026-11-22 · Status: accepted\n\n# A decision\n",
    ],
)
def test_a_page_without_them_is_refused(head: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(head, encoding="utf-8")
    with pytest.raises(ValueError, match=r"it begins with"):
        decisions.read(page)
