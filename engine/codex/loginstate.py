"""Whether the login of a process is of any use: it may be missing, and it may have expired."""

from collections.abc import Callable
from typing import Final

DOUBT_S: Final = 30.0
"""How long a login is doubted that a provider has refused. Nobody may ask meanwhile, and then only
another try can show that it is good again."""


class LoginState:
    """The login of one process.

    Args:
        now: seconds of a clock that never steps back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._is_there = False
        self._refused: float | None = None

    @property
    def is_there(self) -> bool:
        """Whether the process has one, or needs none."""
        return self._is_there

    @property
    def is_good(self) -> bool:
        """Whether it has one that no provider has refused lately."""
        doubted = self._refused is not None and self._now() - self._refused < DOUBT_S
        return self._is_there and not doubted

    def found(self, is_there: bool) -> None:
        """Take what the process says of its login."""
        self._is_there = is_there
        self._refused = None

    def refused(self) -> None:
        """Take a provider's word that it is no good."""
        self._refused = self._now()

    def accepted(self) -> None:
        """Take an answer, which nobody gets without a login."""
        self._refused = None
