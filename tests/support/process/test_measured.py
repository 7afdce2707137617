"""A process that is killed in a measured run keeps what it has reached, and ends as killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from coverage import CoverageData

from tests.support.process import machinetime, measured, serving

PROGRAM = """
import coverage, time
coverage.process_startup()  # which a .pth of coverage does, of those versions that have one
from machines import vocabulary
print("up", flush=True)
time.sleep(3600)
"""


def test_a_killed_process_keeps_its_coverage(tmp_path: Path) -> None:
    inherited = {name: text for name, text in os.environ.items() if "COVERAGE" not in name}
    config, data = tmp_path / "coveragerc", tmp_path / "data"
    # Not the project's own: with `patch` some versions leave a file among the packages.
    config.write_text(f"[run]\nplugins = {measured.__name__}\n")
    settings = {"COVERAGE_PROCESS_START": str(config), "COVERAGE_FILE": str(data)}
    with subprocess.Popen(
        (sys.executable, "-c", PROGRAM),
        cwd=serving.ROOT,
        env=inherited | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(measured.ASK)
        _, stderr = process.communicate(timeout=machinetime.HANG_S)
    assert (process.returncode, stderr) == (-signal.SIGKILL, b"")
    saved = CoverageData(str(data))
    saved.read()
    assert saved.lines(str(serving.ROOT / "machines" / "vocabulary.py"))
