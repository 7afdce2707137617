"""A stop that does not end is ended, with its last words; one that does is left alone."""

import subprocess
import sys

import pytest

from server.process import exits
from tests.support.process import machinetime, serving

PROGRAM = """
import sys, threading
from server.process.watchdog import Watchdog
dog = Watchdog(lambda: float(sys.argv[1]), lambda: print("last words", flush=True))
for step in sys.argv[2:]:
    getattr(dog, step)()
threading.Event().wait(0.3 if "release" in sys.argv else 60)
print("over", flush=True)
"""


def run(limit: float, *steps: str) -> subprocess.CompletedProcess[str]:
    """A program with a watchdog to whom this happens, and which then waits."""
    return subprocess.run(
        (sys.executable, "-c", PROGRAM, str(limit), *steps),
        cwd=serving.ROOT,
        capture_output=True,
        text=True,
        timeout=machinetime.HANG_S,
        check=False,
    )


def test_a_stop_that_does_not_end_is_ended_after_its_last_words() -> None:
    done = run(0.1, "stop_begins")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (exits.FAILED, "last words")
    assert "stop_timed_out" in done.stdout + done.stderr


@pytest.mark.parametrize("steps", [("release",), ("stop_begins", "release"), ("release",) * 2])
def test_a_stop_that_ends_is_left_alone(steps: tuple[str, ...]) -> None:
    done = run(0.1, *steps)
    assert (done.returncode, done.stdout) == (exits.CLEAN, "over\n")
