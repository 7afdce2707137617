"""The program on a system that it is not made for, and what the documentation says of systems."""

import re
import subprocess
import sys
import tomllib

from tests.support.process import readme

ROOT = readme.ROOT

ELSEWHERE = """
import signal, sys
sys.platform = "win32"
del signal.SIGHUP
sys.modules["fcntl"] = sys.modules["termios"] = sys.modules["uvloop"] = None
from server import program
program.run()
"""
"""The start on a Windows, as far as it can be had elsewhere: what is missing there is missing."""


def test_a_start_on_windows_says_in_a_line_where_else_it_runs() -> None:
    done = subprocess.run(
        (sys.executable, "-c", ELSEWHERE), cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "turntape: Turntape runs on Linux and macOS. On Windows, run it in WSL 2 or a container.\n"
    )


def test_the_pythons_that_are_named_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    of_package = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (named,) = re.findall(r"CPython ([\d., ]+) \|", page)
    assert named.split(", ") == of_package
