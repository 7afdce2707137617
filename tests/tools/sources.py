"""The sources as a reader of imports sees them: modules, their layers, their rooms.

Import direction is server -> bench.load -> engine -> machines. Benchmarks other than the load
generator, and tests, stand outside: they may import everything, and nothing imports them.
"""

import ast
import dataclasses
import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
"""The checkout."""

LAYERS = ("machines", "engine", "bench.load", "server")
"""From the bottom to the top; each imports itself and what stands before it."""

OUTSIDE = ("bench", "tests")
"""Packages beside the layers."""


@dataclasses.dataclass(frozen=True)
class Module:
    """A source file, as `engine.stream.pump` and as its parts.

    It is read where its parts are asked for: every process that collects tests makes all modules.
    """

    name: str
    path: Path

    @functools.cached_property
    def source(self) -> str:
        """Its text."""
        return self.path.read_text(encoding="utf-8")

    @functools.cached_property
    def tree(self) -> ast.Module:
        """What it is parsed to."""
        return ast.parse(self.source, str(self.path))


def modules_of(*packages: str) -> list[Module]:
    """Every module of these packages."""
    return [module for package in packages for module in _modules_of(package)]


@functools.cache
def _modules_of(package: str) -> tuple[Module, ...]:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found.append(Module(name.removesuffix(".__init__"), path))
    return tuple(found)


PRODUCT = modules_of("machines", "engine", "bench", "server")
"""All but tests."""

NAMES = {module.name for module in PRODUCT}
"""What an import of ours may name."""


def imports_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a module imports, wherever it stands in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield node.lineno, name if name in NAMES else str(node.module)


def layer_of(name: str) -> str | None:
    """The layer of a dotted name; None outside the layers."""
    return next((layer for layer in LAYERS if f"{name}.".startswith(f"{layer}.")), None)


def room_of(name: str, depth: int = 1) -> str:
    """The folder of a module, as `engine.codex`; at the top of a layer the module itself.

    Args:
        depth: how many folders deep a room is below its layer: 2 for `engine.codex.turns`.
    """
    return ".".join(name.split(".")[: depth + 1])


@functools.cache
def room_imports(depth: int = 1) -> dict[str, set[str]]:
    """Of each room of the product those that it imports, without itself.

    Args:
        depth: as of `room_of`.
    """
    graph: dict[str, set[str]] = {}
    for module in PRODUCT:
        own = room_of(module.name, depth)
        known = {room_of(name, depth) for _, name in imports_of(module.tree) if name in NAMES}
        graph.setdefault(own, set()).update(known - {own})
    return graph


def resolve(path: str, name: str) -> Any:
    """What a page means by a file and a dotted name in it.

    Args:
        path: from the checkout's root, as `engine/stream/pump.py`.
    """
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    return functools.reduce(getattr, name.split("."), module)
