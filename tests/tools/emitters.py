"""Every line of the diagnostics that the product can write, found in its sources."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from tests.tools import sources

METHODS = ("debug", "info", "warning", "error", "critical", "exception", "log")
"""What structlog's loggers are called by."""


class Emitter(NamedTuple):
    """One call of a logger.

    Attributes:
        where: file and line.
        component: that the logger is bound to; None where it is no plain text.
        method: of `METHODS`; `log` takes its severity when it runs.
        events: the names that it may be called with; empty where they are no plain texts.
        fields: those that it names; a `**` adds others when it runs.
    """

    where: str
    component: str | None
    method: str
    events: tuple[str, ...]
    fields: tuple[str, ...]


def found() -> list[Emitter]:
    """Return every call of a logger in the product."""
    return [each for module in sources.PRODUCT for each in in_module(module)]


def in_module(module: sources.Module) -> Iterator[Emitter]:
    """Find the calls of loggers in one module."""
    if "structlog" not in module.source:  # a module makes its own; most have none
        return
    loggers = _loggers(module.tree)
    functions = [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef)]
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        callee = node.func
        made = callee.value
        component = loggers.get(ast.unparse(made))
        if isinstance(made, ast.Call) and _makes_logger(made):
            component = _component(made)
        elif ast.unparse(made) not in loggers:
            continue
        if callee.attr not in METHODS:
            continue
        position = 1 if callee.attr == "log" else 0
        text = node.args[position]
        around = [each for each in functions if node in ast.walk(each)]
        yield Emitter(
            f"{module.path.relative_to(sources.ROOT)}:{node.lineno}",
            component,
            callee.attr,
            tuple(_texts(text, around)),
            tuple(each.arg for each in node.keywords if each.arg is not None),
        )


def _loggers(tree: ast.Module) -> dict[str, str | None]:
    """The loggers of a module as they are spelled, such as `_log` or `self._line`, each with its
    component."""
    loggers: dict[str, str | None] = {}
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    for node in assigned:
        if isinstance(node.value, ast.Call) and _makes_logger(node.value):
            loggers |= {ast.unparse(target): _component(node.value) for target in node.targets}
    for node in assigned:  # bound ones, of the same component
        call = node.value
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "bind"
            and ast.unparse(call.func.value) in loggers
        ):
            component = loggers[ast.unparse(call.func.value)]
            loggers |= {ast.unparse(target): component for target in node.targets}
    return loggers


def _makes_logger(call: ast.Call) -> bool:
    return ast.unparse(call.func) == "structlog.get_logger"


def _component(call: ast.Call) -> str | None:
    for keyword in call.keywords:
        if keyword.arg == "component" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return None


def _texts(node: ast.expr, around: list[ast.FunctionDef]) -> Iterator[str]:
    """The texts that an expression may be: its own, or those that its variable is given."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name):
        for function in around:
            for each in ast.walk(function):
                if isinstance(each, ast.Assign):
                    yield from _given(node.id, each.targets[0], each.value)


def _given(name: str, target: ast.expr, value: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its in zip(target.elts, value.elts, strict=True):
            yield from _given(name, one, its)
    elif isinstance(target, ast.Name) and target.id == name and isinstance(value, ast.Constant):
        yield str(value.value)
