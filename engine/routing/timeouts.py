"""How long the model behind a name may take, where the operator has said so for that name.

One model thinks for minutes, another answers in a second or not at all. The settings are for all;
a rule of the models file may have its own.
"""

from typing import Final

import msgspec


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one name, in milliseconds; 0: no limit; None: as for all others.

    Attributes:
        first_chunk_ms: of the time to the first output.
        idle_ms: of a silence after that.
        total_ms: of the whole request.
    """

    first_chunk_ms: int | None = None
    idle_ms: int | None = None
    total_ms: int | None = None

    def first_chunk(self, usual: int) -> int:
        """The limit of the first output in microseconds, as `usual` is."""
        return _or_usual(self.first_chunk_ms, usual)

    def idle(self, usual: int) -> int:
        """The limit of a silence in microseconds, as `usual` is."""
        return _or_usual(self.idle_ms, usual)

    def total(self, usual: int) -> int:
        """The limit of the whole request in microseconds, as `usual` is."""
        return _or_usual(self.total_ms, usual)


USUAL: Final = Timeouts()
"""The limits of a name without any of its own: the usual ones."""


def _or_usual(own_ms: int | None, usual_us: int) -> int:
    return usual_us if own_ms is None else own_ms * 1000
