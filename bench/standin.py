"""A stand-in for `codex app-server`: its script, and a program to give to `CODEX_BIN` for it."""

import shlex
import sys
from pathlib import Path
from typing import Final, Literal

import msgspec

from bench import appframes

GARBAGE: Final = "panicked at 'not JSON'"
"""A line that is no JSON-RPC."""

APPROVAL: Final = (
    '{"id":0,"method":"item/commandExecution/requestApproval","params":'
    '{"threadId":"{thread}","turnId":"{turn}","itemId":"call_1","command":"rm -rf /"}}'
)
"""A request to the client: may a command run?"""

ELICITATION: Final = (
    '{"id":1,"method":"mcpServer/elicitation/request","params":'
    '{"threadId":"{thread}","turnId":"{turn}","serverName":"files","mode":"form",'
    '"message":"Which one?","requestedSchema":{"type":"object","properties":{}}}}'
)
"""A request to the client: what does its user say?"""

EVERYTHING: Final = "*"
"""In `Scenario.deaf`: no line is answered."""

Ending = Literal["completed", "exit", "exit_whole", "exit_mid_line", "endless", "silent"]
"""The ends of a turn after its last delta: the proper one; an exit, at once, or after the item was
completed, or in the middle of a line; the completed item and no end; no more at all."""


class Turn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one turn goes.

    Attributes:
        deltas: how many there are.
        texts: of the deltas, from the first again after the last.
        stamped: each delta's text is instead its time and number: see `bench.pacing.stamp`.
        interval: seconds from one delta to the next; 0: as fast as the client reads.
        burst: with no interval, deltas of a turn in one write, before another turn's.
        before: lines that come before the first delta, `{thread}` and `{turn}` in them replaced.
        stderr_lines: written before the first delta.
        line_bytes: length that each delta's line is brought to by a longer text; 0: as it is.
        cuts: where each delta's line is cut; a piece follows when the last one has been read.
        instead: what is written in place of a delta's line, by its number from 0, `{thread}` and
            `{turn}` in it replaced. Its text counts as said.
        in_step: so many turns begin together, and each write holds a line of every one of them.
    """

    deltas: int = 8
    texts: tuple[str, ...] = ("token ",)
    stamped: bool = False
    interval: float = 0.0
    burst: int = 64
    before: tuple[str, ...] = ()
    stderr_lines: int = 0
    line_bytes: int = 0
    cuts: tuple[int, ...] = ()
    instead: dict[int, bytes] = {}
    in_step: int = 0
    ending: Ending = "completed"


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one process goes.

    Attributes:
        turn: how turns go.
        turns: how those go whose last message is the key.
        version: what it says that it is.
        exits_at_once: exit status, where it does nothing else.
        handshake_delay: seconds before `initialize` is answered.
        deaf: methods that are never answered, or `EVERYTHING`.
        overloads: how many times methods are refused as overloaded.
        logged_out: whether nobody is logged in; a login that is begun has a link, and no end.
    """

    turn: Turn = Turn()
    turns: dict[str, Turn] = {}
    version: str = "0.163.0"
    exits_at_once: int | None = None
    handshake_delay: float = 0.0
    deaf: tuple[str, ...] = ()
    overloads: dict[str, int] = {}
    logged_out: bool = False


SCENARIOS: Final = "scenarios.json"
"""File of an installed stand-in: what each of its processes does."""

STARTS: Final = "starts"
"""File of an installed stand-in: a line for each process, with its id."""

RECEIVED: Final = "received.jsonl"
"""File of an installed stand-in: every line that its processes were sent."""


LISTING: Final = "models.json"
"""File of an installed stand-in: what `debug models --bundled` writes."""


def install(directory: Path, *scenarios: Scenario) -> Path:
    """Make a program that stands in for Codex, and give its path.

    Args:
        directory: where the program and its files are put.
        scenarios: of its first process, of its second; the last for all that follow.
    """
    (directory / SCENARIOS).write_bytes(msgspec.json.encode(scenarios or (Scenario(),)))
    program = directory / "codex"
    command = shlex.join((sys.executable, "-m", "bench.appserver", "--from", str(directory)))
    root = shlex.quote(str(Path(__file__).parents[1]))
    listing = directory / LISTING
    listing.write_bytes(msgspec.json.encode({"models": list(map(_listed, appframes.MODELS))}))
    program.write_text(
        f'#!/bin/sh\n[ "$1" = debug ] && exec cat {shlex.quote(str(listing))}\n'
        f'PYTHONPATH={root} exec {command} "$@"\n'
    )
    program.chmod(0o755)
    return program


def _listed(slug: str) -> dict[str, object]:
    """A row of `codex debug models --bundled`, with the members that are read."""
    return {
        "slug": slug,
        "display_name": slug,
        "supported_reasoning_levels": [{"effort": "low"}, {"effort": "high"}],
        "visibility": "list",
        "priority": 1,
        "context_window": 272_000,
        "input_modalities": ["text", "image"],
    }


def next_scenario(directory: Path, pid: int) -> Scenario:
    """The scenario of a process that begins now."""
    with (directory / STARTS).open("a+") as starts:
        starts.write(f"{pid}\n")
        starts.seek(0)
        started = len(starts.readlines())
    scenarios = msgspec.json.decode(
        (directory / SCENARIOS).read_bytes(), type=tuple[Scenario, ...]
    )
    return scenarios[min(started, len(scenarios)) - 1]


def starts(directory: Path) -> list[int]:
    """Ids of the processes that an installed stand-in has had."""
    path = directory / STARTS
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def received(directory: Path) -> list[dict[str, object]]:
    """Read the lines that the processes of an installed stand-in were sent."""
    lines = (directory / RECEIVED).read_bytes().splitlines()
    return [msgspec.json.decode(line, type=dict[str, object]) for line in lines]
