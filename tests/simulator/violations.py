"""Which rules a check has, read from its source, and which of them a test has seen fail.

A rule is a place that raises `answers.Broken`.
"""

import ast
import contextlib
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock

from tests.simulator import answers


class Raised:
    """The places where `answers.Broken` was raised."""

    def __init__(self) -> None:
        self._lines: set[tuple[str, int]] = set()

    def note(self, broken: Exception, *arguments: Any) -> None:
        """An exception is made, two calls above."""
        Exception.__init__(broken, *arguments)
        frame = sys._getframe(2)
        self._lines.add((frame.f_code.co_filename, frame.f_lineno))

    def missing(self, module: ModuleType) -> list[str]:
        """The rules of a module that did not fail, as they stand there."""
        source = inspect.getsource(module)
        lines = {line for name, line in self._lines if name == module.__file__}
        return [
            f"line {rule.lineno}: {ast.unparse(rule)}"
            for rule in ast.walk(ast.parse(source))
            if isinstance(rule, ast.Raise)
            and _is_broken(rule)
            and lines.isdisjoint(range(rule.lineno, (rule.end_lineno or rule.lineno) + 1))
        ]


def _is_broken(rule: ast.Raise) -> bool:
    raised = rule.exc.func if isinstance(rule.exc, ast.Call) else None
    return raised is not None and ast.unparse(raised) in ("Broken", "answers.Broken")


@contextlib.contextmanager
def noted() -> Iterator[Raised]:
    """Note where rules are broken in a block."""
    raised = Raised()

    def instead(broken: Exception, *arguments: Any) -> None:
        raised.note(broken, *arguments)

    with mock.patch.object(answers.Broken, "__init__", instead):
        yield raised
