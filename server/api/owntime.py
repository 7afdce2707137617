"""The time of an answer that is our own: what it would be faster without Turntape.

It is what passes while nobody else has the word: from the last byte of the request until its
worker is asked, and from the record of the event that lets the head go until the head is handed
to the socket. An answer that is not streamed has its head with its body, so there the second part
begins with the event that ends it. What is not in it: the client's sending of its request, all
that the worker takes (its queue, its retries, its model), and the work on the pieces between head
and end, which is microseconds for each and lies within the worker's time.

Three times are read for an answer, and none for a token.
"""

from collections.abc import Callable
from typing import Final

from server.access.entry import Entry

HEADER: Final = "x-turntape-overhead-ms"
"""The response header that says it."""


class OwnTime:
    """Measures one answer, into its entry of the access log.

    Args:
        now: microseconds of a clock that never steps back; the log's, whose records it is compared
            with.
        received: when the whole request was here.
    """

    def __init__(self, now: Callable[[], int], received: int, entry: Entry) -> None:
        self._now = now
        self._since: int | None = received
        self._entry = entry

    @property
    def us(self) -> int | None:
        """The time so far, in microseconds; None where nothing was measured yet."""
        return self._entry.own_us

    def asked(self) -> None:
        """The worker is asked: from here on it is waited for."""
        self._count(self._since)
        self._since = None

    def head(self, event: int) -> tuple[str, str]:
        """The head goes out; return the header that says the time.

        Args:
            event: when the event was recorded that it waited for.
        """
        self._count(event if self._since is None else self._since)
        return HEADER, f"{(self._entry.own_us or 0) / 1000:.2f}"

    def _count(self, since: int | None) -> None:
        if since is not None:
            self._entry.own_us = (self._entry.own_us or 0) + max(0, self._now() - since)
