"""Streams with blocks of `<use_tool>`, for the tests of what becomes of calls."""

from typing import Any

from machines import events, tooloptions
from machines.events import TextDelta
from machines.outputs import Head, Role
from tests.support.machines.playbook import Playbook, opened


def tools(**options: Any) -> events.Opened:
    """A stream with options of tools."""
    return opened(tools=tooloptions.ToolOptions(names=("a", "b"), **options))


def block(name: str, value: int = 1) -> str:
    return f"<use_tool><name>{name}</name><x>{value}</x></use_tool>"


ONE = '{"x":"1"}'
"""The arguments of a `block`."""


def called(*blocks: str, first: events.Opened) -> Playbook:
    """A stream with these blocks as its text; nothing is expected of them yet."""
    return Playbook(first) >> TextDelta("".join(blocks)) << Head() << Role()
