"""How processor time grows with the size of an input: the same on a machine that is busy."""

import gc
import math
import time
from collections.abc import Callable
from typing import Final

LINEAR: Final = 2.3
"""Times as long that double the input may take. Twice is linear; what is quadratic takes four."""

ROUNDS: Final = 40
"""How often both sizes are tried at the most; the best of each counts."""


def check_linear(prepare: Callable[[int], Callable[[], object]], size: int) -> None:
    """Fail if double the size takes more than `LINEAR` times as long.

    Args:
        prepare: makes the input of a size, which is not timed, and what is done with it.
        size: so large that one run takes some milliseconds.
    """
    once = twice = math.inf
    for _ in range(ROUNDS):
        once = min(once, _seconds(prepare(size)))
        twice = min(twice, _seconds(prepare(2 * size)))
        if twice < LINEAR * once:
            return
    raise AssertionError(f"{once:.3f} s for {size}, {twice:.3f} s for {2 * size}")


def _seconds(run: Callable[[], object]) -> float:
    """Processor time of a run, without the collector's: its rounds are not the input's."""
    gc.disable()
    try:
        begun = time.thread_time()
        run()
        return time.thread_time() - begun
    finally:
        gc.enable()
