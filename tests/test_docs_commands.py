"""Each command over a log has a section: its options, an example, its exit statuses."""

import re

import pytest

from tests.tools import commandpage, redraw

PAGE = (redraw.DOCS / "commands.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    """The section of a command."""
    parts = re.split(r"(?m)^## ", PAGE)
    (found,) = (part for part in parts if f"`turntape {name}`" in part.partition("\n")[0])
    return found


@pytest.mark.parametrize("name", commandpage.COMMANDS)
def test_a_command_has_its_options_and_its_exit_statuses(name: str) -> None:
    text = section(name)
    assert redraw.block(f"options_{name}") in text, "run `python -m tests.tools.redraw`"
    assert "It ends " in text


@pytest.mark.parametrize(
    "name", [name for name in commandpage.COMMANDS if name not in commandpage.OLDER]
)
def test_a_command_has_its_usage_and_an_example(name: str) -> None:
    text = section(name)
    assert f"\n    turntape {name}" in text
    without_usage = re.sub(rf"(?m)^    turntape {name} .*$", "", text)
    assert re.search(r"(?m)^ {4}\S", without_usage) or "```text\n" in text
