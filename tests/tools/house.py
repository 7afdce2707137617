"""The map of the house: which room imports which, and what each says of itself.

A room is a folder of a layer. The modules at the top of a layer are many, and stand between its
rooms: some are what every room uses, some put all rooms together. So those that stand on as many
storeys of rooms are one node: then no arrow leads up, nor in a circle, unless an import does.
"""

import ast
import functools
import graphlib
import textwrap
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from tests.tools import sources

LABEL_CHARACTERS: Final = 36
"""How wide the names of a node of modules may be, in characters."""

SHARED: Final = ("tests/simulator", "tests/support", "tests/tools")
"""Packages of tests that have rooms, or are some."""


class Node(NamedTuple):
    """What is drawn as one: a room, or the modules of a layer's top that are on one storey.

    Attributes:
        storey: how many rooms of its own layer stand upon each other below it.
        modules: of a node of modules those in it; of a room none.
    """

    layer: str
    storey: int
    name: str
    modules: tuple[str, ...]

    @property
    def rank(self) -> tuple[int, int, bool]:
        """Its place from the bottom: on a storey, rooms stand upon modules."""
        return sources.LAYERS.index(self.layer), self.storey, not self.modules


@functools.cache
def nodes() -> dict[str, Node]:
    """The node of each room, the highest first.

    Raises:
        CycleError: rooms import each other.
    """
    imports = sources.room_imports()
    found: dict[str, Node] = {}
    above: dict[tuple[str, int], list[str]] = {}
    storeys: dict[str, int] = {}
    for room in graphlib.TopologicalSorter(imports).static_order():
        layer = sources.layer_of(room)
        if layer is None or "." not in room:
            continue
        own = {name for name in imports[room] if sources.layer_of(name) == layer}
        storeys[room] = max((storeys[name] + _is_folder(name) for name in own), default=0)
        if _is_folder(room):
            found[room] = Node(layer, storeys[room], room, ())
        else:
            above.setdefault((layer, storeys[room]), []).append(room)
    for (layer, storey), modules in above.items():
        names = tuple(sorted(modules))
        node = Node(layer, storey, f"{layer} {storey}", names)
        found |= dict.fromkeys(names, node)
    return dict(sorted(found.items(), key=lambda item: (item[1].rank, item[0]), reverse=True))


def arrows() -> set[tuple[Node, Node]]:
    """The imports between nodes, less those that others imply.

    Raises:
        CycleError: an import leads up, and so back to where it came from.
    """
    places, imports = nodes(), sources.room_imports()
    graph: dict[Node, set[Node]] = {}
    for room, node in places.items():
        known = {places[name] for name in imports[room] if name in places}
        graph.setdefault(node, set()).update(known - {node})
    return set(_needed(graph))


def _needed(graph: Mapping[Node, set[Node]]) -> Iterator[tuple[Node, Node]]:
    """The edges of a graph without circles that no longer way replaces."""

    reached: dict[Node, frozenset[Node]] = {}
    for node in graphlib.TopologicalSorter(graph).static_order():
        reached[node] = frozenset(graph[node]).union(*(reached[each] for each in graph[node]))
    for node, known in graph.items():
        implied = frozenset[Node]().union(*(reached[each] for each in known))
        yield from ((node, each) for each in known - implied)


def _is_folder(room: str) -> bool:
    return (sources.ROOT / room.replace(".", "/")).is_dir()


def picture() -> str:
    """A Mermaid flowchart of the rooms, the highest layer and storey first."""
    drawn = list(dict.fromkeys(nodes().values()))
    lines = ["```mermaid", "flowchart TB"]
    for layer in reversed(sources.LAYERS):
        lines.append(f'    subgraph {_id(layer)}_layer["{layer}"]')
        lines += [f"        {_node(node)}" for node in drawn if node.layer == layer]
        lines.append("    end")
    places = {node: place for place, node in enumerate(drawn)}
    ordered = sorted(arrows(), key=lambda arrow: (places[arrow[0]], places[arrow[1]]))
    lines += [f"    {_id(upper.name)} --> {_id(lower.name)}" for upper, lower in ordered]
    return "\n".join([*lines, "```"])


def _node(node: Node) -> str:
    if not node.modules:
        return f'{_id(node.name)}["{node.name.rpartition(".")[2]}/"]'
    names = [module.rpartition(".")[2] for module in node.modules]
    label = "<br/>".join(textwrap.wrap(", ".join(names), LABEL_CHARACTERS))
    return f'{_id(node.name)}("{label}")'


def _id(name: str) -> str:
    """A name as Mermaid takes it: a bare word, and none of its own."""
    return name.replace(".", "_").replace(" ", "_")


def table() -> str:
    """A Markdown table of the rooms: what lives in each, and what may come in."""
    lines = ["| room | what lives there | what may come in |", "| --- | --- | --- |"]
    lines += [f"| `{room}` | {' | '.join(texts)} |" for room, texts in rooms().items()]
    return "\n".join(lines)


def rooms() -> dict[str, tuple[str, str]]:
    """The first two paragraphs of each room's docstring, by its folder; layers before rooms."""
    tops = [layer for layer in reversed(sources.LAYERS) if "." not in layer]
    found = {}
    for top in (*tops, *SHARED):
        for path in sorted((sources.ROOT / top).rglob("__init__.py")):
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            lives, enters = (" ".join(text.split()) for text in [*docstring.split("\n\n"), ""][:2])
            found[f"{path.parent.relative_to(sources.ROOT).as_posix()}/"] = lives, enters
    return found
