"""The budgets of the guards, read from `budgets.toml`, and how a measurement is held to one."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

PATH = Path(__file__).with_name("budgets.toml")
"""The budgets, each with what it means."""

Say = Callable[[str], None]
"""Prints what was measured, even where the guard holds: the fixture `say`."""

ATTEMPTS: Final = 3
"""Measurements of which one must keep the budget."""


def load() -> dict[str, dict[str, float]]:
    """The budgets by table and name."""
    return tomllib.loads(PATH.read_text("utf-8"))


def lowest(measure: Callable[[], float], budget: float) -> float:
    """The first measurement within the budget; else the lowest of all attempts."""
    seen: list[float] = []
    while len(seen) < ATTEMPTS:
        seen.append(measure())
        if seen[-1] <= budget:
            break
    return min(seen)
