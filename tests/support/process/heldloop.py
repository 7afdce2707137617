"""How long the server holds its event loop: `python -m tests.support.process.heldloop serve …`,
and who runs it.

    with heldloop.running("--worker", "upstream", PROXY_UPSTREAM_URL=url) as server:
        held = server.post_and_measure("/chat/completions", body)
        assert held.longest_ms < heldloop.LIMIT_MS

It is the command line as it is, on asyncio's own loop, whose callbacks can be measured one by one:
on SIGUSR1 it says on stderr how much CPU time of the loop's thread the longest took since it was
asked last. CPU time does not depend on how many others want the processor, but on who shares its
caches and its clock: so a fixed piece of work is timed at the same moment, and the milliseconds
are those of a processor that does it in `REFERENCE_MS`.
"""

import asyncio
import contextlib
import json
import math
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from engine import slices
from server.cli import command_line as cli
from server.process import eventloop
from tests.support.client import httpclient
from tests.support.process import serving

HELD: Final = "loop_held"
"""The event of a line that tells the longest callback."""

SLICE_S: Final = "HELDLOOP_SLICE_S"
"""The variable for how long a slice of long work is, where it is not the server's own."""

UNSLICED: Final = "HELDLOOP_UNSLICED"
"""The variable that has long work done in one go, to see what that would cost."""

LIMIT_MS: Final = 50.0
"""CPU time that one callback may take for a body of up to a MiB, whatever is in it."""

REFERENCE_MS: Final = 4.0
"""CPU time of `_reference` on the processor that `LIMIT_MS` was measured on, when it was idle."""

TRIES: Final = 8
"""How often a body is measured at the most, where it seemed to take too long."""

WAIT_S: Final = 120.0


class Held(NamedTuple):
    """What a request cost the loop.

    Attributes:
        longest_ms: CPU time of the longest callback, on the processor of `REFERENCE_MS`.
        total_ms: of all of them.
        where: the longest one.
    """

    status: int
    body: bytes
    longest_ms: float
    total_ms: float
    where: str

    @property
    def error(self) -> dict[str, Any]:
        """The error of an answer that is one."""
        return dict(json.loads(self.body)["error"])


class MeasuredServe(serving.Serve):
    """A server process that says how long it held its loop."""

    module = "tests.support.process.heldloop"

    asked_by = signal.SIGUSR1
    """The signal that asks for the longest callback."""

    def longest(self) -> dict[str, Any]:
        """The longest callback since the last call."""
        before = self._said()
        self.process.send_signal(self.asked_by)
        deadline = time.monotonic() + WAIT_S
        while len(said := self._said()) == len(before):
            assert time.monotonic() < deadline, "no answer to the signal"
            threading.Event().wait(0.005)
        return said[-1]

    def measure(self, path: str, body: bytes) -> Held:
        """Post a body, and see what it cost until its answer was there."""
        self.longest()
        response = httpclient.ask(self.url, "POST", path, body)
        found = self.longest()
        held = (found["longest_ms"], found["total_ms"], found["where"])
        return Held(response.status, response.body, *held)

    def measure_least(self, path: str, body: bytes, limit: float = LIMIT_MS) -> Held:
        """The least that a body cost in some tries: who shares the processor makes any one of them
        longer, by half at times, and none of them shorter."""
        least = self.measure(path, body)
        for _ in range(TRIES - 1):
            if least.longest_ms < limit:
                break
            least = min(least, self.measure(path, body), key=lambda held: held.longest_ms)
        return least

    def least_of(self, act: Callable[[], object], limit: float = LIMIT_MS) -> dict[str, Any]:
        """The longest callback of something that is done, the least of some tries."""
        least: dict[str, Any] = {"longest_ms": math.inf}
        for _ in range(TRIES):
            self.longest()
            act()
            least = min(least, self.longest(), key=lambda said: said["longest_ms"])
            if least["longest_ms"] < limit:
                break
        return least

    def _said(self) -> list[dict[str, Any]]:
        return [line for line in list(self.lines) if line.get("event") == HELD]


@contextlib.contextmanager
def running(*arguments: str, **environ: str) -> Iterator[MeasuredServe]:
    """A ready server, killed at the end if it still runs."""
    with tempfile.TemporaryDirectory() as directory:
        server = MeasuredServe(Path(directory), arguments, environ)
        try:
            server.wait_ready()
            yield server
        finally:
            server.stop(signal.SIGKILL)


def reference_ms(body: bytes) -> float:
    """CPU time of reading a body's members and nothing more: what large ones are held to."""
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def once() -> float:
        begun = time.thread_time()
        decoder.decode(body)
        return time.thread_time() - begun

    return min(once() for _ in range(5)) * 1000


def limit_ms(body: bytes) -> float:
    """What one callback may take for a body."""
    return max(LIMIT_MS, 10 * reference_ms(body))


_DOCUMENT: Final = msgspec.json.encode(
    [{"type": "text", "text": f"part {number}", "index": number} for number in range(12_000)]
)
"""What the reference work reads: as much is made of it as of a large request."""


def _reference() -> None:
    """Work of the kind that is measured: many small objects are made, looked at and freed."""
    sum(len(part["text"]) + part["index"] for part in msgspec.json.decode(_DOCUMENT))


def _pace_ms() -> float:
    """CPU time of the reference work now: the middle of some runs."""

    def once() -> float:
        begun = time.thread_time()
        _reference()
        return time.thread_time() - begun

    return sorted(once() for _ in range(5))[2] * 1000


class _Longest:
    """Measures every callback of the loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin()

    def _begin(self) -> None:
        self._longest = self._total = 0.0
        self._where = ""
        self._begun = True

    def run(self, handle: asyncio.Handle, usual: Any) -> None:
        """Run a callback."""
        self._loop = asyncio.get_running_loop()
        begun = time.thread_time()
        self._begun = False
        usual(handle)
        if self._begun:  # it was `_say`, which is not the server's
            return
        took = time.thread_time() - begun
        self._total += took
        if took > self._longest:
            self._longest = took
            self._where = repr(handle)[:300]

    def asked(self, *_: object) -> None:
        """A signal came, maybe in the middle of a callback: answer in one of its own."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._say)

    def _say(self) -> None:
        faster = min(REFERENCE_MS / _pace_ms(), 1.0)
        line = {
            "event": HELD,
            "severity": "info",
            "longest_ms": self._longest * 1000 * faster,
            "total_ms": self._total * 1000 * faster,
            "processor": round(faster, 2),
            "where": self._where,
        }
        self._begin()
        os.write(2, json.dumps(line).encode() + b"\n")


def install(number: signal.Signals) -> None:
    """Measure callbacks, and say so when this signal comes."""
    longest = _Longest()
    signal.signal(number, longest.asked)
    # There is no public hook around a callback, nor a setting for the loop.
    usual = asyncio.Handle._run
    setattr(asyncio.Handle, "_run", lambda handle: longest.run(handle, usual))  # noqa: B010 -- mypy
    setattr(eventloop, "uvloop", asyncio)  # noqa: B010 -- it has `new_event_loop` too


def main() -> int:
    """Run the command line."""
    if os.environ.get(UNSLICED):
        setattr(slices, "now", lambda: 0.0)  # noqa: B010 -- mypy; a slice is never over
    install(signal.SIGUSR1)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
