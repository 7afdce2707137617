"""A thing has one name: modules where they are imported, and states where they are compared.

A reader who searches for a module by the name that one file has for it finds every use of it. And
a state is a member of an enum, so that a misspelled one is an error at import and not a comparison
that is never true. Words that come from outside or go there (a setting's values, the log's
records, the fields of an API) stay words: their types are declared once, as an alias of a module
or as a field.
"""

import ast
import collections
from collections.abc import Iterator

import pytest

from tests.tools.sources import PRODUCT, Module, modules_of

EVERYWHERE = [*PRODUCT, *modules_of("tests")]


def imported(module: Module, known: set[str]) -> Iterator[tuple[str, str]]:
    """Each module of ours that a module imports, and the name that it has there."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                if f"{node.module}.{each.name}" in known:
                    yield f"{node.module}.{each.name}", each.asname or each.name


def test_a_module_has_one_name_wherever_it_is_imported() -> None:
    known = {module.name for module in EVERYWHERE}
    names: dict[str, dict[str, list[str]]] = collections.defaultdict(dict)
    for module in EVERYWHERE:
        for found, name in imported(module, known):
            names[found].setdefault(name, []).append(module.name)
    several = {found: each for found, each in names.items() if len(each) > 1}
    assert not several, "\n".join(f"{found}: {each}" for found, each in several.items())


def in_bodies(tree: ast.Module) -> Iterator[ast.Subscript]:
    """Each `Literal[…]` inside of a function: of arguments, results, locals, attributes."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                match node:
                    case ast.Subscript(ast.Name("Literal")):
                        yield node


@pytest.mark.parametrize("module", PRODUCT, ids=lambda module: module.name)
def test_no_function_makes_up_words_for_states(module: Module) -> None:
    lines = [f"{module.path}:{node.lineno}" for node in in_bodies(module.tree)]
    assert not lines, f"declare an enum, or name the type: {lines}"
