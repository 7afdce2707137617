"""The changes that CONTRIBUTING shows can be made as it says, and pass the checks it names."""

import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.tools import sources

PAGE = (sources.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = ("An event", "An output", "A setting")
COPIED = ("machines", "engine", "server", "bench", "tests", "docs")


def section(heading: str) -> str:
    """What stands under a heading of the page."""
    text = PAGE.partition(f"\n## {heading}\n")[2]
    assert text
    return text.partition("\n## ")[0]


def edits(text: str) -> list[tuple[str, str, str]]:
    """Every edit that a text shows: the file, what stands there, what is to stand there."""
    found = []
    for block in re.findall(r"(?ms)^ *```diff\n(.*?)^ *```$", text):
        for part in textwrap.dedent(block).split("--- ")[1:]:
            path, _, hunks = part.partition("\n")
            for hunk in hunks.split("@@\n"):
                lines = hunk.splitlines(keepends=True)
                before = "".join(line[1:] for line in lines if line[0] != "+")
                after = "".join(line[1:] for line in lines if line[0] != "-")
                found.append((path, before, after))
    return found


def run(checkout: Path, *command: str) -> None:
    done = subprocess.run(
        (sys.executable, "-m", *command), cwd=checkout, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("heading", SECTIONS)
def test_each_edit_has_one_place(heading: str) -> None:
    shown = edits(section(heading))
    assert shown
    for path, before, after in shown:
        source = (sources.ROOT / path).read_text(encoding="utf-8")
        assert before
        assert before != after
        assert source.count(before) == 1, f"{path} does not have once:\n{before}"


@pytest.mark.slow
def test_all_edits_together_pass_the_checks_that_are_named(tmp_path: Path) -> None:
    for folder in COPIED:
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(sources.ROOT / folder, tmp_path / folder, ignore=ignored)
    for file in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
        shutil.copy(sources.ROOT / file, tmp_path / file)
    checks: list[list[str]] = []
    for heading in SECTIONS:
        text = section(heading)
        checks += [shlex.split(check) for check in re.findall(r"`pytest ([^`]+)`", text)]
        for path, before, after in edits(text):
            source = (tmp_path / path).read_text(encoding="utf-8")
            (tmp_path / path).write_text(source.replace(before, after), encoding="utf-8")
    run(tmp_path, "tests.tools.redraw")
    assert len(checks) == len(SECTIONS)
    for check in checks:
        run(tmp_path, "pytest", "-n", "0", "-p", "no:cacheprovider", *check)
    page = (tmp_path / "docs" / "events.md").read_text(encoding="utf-8")
    assert "### `region_named`" in page
    assert "| `citation` |" in page
    assert "PROXY_MAX_STOP_SEQUENCES" in (tmp_path / "docs/configuration.md").read_text("utf-8")
