"""Runs the checks of ranges in processes of their own.

A child is a new interpreter (`spawn`): what this process has open or running is none of its
business. It ignores an interrupt, which a terminal sends to it too: it ends with its parent, for
whose end it has a sign at every `TELL_BYTES`, when nobody reads its pipe any more.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Final

from engine.log import replay
from engine.log.check import ranges
from machines import parse

TELL_BYTES: Final = 1 << 20
"""Bytes that a child reads between two times that it tells of them."""

Check = Callable[[Path, ranges.Range, replay.MakeRenderer, ranges.Tell], ranges.Checked]
"""Checks a range: `ranges.check`, but for tests."""


class ChildDied(Exception):
    """Raised where a child ended before it had checked its range.

    Args:
        status: its exit status; below zero the number of the signal that ended it.
    """

    def __init__(self, status: int | None) -> None:
        how = f"by signal {-status}" if status is not None and status < 0 else f"with {status}"
        super().__init__(
            f"a process that checked a part of the log ended {how}, before it was done"
        )


def run(
    path: Path,
    parts: Sequence[ranges.Range],
    make_renderer: replay.MakeRenderer,
    tell: ranges.Tell,
    check: Check = ranges.check,
) -> list[ranges.Checked]:
    """Check ranges of a log at the same time, and return what was found, in their order.

    Args:
        make_renderer: a function of a module, by whose name a child finds it.

    Raises:
        Unsound: there is something wrong with one of them.
        ChildDied: a child was killed, or could not begin.
    """
    context = multiprocessing.get_context("spawn")
    pipes: dict[connection.Connection, int] = {}
    children = []
    try:
        for number, part in enumerate(parts):
            ours, theirs = context.Pipe(duplex=False)
            child = context.Process(
                target=_work, args=(theirs, path, part, make_renderer, check), daemon=True
            )
            child.start()
            theirs.close()
            children.append(child)
            pipes[ours] = number
        found: dict[int, ranges.Checked] = {}
        while pipes:
            for pipe in connection.wait(list(pipes)):
                assert isinstance(pipe, connection.Connection)
                try:
                    received = pipe.recv()
                except EOFError:
                    child = children[pipes[pipe]]
                    child.join()
                    raise ChildDied(child.exitcode) from None
                if isinstance(received, int):
                    tell(received)
                    continue
                if received is None:
                    raise ranges.Unsound
                found[pipes.pop(pipe)] = received
        return [found[number] for number in range(len(parts))]
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.join()


def _work(
    pipe: connection.Connection,
    path: Path,
    part: ranges.Range,
    make_renderer: replay.MakeRenderer,
    check: Check,
) -> None:
    """Check one range, and send how far it is, then what was found; None: it is not to be had."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parse.allow_depth()
    waiting = 0

    def tell(read: int) -> None:
        nonlocal waiting
        waiting += read
        if waiting >= TELL_BYTES:
            pipe.send(waiting)
            waiting = 0

    with contextlib.suppress(BrokenPipeError):
        try:
            found: ranges.Checked | None = check(path, part, make_renderer, tell)
        except (ranges.Unsound, OSError):  # the parent will come to it by itself, and say it
            found = None
        pipe.send(waiting)
        pipe.send(found)
