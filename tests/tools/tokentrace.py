"""Traces the trip of one token through the program, for `docs/token-path.md`.

A delta is fed to the real objects of a server in motion, and each call of our own code is noted on
the way. Neither time nor load has a part in it: of several trips the shortest counts, since all
that a clock can add is what happens once a second, such as the log's look at its files.
"""

import asyncio
import functools
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, cast

import structlog.testing
import uvloop

from bench import tokenpath
from engine import rpcfigures
from engine.codex import sharedlogin, tenant
from engine.codex.child import process
from machines import supervisor
from server import assembly
from server.config import load as configuration
from tests.tools.tokenwords import WORDS

ROOT: Final = Path(__file__).parents[2]

LAYERS: Final = ("engine", "machines", "server")
"""The folders whose code is traced."""

TRIPS: Final = 5
"""How many are traced; in at least one of them no second is over."""

FLUSH: Final = "Wakeups._end"
"""The call that the second movement begins with."""

UNSENT: Final = "Outbound._left_behind"
"""What follows a write that is not sent at once. uvloop 0.21 sends in the loop's next round, later
releases at once: so what happens in here is no part of the trip."""

INLINED: Final = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
"""Parts of a function that are calls in some versions of Python only, or many calls."""


class Call(NamedTuple):
    """A call of our own code.

    Attributes:
        file: from the root.
        function: with its class.
        caller: the file of the nearest of our own calls that it was made in; empty for the first.
    """

    file: str
    function: str
    caller: str


class Trip(NamedTuple):
    """The two movements of a token."""

    take: tuple[Call, ...]
    flush: tuple[Call, ...]


class ChildTransport:
    """The transport of a child that nobody started, and the transport of each of its pipes."""

    def get_pid(self) -> int:
        """The id of no process."""
        return 0

    def get_pipe_transport(self, _: int) -> "ChildTransport":
        """The pipes are itself."""
        return self

    def write(self, _: bytes) -> None:
        """Nobody reads."""

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


@functools.cache
def trip() -> Trip:
    """The trip of a token that is not its stream's first, the only one of its wake-up."""
    with structlog.testing.capture_logs(), tempfile.TemporaryDirectory() as directory:
        calls = uvloop.run(_shortest(Path(directory)))
    middle = [call.function for call in calls].index(FLUSH)
    return Trip(tuple(calls[:middle]), tuple(calls[middle:]))


async def _shortest(directory: Path) -> list[Call]:
    """The calls of the shortest of some trips."""
    trips: list[list[Call]] = []
    async with tokenpath.running(directory, streams=1) as path:
        child = _child(directory, path)
        line = path.burst(1)
        while len(trips) < TRIPS:
            calls: list[Call] = []
            sys.setprofile(functools.partial(_note, calls))
            try:
                child.pipe_data_received(1, line)
            finally:
                sys.setprofile(None)
            trips.append(calls)
            await asyncio.sleep(0)  # the round of the loop in which the transport sends
            assert path.received() == 1
    return min(trips, key=len)


def _child(directory: Path, path: tokenpath.TokenPath) -> process.Process:
    """A process whose output goes where the path begins."""
    settings, _ = configuration.load({"PROXY_DATA_DIR": str(directory)})
    options = assembly.codex_options(settings)
    rpc = rpcfigures.RpcFigures()
    read = path.wakeups.read
    shared = sharedlogin.SharedLogin(None, options.login_link)
    codex = tenant.AppServer("codex-0", options, lambda: None, read, lambda *_: None, rpc, shared)
    command = process.Command((), {}, str(directory))
    child = process.Process("codex-0", command, supervisor.Limits(), codex, lambda *_: None)
    child._connect(cast(asyncio.SubprocessTransport, ChildTransport()))
    codex.channel = path.channel
    return child


def _note(calls: list[Call], frame: FrameType, event: str, _: Any) -> None:
    """Note a call of our own code: what `sys.setprofile` calls."""
    file = _file(frame.f_code)
    if event != "call" or file is None:
        return
    caller: str | None = None
    outer = frame.f_back
    while outer is not None and caller is None:
        if outer.f_code.co_qualname == UNSENT:
            return
        caller, outer = _file(outer.f_code), outer.f_back
    function = frame.f_code.co_qualname.partition(".<locals>")[0]
    if function == UNSENT:
        return
    calls.append(Call(file, function, caller or ""))


@functools.cache
def _file(code: CodeType) -> str | None:
    """The file of our own that a code is from; None where it is not ours."""
    path = Path(code.co_filename)
    if code.co_name in INLINED or not path.is_relative_to(ROOT):
        return None
    file = path.relative_to(ROOT)
    return file.as_posix() if file.parts[0] in LAYERS else None


def changes(calls: tuple[Call, ...]) -> int:
    """How often two calls that follow each other are in different files."""
    return sum(one.file != other.file for one, other in itertools.pairwise(calls))


def figures() -> str:
    """How long the trip is."""
    take, flush = trip()
    calls = take + flush
    files = len({call.file for call in calls})
    return (
        f"One delta makes {len(calls)} calls in {files} files, with {changes(calls)} changes of "
        f"file:\n{len(take)} calls to take it, {len(flush)} to flush it."
    )


def table(calls: tuple[Call, ...]) -> str:
    """A row a call, in order."""
    rows = [
        f"| `{call.file}` | `{call.function}` | {WORDS.get(call.function, '')} |" for call in calls
    ]
    return "\n".join(
        ["| file | function | what happens to the token |", "| --- | --- | --- |", *rows]
    )


def picture() -> str:
    """A Mermaid sequence diagram of the calls that lead from one room to another."""
    take, flush = trip()
    arrows = [*_arrows("take", take), *_arrows("flush", flush)]
    rooms = dict.fromkeys(_room(call.file) for call in take + flush)
    lines = [f"participant {_key(room)} as {room}" for room in rooms]
    return "\n    ".join(["sequenceDiagram", *lines, *arrows])


def _arrows(movement: str, calls: tuple[Call, ...]) -> Iterator[str]:
    yield f"Note over {_key(_room(calls[0].file))}: {movement}"
    for call in calls:
        room, caller = _room(call.file), _room(call.caller)
        if call.caller and room != caller:
            yield f"{_key(caller)}->>{_key(room)}: {call.function}"


def _room(file: str) -> str:
    """The folder that a file is in."""
    return file.rpartition("/")[0]


def _key(room: str) -> str:
    """A room as a diagram's identifier."""
    return room.replace("/", "_")


def block() -> str:
    """What the page prints of it."""
    take, flush = trip()
    parts = [
        figures(),
        f"```mermaid\n{picture()}\n```",
        f"Take:\n\n{table(take)}",
        f"Flush:\n\n{table(flush)}",
    ]
    return "\n\n".join(parts)
