"""The Codex binary that the tests run: the installed one, or that of `CODEX_BIN`.

What a newer one does differently is in `docs/codex.md`; a test that sees it asks for the version.
"""

import functools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from engine.codex.child import home as codexhome

NEWER: Final = (0, 169, 0)
"""The first version that was measured after the tested one."""


def path() -> Path:
    """Return where it is."""
    return codexhome.find_binary(os.environ.get("CODEX_BIN"))


@functools.cache
def version() -> tuple[int, ...]:
    """Return its version, such as `(0, 163, 0)`."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            (path(), "--version"),
            env={"CODEX_HOME": home, "PATH": os.environ["PATH"]},
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        )
    return tuple(map(int, done.stdout.split()[-1].split(".")))


def asks_for_all_calls_at_once() -> bool:
    """Return whether it asks for the results of all calls of a step at once."""
    return version() >= NEWER


def image_detail() -> str:
    """Return the detail that it gives images of results."""
    return "original" if version() >= NEWER else "high"
