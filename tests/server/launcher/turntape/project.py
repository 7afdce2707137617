"""Somebody else's project, whose tests are run by a pytest of its own with the plugin of here."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.process import measured, serving
from tests.tools import redraw

EXAMPLE: Final = redraw.DOCS / "examples" / "pytest-project"

TIMEOUT_S: Final = 120


def package(directory: Path) -> Path:
    """The package `turntape` as a wheel of this checkout has it; what a path must have."""
    (directory / "turntape").mkdir(parents=True)
    for path in (serving.ROOT / "server" / "launcher" / "turntape").iterdir():
        if path.is_file():
            (directory / "turntape" / path.name).symlink_to(path)
    (directory / "turntape" / "_app").symlink_to(serving.ROOT)
    return directory


class Project:
    """A directory of tests.

    Args:
        directory: with its files in it.
        path: what `package` has made.
    """

    def __init__(self, directory: Path, path: Path) -> None:
        self.directory = directory
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(path),
            "OPENAI_API_KEY": "sk-real-0123456789abcdef",
            **measured.VARIABLES,
        }

    def write(self, name: str, text: str) -> Path:
        """Write one of its files."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def pytest(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """Run its tests; the exit status, and what was said."""
        done = subprocess.run(
            (
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                *self._plugin(arguments),
            ),
            cwd=self.directory,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        return done.returncode, done.stdout + done.stderr

    def _plugin(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """The plugin by name: an environment that was made before there was one has it too."""
        if "no:turntape" in arguments:
            return arguments
        return ("-p", "turntape.pytest_plugin", "-p", "no:turntape", *arguments)


@contextlib.contextmanager
def provider(path: Path) -> Iterator[str]:
    """The URL of a provider to record from: a mock, which says what `text-short` does."""
    with subprocess.Popen(
        (sys.executable, "-m", "turntape", "mock", "--port", "0", "--transcript", "text-short"),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(path), **measured.VARIABLES},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
