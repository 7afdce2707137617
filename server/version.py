"""This program's version."""

from typing import Final

VERSION: Final = "0.1.0"
"""The version of `pyproject.toml`; a test compares them."""
