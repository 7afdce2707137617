"""A client's functions as Codex's dynamic tools, by names that it keeps.

Codex refuses a thread for one name that it does not like, and drops some functions without a
word (`docs/codex.md`). So such names are mapped there and back, and the others stay as they are.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Collection
from typing import Final

from engine import slices, worker
from engine.codex.protocol import appserver
from engine.codex.request import schemahints, toolschema

NAME: Final = re.compile(r"(?!mcp(__|$))[a-zA-Z0-9_-]{1,64}")
"""Names that Codex and the API take: `mcp` and `mcp__…` are reserved, and 64 is the API's longest;
`thread/start` takes 128."""

BUILT_IN: Final = frozenset(
    (
        "apply_patch",
        "close_agent",
        "create_goal",
        "exec_command",
        "get_goal",
        "list_agents",
        "request_permissions",
        "request_user_input",
        "resume_agent",
        "send_input",
        "shell_command",
        "spawn_agent",
        "tool_search",
        "update_goal",
        "update_plan",
        "view_image",
        "wait_agent",
        "web_search",
        "write_stdin",
    )
)
"""Codex's own functions: a client's by the name of one that is on is silently missing, by
`exec_command` and `shell_command` even where they are off."""

STEM_CHARACTERS: Final = 48
"""Characters that an alias keeps of a name; with its digest it is within the 64 of most
providers."""

LEVELS: Final = 3 + toolschema.JSON_LEVELS
"""Levels of JSON that `thread/start` has with any functions."""

NAME_CHARACTERS: Final = 200
"""Most characters of an aliased function's real name that its description gives."""


class Toolset:
    """The functions of one turn. A name has the same alias in every turn, in whatever order.

    Args:
        tools: of several by one name the first counts.

    Attributes:
        dynamic_tools: for `thread/start`, in the client's order; none before `describe` has run.
    """

    def __init__(self, tools: tuple[worker.Tool, ...]) -> None:
        declared: dict[str, worker.Tool] = {}
        for tool in tools:
            declared.setdefault(tool.name, tool)
        self._aliases = {name: name for name in declared if _passes(name)}
        self._names = dict(self._aliases)
        for name in sorted(declared.keys() - self._aliases.keys()):
            alias = self._aliases[name] = _alias(name, self._names)
            self._names[alias] = name
        self.dynamic_tools: tuple[appserver.DynamicTool, ...] = ()
        self._declared = tuple(declared.values())

    def describe(self) -> slices.Steps[None]:
        """Reduce the functions' schemas to what Codex takes."""
        found = []
        for tool in self._declared:
            found.append((yield from self._dynamic_tool(tool)))
            yield
        self.dynamic_tools = tuple(found)

    def alias(self, name: str) -> str:
        """Return the name by which Codex knows a function, also one of an earlier answer that is
        gone since."""
        known = self._aliases.get(name)
        if known is not None:
            return known
        if _passes(name) and name not in self._names:
            return name
        return _alias(name, self._names)

    def name(self, alias: str) -> str:
        """The client's name of a function; what is no alias is returned as it is."""
        return self._names.get(alias, alias)

    def declares(self, alias: str) -> bool:
        """Whether Codex was told of a function by this alias."""
        return alias in self._names

    def _dynamic_tool(self, tool: worker.Tool) -> slices.Steps[appserver.DynamicTool]:
        alias = self._aliases[tool.name]
        also = "" if alias == tool.name else f"Also called {tool.name[:NAME_CHARACTERS]}"
        schema, words = yield from toolschema.reduce(tool.parameters)
        description = "\n\n".join(filter(None, (tool.description, also, words)))
        return appserver.DynamicTool(alias, schemahints.well_formed(description), schema)


def _passes(name: str) -> bool:
    return name not in BUILT_IN and NAME.fullmatch(name) is not None


def _alias(name: str, taken: Collection[str]) -> str:
    """A name that Codex takes, close to the client's, and not taken."""
    stem = re.sub(r"[^a-zA-Z0-9-]+", "_", name)[:STEM_CHARACTERS].strip("_") or "function"
    salted = (json.dumps([name, salt]).encode() for salt in itertools.count())
    digests = (hashlib.blake2b(text, digest_size=4).hexdigest() for text in salted)
    return next(alias for digest in digests if (alias := f"{stem}_{digest}") not in taken)
