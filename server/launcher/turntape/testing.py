"""For tests of recorded streams: it is `turntape.testing` where Turntape is installed.

`turntape test ID -o DIR` writes tests that use it. It imports nothing of Turntape's own, whose
names (`server`, `engine`) may be the tested project's too: a process of its own compares.
"""

import os
import subprocess
import sys

_PROGRAM = "import turntape; turntape.main()"


def replay(transcript: "str | os.PathLike[str]") -> str:
    """Run a recorded stream through the installed code, and compare its steps and its bytes.

    Args:
        transcript: `NAME.jsonl`; beside it may lie `NAME.sse` or `NAME.json`, the bytes that were
            recorded.

    Returns:
        What was compared, in a line.

    Raises:
        AssertionError: something comes out differently; the text shows where.
    """
    __tracebackhide__ = True  # what a test shows is the difference
    command = (sys.executable, "-P", "-c", _PROGRAM, "test", "--run", os.fspath(transcript))
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - this very program
    if done.returncode:
        raise AssertionError(f"{done.stdout}{done.stderr}".rstrip())
    return done.stdout.rstrip()
