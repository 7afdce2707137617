"""The files of shells and the manual page say what the parser says."""

import shutil
import subprocess
from pathlib import Path

import pytest

from server.cli import commands
from tests.tools import shellfiles


def test_they_are_those_of_the_parser() -> None:
    for path, text in shellfiles.files().items():
        assert path.read_text(encoding="utf-8") == text, "run `python -m tests.tools.redraw`"


@pytest.mark.skipif(shutil.which("man") is None, reason="there is no man")
def test_man_shows_the_page_without_a_warning() -> None:
    done = subprocess.run(
        ("man", "--warnings", "--local-file", str(shellfiles.MANUAL)),
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "MANPAGER": "cat", "MANWIDTH": "100"},
    )
    assert done.stderr == ""
    for command in commands.COMMANDS:
        assert f"turntape {command.name}" in done.stdout
    assert "turntape - an OpenAI-compatible server" in done.stdout


def test_the_width_of_a_terminal_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    narrow = shellfiles.manual()
    monkeypatch.delenv("COLUMNS")
    assert shellfiles.manual() == narrow


def test_what_is_written_is_where_the_wheel_takes_it_from() -> None:
    root = Path(__file__).parents[2]
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    for path in shellfiles.files():
        assert f'"{path.relative_to(root).as_posix()}" = "share/' in project
