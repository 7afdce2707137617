"""How processor time grows with the size of an input: the same on a machine that is busy."""

import gc
import math
import time
from collections.abc import Callable
from typing import Final

TIMES: Final = 4
"""How much larger the larger input is."""

LINEAR: Final = 8.0
"""Times as long that it may take: four is linear, sixteen is quadratic. What no longer fits into
the processor's caches takes five to six."""

ROUNDS: Final = 40
"""How often both sizes are tried at the most; the best of each counts."""


def check_linear(prepare: Callable[[int], Callable[[], object]], size: int) -> None:
    """Fail if `TIMES` the size takes more than `LINEAR` times as long.

    Args:
        prepare: makes the input of a size, which is not timed, and what is done with it.
        size: so large that one run takes some milliseconds.
    """
    small = large = math.inf
    for _ in range(ROUNDS):
        small = min(small, _seconds(prepare(size)))
        large = min(large, _seconds(prepare(TIMES * size)))
        if large < LINEAR * small:
            return
    raise AssertionError(f"{small:.4f} s for {size}, {large:.4f} s for {TIMES * size}")


def check_as_fast(run: Callable[[], object], other: Callable[[], object]) -> None:
    """Fail if one piece of work takes more than `LINEAR` times as long as another.

    Args:
        other: takes some milliseconds.
    """
    took = least = math.inf
    for _ in range(ROUNDS):
        took = min(took, _seconds(run))
        least = min(least, _seconds(other))
        if took < LINEAR * least:
            return
    raise AssertionError(f"{took:.4f} s, the other {least:.4f} s")


def _seconds(run: Callable[[], object]) -> float:
    """Processor time of a run, without the collector's: its rounds are not the input's."""
    gc.disable()
    try:
        begun = time.thread_time()
        run()
        return time.thread_time() - begun
    finally:
        gc.enable()
