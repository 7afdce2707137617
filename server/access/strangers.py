"""Bounds what a client without a key can have written: a scanner must not fill the log, nor the
diagnostics, and never have good streams pruned for its sake."""

from typing import Final, Generic, TypeVar

import msgspec

WHOLE: Final = 10
"""Refusals of one address that are told one by one in each window; the others are counted."""

WINDOW_S: Final = 60.0
"""Seconds of a window, which begins with its first refusal."""

MOST_ADDRESSES: Final = 128
"""Addresses with a window of their own: at most 1,280 records a minute, 0.4 MiB."""

OTHERS: Final = ""
"""The window of all other addresses, in which nothing is told one by one."""

T = TypeVar("T")


class Window(msgspec.Struct, Generic[T]):
    """The refusals of one address in one window.

    Attributes:
        began: in seconds of a clock that never steps back.
        counted: refusals that were not told one by one.
        last: the last of these.
    """

    began: float
    whole: int = 0
    counted: int = 0
    last: T | None = None


class Strangers(Generic[T]):
    """Decides which refusals are told one by one."""

    def __init__(self) -> None:
        self._windows: dict[str, Window[T]] = {}

    def admit(self, address: str, refused: T, now: float) -> bool:
        """Return whether a refusal is told by itself; else it is counted."""
        if address not in self._windows and len(self._windows) >= MOST_ADDRESSES:
            address = OTHERS
        window = self._windows.setdefault(address, Window(now))
        if address != OTHERS and window.whole < WHOLE:
            window.whole += 1
            return True
        window.counted += 1
        window.last = refused
        return False

    def close(self, until: float) -> list[tuple[T, int]]:
        """End the windows that began by `until`.

        Returns:
            Of each that counted: the last refusal, and how many it stands for.
        """
        over = [address for address, window in self._windows.items() if window.began <= until]
        ended = [self._windows.pop(address) for address in over]
        return [(each.last, each.counted) for each in ended if each.last is not None]

    @property
    def next_end(self) -> float | None:
        """When the next window is over; None while there is none."""
        began = min((window.began for window in self._windows.values()), default=None)
        return None if began is None else began + WINDOW_S
