"""Docstrings are sentences: what can be held of that without reading them.

A docstring is read by someone who has never seen the code, in an editor's hint or on its own. So
it begins like a sentence and ends like one, and it does not begin in the middle of a thought: "Of
one pipe." and "What is left." say something only to whoever wrote them.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.tools.sources import PRODUCT, Module

FRAGMENTS = ("Of", "As", "What", "Who", "Those", "Nothing", "Same", "Likewise")
"""Words that docstrings began with which had no verb of their own."""

BEGINS = re.compile(r"[A-Z`{0-9/]")
ENDS = re.compile(r"[.:?]$|\.\)$")

_Defined = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(module: Module) -> Iterator[tuple[int, str]]:
    """Line and text of each public docstring, those under constants and fields too."""
    text = ast.get_docstring(module.tree)
    if text is not None:
        yield 1, text
    yield from _within(module.tree)


def _within(node: ast.Module | ast.ClassDef) -> Iterator[tuple[int, str]]:
    before: ast.stmt | None = None
    for each in node.body:
        if isinstance(each, _Defined) and not each.name.startswith("_"):
            text = ast.get_docstring(each)
            if text is not None:
                yield each.lineno, text
            if isinstance(each, ast.ClassDef):
                yield from _within(each)
        elif isinstance(before, ast.Assign | ast.AnnAssign):
            match each:
                case ast.Expr(ast.Constant(str(text))):
                    yield each.lineno, text
        before = each


def summary(text: str) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(text.partition("\n\n")[0].split())


@pytest.mark.parametrize("module", PRODUCT, ids=lambda module: module.name)
def test_docstrings_begin_and_end_like_sentences(module: Module) -> None:
    wrong = []
    for line, text in docstrings(module):
        first = summary(text)
        if not BEGINS.match(first) or not ENDS.search(first):
            wrong.append(f"{module.path}:{line}: {first}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", PRODUCT, ids=lambda module: module.name)
def test_docstrings_do_not_begin_in_the_middle_of_a_thought(module: Module) -> None:
    wrong = []
    for line, text in docstrings(module):
        first = summary(text)
        if re.split(r"\W", first, maxsplit=1)[0] in FRAGMENTS:
            wrong.append(f"{module.path}:{line}: {first}")
    assert not wrong, "\n".join(wrong)
