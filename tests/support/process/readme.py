"""The commands of the README, and a way to run them as its reader would.

`python3 -m tests.support.process.readme COMMAND TEXT` runs a command that goes on until Ctrl-C,
presses that once the command has said the text, and ends as the command did. It needs nothing but
Python: CI runs it before anything is installed.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[3]
"""The checkout."""

PAGE = ROOT / "README.md"

SERVER = "http://127.0.0.1:11435"
"""The server of the examples."""

LIMIT_S = 900.0
"""How long a command may take: the longest installs the Codex binary over a slow line."""


def examples(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language on a page, in order."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def printed(base: str, *command: str, directory: Path | None = None) -> str:
    """What a program prints whose last argument is an example, for a server on another port."""
    *program, example = command
    assert SERVER in example
    done = subprocess.run(
        (*program, example.replace(SERVER, base)),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def commands(page: Path) -> list[str]:
    """Every shell command of a page, one a line."""
    return [line for block in examples(page, "sh") for line in block.splitlines()]


class Program:
    """A shell command that runs until it is interrupted; killed where its `with` block ends.

    Attributes:
        output: what it has said so far on stdout.
    """

    def __init__(
        self,
        command: str,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.output = ""
        self._process = subprocess.Popen(
            ("bash", "-c", command),
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that Ctrl-C reaches all of it, and nothing else
        )
        self._limit = threading.Timer(LIMIT_S, self._signal, (signal.SIGKILL,))
        self._limit.daemon = True
        self._limit.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
            self.finish()

    def wait_for(self, text: str) -> str:
        """The first line that holds a text.

        Raises:
            EOFError: the command ended without it.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output += line
            if text in line:
                return line
        raise EOFError(f"ended with {self.finish()} and never said {text!r}: {self.output}")

    def interrupt(self) -> int:
        """Press Ctrl-C and wait for the exit status."""
        self._signal(signal.SIGINT)
        return self.finish()

    def finish(self) -> int:
        """Wait for the exit status."""
        assert self._process.stdout is not None
        with self._process.stdout as rest:
            self.output += rest.read()
        self._limit.cancel()
        return self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self._process.pid, number)


def main(command: str, text: str) -> int:
    """Run a command until it has said a text; its exit status after Ctrl-C."""
    with Program(command) as program:
        try:
            program.wait_for(text)
            return program.interrupt()
        finally:
            sys.stdout.write(program.output)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
