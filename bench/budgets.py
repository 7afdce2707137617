"""The budgets of the guards, read from `budgets.toml`."""

import tomllib
from pathlib import Path

PATH = Path(__file__).with_name("budgets.toml")
"""The budgets, each with what it means."""


def load() -> dict[str, dict[str, float]]:
    """The budgets by table and name."""
    return tomllib.loads(PATH.read_text("utf-8"))
