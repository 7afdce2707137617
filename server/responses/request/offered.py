"""The tools of a request as the model is offered them: functions alone, each by one name.

The problem: two namespaces may have tools of the same name, and a worker knows no namespace. A
tool of a namespace keeps its own name, which its client's instructions mention, unless another
tool has it too; then the namespace stands before it. The shape in which the client declared a tool
is kept beside: by it calls are given back as the client knows them
(`server.responses.render.items`), and earlier calls are shown to the model under the name that it
is offered now.

A conversation may declare tools anew with each request: the last declaration counts.
"""

import collections
import hashlib
import re
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from machines import tooloptions
from server.chat import request as chatbodies
from server.responses.request import declarations

SEPARATOR: Final = "__"
"""Stands between a namespace and a name, as in the names that Codex gives tools of MCP servers."""

NAME_MAX: Final = 64
"""Most characters of a name that is made here. Source: the API's own limit."""

_NO_NAME: Final = re.compile("[^a-zA-Z0-9_-]")
"""A character that such a name has not. Source: the same, which a namespace need not keep."""

DIGEST_BYTES: Final = 4
"""Bytes of the digest that stands for the rest of a longer name."""

Key = tuple[str | None, str]
"""The namespace and the name of a tool, by which its client knows it."""


class OfferedTools(msgspec.Struct, frozen=True):
    """The tools that the model may be offered.

    Attributes:
        functions: each with its path in the request, by the name that it is offered by.
        shapes: of those that their clients know otherwise, by that name.
        grammars: the paths of grammars that are asked for in words.
        names: by which the tools are offered.
        taken: all of these names.
    """

    functions: tuple[tuple[str, chatbodies.DeclaredFunction], ...] = ()
    shapes: dict[str, tooloptions.ToolShape] = {}
    grammars: tuple[str, ...] = ()
    names: dict[Key, str] = {}
    taken: frozenset[str] = frozenset()

    def name(self, namespace: str | None, name: str) -> str:
        """Return the name by which the model knows a tool, whether it is still offered or not.

        A client that leaves the namespace out means the tool that is offered by its bare name.
        """
        found = self.names.get((namespace, name))
        if found is not None:
            return found
        if namespace is None or name not in self.taken:
            return name
        return _joined(namespace, name, self.taken)

    def inside(self, namespace: str) -> frozenset[str]:
        """Return the names of the tools of a namespace, as they are offered."""
        return frozenset(
            offered for (group, _), offered in self.names.items() if group == namespace
        )

    def takes_text(self, namespace: str | None, name: str) -> bool:
        """Return whether a tool is offered that takes free text."""
        shape = self.shapes.get(self.name(namespace, name))
        return shape is not None and shape.kind == "custom"


def offer(declared: Iterable[declarations.Declared]) -> OfferedTools:
    """Give each tool the name by which it is offered.

    Args:
        declared: in the order in which they were; of a tool that is declared again the last
            declaration counts, in the place of the first.
    """
    latest = {(each.shape.namespace, each.shape.name): each for each in declared}
    counts = collections.Counter(name for _, name in latest)
    names = {key: key[1] for key in latest if key[0] is None or counts[key[1]] == 1}
    taken = set(names.values())
    for key in latest:
        if key not in names:
            assert key[0] is not None
            names[key] = _joined(key[0], key[1], taken)
            taken.add(names[key])
    functions, shapes = [], {}
    for key, each in latest.items():
        function = msgspec.structs.replace(each.function, name=names[key])
        functions.append((each.path, function))
        if each.shape != tooloptions.ToolShape(function.name):
            shapes[function.name] = each.shape
    grammars = tuple(f"{each.path}.format" for each in latest.values() if each.has_grammar)
    return OfferedTools(tuple(functions), shapes, grammars, names, frozenset(taken))


def _joined(namespace: str, name: str, taken: Collection[str]) -> str:
    """Return a name of both, which is not taken."""
    joined = f"{namespace}{SEPARATOR}{name}"
    fitting = _NO_NAME.sub("_", joined)
    found = fitting
    count = 0
    while len(found) > NAME_MAX or found in taken:
        salted = f"{joined} {count}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(salted, digest_size=DIGEST_BYTES).hexdigest()
        found = f"{fitting[: NAME_MAX - len(digest) - 1]}_{digest}"
        count += 1
    return found
