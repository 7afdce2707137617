"""Bounds of the labels: what a client or a provider makes up must not become a series.

A series is kept for as long as the server runs. So each label has a vocabulary of the server's
own, and one word more for everything else.
"""

from collections.abc import Callable, Iterable
from typing import Final

from machines.stream import finish
from server.http import errors

OTHER: Final = "other"
"""The word for everything that a label has no other for."""

METHODS: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
"""Methods that have a series of their own. Source: RFC 9110 §9, RFC 5789."""

MOST_MODELS: Final = 100
"""Models that have series of their own: the first to be asked for."""

MODEL_CHARACTERS: Final = 128
"""Characters of the longest name that is a label."""

LISTED_S: Final = 10.0
"""How long a list of models is good for the names that are not in it: a stranger who makes names
up shall not have thousands listed for each."""

WORD_CHARACTERS: Final = 32
"""Characters of a worker's word that are looked at; the longest known one has 19."""


def method(name: str) -> str:
    """Return the label of a method."""
    return name if name in METHODS else OTHER


def status(number: int) -> str:
    """Return the label of a status, which is its class, such as `4xx`."""
    return f"{number // 100}xx" if 100 <= number < 600 else OTHER


def code(name: str | None) -> str:
    """Return the label of an error code; empty without one."""
    if name is None:
        return ""
    return name if name in errors.CASES else OTHER


def reason(name: str | None) -> str:
    """Return the label of a `finish_reason`."""
    if name is None:
        return "none"
    return name if name in finish.CANONICAL else OTHER


def word(said: str | None) -> str:
    """Return the label of a worker's own word for an end; empty where it said none."""
    if said is None:
        return ""
    lowered = said[:WORD_CHARACTERS].lower()
    return lowered if lowered in finish.WORDS else OTHER


def among(name: str, known: Iterable[str]) -> str:
    """Return the label of what has a vocabulary of its own."""
    return name if name in known else OTHER


class ModelLabels:
    """The labels of models: only names that the server lists, and no more than `MOST_MODELS`.

    Args:
        listed: returns the names that the server lists now.
    """

    def __init__(self, listed: Callable[[], Iterable[str]]) -> None:
        self._list = listed
        self._labels: set[str] = set()
        self._listed: frozenset[str] = frozenset()
        self._listed_at: float | None = None

    def label(self, name: str, now: float) -> str:
        """Return the label of a model.

        Args:
            now: in seconds of a clock that never steps back.
        """
        if name in self._labels:
            return name
        if len(self._labels) >= MOST_MODELS or len(name) > MODEL_CHARACTERS:
            return OTHER
        if self._listed_at is None or now - self._listed_at >= LISTED_S:
            self._listed, self._listed_at = frozenset(self._list()), now
        if name not in self._listed:
            return OTHER
        self._labels.add(name)
        return name
