"""The program with something planted in it: `python -m tests.support.process.planted JSON COMMAND
…`.

The JSON object has names of functions, such as `engine.log.event_log.EventLog.open`, and what is
to happen when one is first called, before it does its own work; `import server.serve` is the
import of a module. What happens is a number, a signal that the process sends itself, `"raise"`, or
`"hang"`: then the call blocks its thread. A name of a constant gets the value of a one-element
list.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from server.process import signals

IMPORT = "import "


class Planted(Exception):
    """Raised where somebody asked for it."""


def happen(what: object) -> None:
    """Have something happen."""
    if isinstance(what, int):
        os.kill(os.getpid(), what)
    elif what == "raise":
        raise Planted("planted")
    elif what == "hang":
        time.sleep(3600)


def plant(name: str, what: object) -> None:
    """Have something happen at the first call of a function, or give a constant a value."""
    path, _, last = name.rpartition(".")
    owner = find(path)
    if isinstance(what, list):
        setattr(owner, last, what[0])
        return
    usual: Callable[..., Any] = getattr(owner, last)
    todo = [what]

    @functools.wraps(usual)
    def planted(*arguments: Any, **options: Any) -> Any:
        if todo:
            happen(todo.pop())
        return usual(*arguments, **options)

    setattr(owner, last, planted)


def find(name: str) -> Any:
    """The module or the class of this full name."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, parts[end:], module)
    raise AttributeError(name)


class _OnImport(importlib.abc.MetaPathFinder):
    """Has something happen when a module is looked for."""

    def __init__(self, name: str, what: object) -> None:
        self._name = name
        self._todo = [what]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == self._name and self._todo:
            happen(self._todo.pop())
        return None


def main() -> None:
    """Plant, and run the program."""
    signals.install()  # as the program does it first
    plants = json.loads(sys.argv.pop(1))
    for name, what in plants.items():
        if name.startswith(IMPORT):
            sys.meta_path.insert(0, _OnImport(name.removeprefix(IMPORT), what))
        else:
            plant(name, what)
    from server import program

    program.run()


if __name__ == "__main__":
    main()
