"""The tutorial's commands are run as they stand, in a copy of the checkout, in their order."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support.process import measured, readme

PAGE: Final = readme.ROOT / "docs" / "tutorial-bad-stream.md"

INSTALL: Final = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]'"
"""The command that installs: `.ci/run` runs it, with the README's."""

CHECK: Final = ".venv/bin/turntape check --log yesterday"
TEST: Final = ".venv/bin/turntape test stop-sequence --log yesterday -o regression"
PYTEST: Final = ".venv/bin/pytest -p no:cacheprovider regression"

COPIED: Final = ("machines", "engine", "server", "bench", "transcripts")
"""What a checkout has of the program."""


class Step(NamedTuple):
    """A command of the page, its exit status, and what it must say."""

    command: str
    status: int = 0
    said: str = ""


STEPS: Final = (
    Step("cp -r transcripts yesterday"),
    Step(CHECK),
    Step("sed -i.good 's/position + 1 - longest/position - longest/' machines/stream/cutoff.py"),
    Step(CHECK, 1, "stop-sequence"),
    Step(
        ".venv/bin/turntape export stop-sequence --log yesterday -o bad.jsonl --no-mask",
        said="texts are as the log has them",
    ),
    Step(".venv/bin/turntape replay bad.jsonl", 1, "diverged: stream stop-sequence"),
    Step(TEST, said="Today's code makes other bytes than were recorded"),
    Step(PYTEST, 1, "diverged: stream stop-sequence"),
    Step("mv machines/stream/cutoff.py.good machines/stream/cutoff.py"),
    Step(PYTEST, said="1 passed"),
    Step(CHECK),
    Step(f"{TEST} --force", said="stop_sequence.sse, whose hash is the recorded one"),
    Step(PYTEST, said="1 passed"),
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout that looks as after the page's first command."""
    for name in COPIED:
        # With what is compiled, which Python holds against times and sizes as it does anywhere.
        shutil.copytree(readme.ROOT / name, tmp_path / name)
    shutil.copytree(tmp_path / "server" / "launcher" / "turntape", tmp_path / "turntape")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, module in (("turntape", "server"), ("pytest", "pytest")):
        launcher = programs / name
        launcher.write_text(
            f'#!/bin/sh\nPYTHONPATH="{tmp_path}" exec "{sys.executable}" -m {module} "$@"\n'
        )
        launcher.chmod(0o755)
    return tmp_path


def as_it_is(command: str) -> str:
    """A command of the page; `check` in its older form where that is all there is."""
    if importlib.util.find_spec("server.cli.log.check") is None:
        return command.replace("turntape check --log", "turntape replay")
    return command


def test_every_command_of_the_page_is_run() -> None:
    assert readme.commands(PAGE) == [INSTALL, *(step.command for step in STEPS)]
    script = (readme.ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert INSTALL in script


@pytest.mark.slow
def test_the_bug_is_found_becomes_a_test_and_is_gone(checkout: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(checkout),
        # The page's test needs no plugin, and to load all that are here takes half of its time.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        **measured.VARIABLES,
    }
    for step in STEPS:
        done = subprocess.run(
            ("bash", "-c", as_it_is(step.command)),
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        said = " ".join(f"{done.stdout}{done.stderr}".split())
        assert done.returncode == step.status, f"{step.command}: {said}"
        assert step.said in said, step.command
