"""A server process with a window, as `tests.faults.observed` makes it, and what is seen there."""

import collections
import contextlib
import fcntl
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tests.faults import observed
from tests.support.process import heldloop, machinetime, serving

Json = dict[str, Any]

Counts = collections.Counter[str]

Held = Counts
"""What a process holds, by kind: `fd socket`, `task Connection.run`, `child`."""


class ObservedServe(heldloop.MeasuredServe):
    """A server process that says what it holds, and if it is to, for how long it held its loop."""

    module = observed.__name__

    asked_by = signal.SIGUSR2

    def held(self) -> Held:
        """What the process holds now: descriptors, tasks of its loop, child processes."""
        pid = self.process.pid
        found: Held = collections.Counter(f"task {name}" for name in self.tasks())
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed while it was looked at
                found[f"fd {re.sub(r'[0-9]+', '', each.readlink().name)}"] += 1
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found["child"] += len((task / "children").read_text().split())
        return +found

    def tasks(self) -> list[str]:
        """The coroutines that run as tasks."""
        names: list[str] = self._listing()["names"]
        return names

    def defects(self) -> Counts:
        """Bugs that were met so far, by the boundary that contained them."""
        return collections.Counter(self._listing()["defects"])

    def jump(self, seconds: float) -> None:
        """Have its wall clock jump, and wait until it has; by how much says `observed.JUMPS`."""
        before = self._listing()["time"] - time.monotonic()
        self.process.send_signal(observed.JUMP)
        machinetime.until(
            lambda: abs(self._listing()["time"] - time.monotonic() - before) > abs(seconds) / 2
        )

    def told(self, event: str) -> list[Json]:
        """The lines of an event that came so far."""
        return [line for line in list(self.lines) if line.get("event") == event]

    def resident(self) -> int:
        """Bytes of memory the process has now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")

    def _listing(self) -> Json:
        before = len(self.told(observed.TASKS))
        self.process.send_signal(signal.SIGUSR1)
        machinetime.until(lambda: len(self.told(observed.TASKS)) > before)
        return self.told(observed.TASKS)[-1]


class UnreadServe(serving.Serve):
    """A server process whose diagnostics nobody reads, until somebody does or closes them."""

    module = observed.__name__

    def __init__(self, *arguments: Any) -> None:
        self._decided = threading.Event()
        self._reads = False
        super().__init__(*arguments)
        assert self.process.stderr is not None
        # As little as there is: a page.
        fcntl.fcntl(self.process.stderr, fcntl.F_SETPIPE_SZ, 4096)

    def read_on(self) -> None:
        """Read what there is, and what comes."""
        self._reads = True
        self._decided.set()

    def close(self) -> None:
        """Close this end: what is written there from now on is an error."""
        self._decided.set()
        self._reader.join()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self._decided.set()
        return super().stop(number)

    def _read_stderr(self) -> None:
        self._decided.wait()
        if self._reads:
            super()._read_stderr()
            return
        assert self.process.stderr is not None
        self.process.stderr.close()
