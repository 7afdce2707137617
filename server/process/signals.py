"""The handling of SIGTERM, SIGINT and SIGHUP, from the first line of the program to its last.

Python has SIGINT raise KeyboardInterrupt wherever the program happens to be, an event loop has
handlers of its own only while it runs, and the other two kill. Between them a signal meets
whatever is in force at that moment: a traceback out of an import, a child that nobody stops. So
one handler is in force all the time, and what it does depends on how far the program is:

    nothing has begun yet                the process ends at once
    within `caught()`                    the signal is kept for whoever has begun something
    after it                             nothing: the process is at its end already

SIGHUP has two senders. The system sends it where a terminal was closed: then it asks to stop.
Anyone else means that the configuration should be read again, and it is passed on. They are told
apart by standard error: it was a terminal at the start, and a terminal that was closed is none any
more (Linux hangs it up before it sends the signal, `__tty_hangup`). Where SIGHUP was ignored from
the start (`nohup`) it stays so. SIGPIPE is ignored by Python itself.

Nothing is imported here that takes long: a signal may come meanwhile.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

from server.process import exits

STOP = (signal.SIGTERM, signal.SIGINT)
"""Signals that ask the process to end."""

SERVING = ("serve", "mock", "demo", "ui")
"""Commands for which a stop is the usual end: their exit status is 0."""


class Caught:
    """The signals that came since something was begun, for whoever ends it."""

    def __init__(self) -> None:
        self._early: list[int] = []
        self._receive: Callable[[int], object] = self._early.append

    def received(self, number: int) -> None:
        """Take a signal, in the handler."""
        self._receive(number)

    def deliver(self, receive: Callable[[int], object]) -> None:
        """Pass every signal on, those that came before too.

        Args:
            receive: called with a signal's number within the handler: between any two steps of
                the program. It must only note what came.
        """
        self._receive = receive
        while self._early:
            receive(self._early.pop(0))


def install() -> None:
    """Put the handler in force; the first thing that the program does."""
    for number in STOP:
        signal.signal(number, _handle)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _handle)


@contextlib.contextmanager
def caught() -> Iterator[Caught]:
    """Have signals be kept: something begins here that must be ended in order."""
    global _receive
    keeper = Caught()
    install()
    _receive = keeper.received
    try:
        yield keeper
    finally:
        _receive = _ignore


def asks_to_stop(number: int) -> bool:
    """Whether a signal asks the process to end: SIGHUP does where its terminal was closed."""
    return number != signal.SIGHUP or (_on_terminal and not os.isatty(2))


def status_of(number: int) -> int:
    """The exit status of a command that a signal has ended."""
    return exits.SIGNALLED + number


def _leave(number: int) -> None:
    """End the process at once: nothing has begun that had to be ended."""
    if asks_to_stop(number):
        os._exit(exits.CLEAN if sys.argv[1:2] and sys.argv[1] in SERVING else status_of(number))


def _ignore(_: int) -> None:
    pass


def _handle(number: int, _: object) -> None:
    _receive(number)


_receive: Callable[[int], object] = _leave

_on_terminal = os.isatty(2)
"""At the start."""
