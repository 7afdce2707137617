"""Lets a server that a test kills keep its coverage: a plugin of coverage, in every process of it.

A killed process saves nothing, and most tests end their server by a kill. So in a run that is
measured `Serve.stop` asks first: the process saves what it has reached and then kills itself, in
the middle of whatever it does, with the exit status of any kill.
"""

import os
import signal
from typing import Any, Final

ASK: Final = signal.SIGUSR2
"""Asks a measured process to save its coverage and to be killed; nothing of ours uses it."""

VARIABLES: Final = {
    name: os.environ[name] for name in ("COVERAGE_PROCESS_CONFIG",) if name in os.environ
}
"""What a child must have in its environment to be measured, where it does not inherit all of it.

Coverage hands its settings to its children by it; in a run that is not measured there is none.
"""

SAVED_S: Final = 20
"""Seconds after which it is killed all the same: its loop may be held, or it may be stopped."""


def coverage_init(_registry: Any, _options: Any) -> None:
    """Install the handler; coverage calls this at the start of each process it measures."""
    signal.signal(ASK, _save_and_die)


def _save_and_die(_number: int, _frame: object) -> None:
    from coverage import Coverage  # only where it runs: every test of a server imports this module

    if (running := Coverage.current()) is not None:
        running.save()
    os.kill(os.getpid(), signal.SIGKILL)
