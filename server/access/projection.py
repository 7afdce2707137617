"""The readers of ended requests: what they keep is made of terminal records and refusals alone."""

from collections.abc import Iterable
from typing import Protocol

from engine import containment
from server.access.entry import Entry


class Projection(Protocol):
    """A reader of every request that has ended, such as metrics or usage.

    It is called once for each, on the loop, after the answer: it must not block. What it raises is
    a defect that is reported with the request's id, and changes no byte of any answer.
    """

    def request_ended(self, entry: Entry, count: int) -> None:
        """Take a request that was answered, or whose client has left.

        Args:
            entry: all that is known of it. `entry.stream` is its terminal record where a stream
                answered it; None where that goes on in the background.
            count: how many refusals of strangers it stands for; 1 for any other.
        """

    def background_ended(self, entry: Entry) -> None:
        """Take the end of a stream that was made in the background: `entry.stream` has it. The
        request that began it has ended before."""


def project(projections: Iterable[Projection], entry: Entry, count: int) -> None:
    """Show every reader a request that has ended."""
    containment.each(
        containment.Boundary.PROJECTION,
        lambda each: each.request_ended(entry, count),
        projections,
        req_id=entry.request_id,
    )


def project_background(projections: Iterable[Projection], entry: Entry) -> None:
    """Show every reader the end of a stream that was made in the background."""
    containment.each(
        containment.Boundary.PROJECTION,
        lambda each: each.background_ended(entry),
        projections,
        req_id=entry.request_id,
    )
