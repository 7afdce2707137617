"""The targets that stand in for the first one of a stream, and how its client hears of it."""

import functools
from collections.abc import Callable
from typing import Final

import structlog

from engine import slices, worker
from engine.routing import checking, fallback as engine_fallback, fleet as routing
from machines import events
from server.access.entry import Entry
from server.api.options import AnswerOptions
from server.http.errors import ApiError

STOOD_IN: Final = "x-turntape-fallback"
"""The response header that names the target which answers in place of the first."""

Prepare = Callable[[routing.Target], engine_fallback.TargetRequest]
"""Makes the request to a target; raises TurnRefused."""

Read = Callable[[routing.Target], slices.Steps[AnswerOptions]]
"""Reads the request once more, for the worker of another target; raises ApiError."""

_log = structlog.get_logger(component="answering")


class Notice:
    """Announces which target answers in place of the first: to the client, and to the operator.

    Args:
        entry: of the request, in the access log.
        set_header: of the answer's head, as long as that has not been sent.
    """

    def __init__(
        self, opened: events.Opened, entry: Entry, set_header: Callable[[str, str], None]
    ) -> None:
        self._opened = opened
        self._entry = entry
        self._set_header = set_header

    def taken(self, candidate: engine_fallback.Candidate, taken: events.FallbackTaken) -> None:
        """Announce a target before it is asked."""
        self._set_header(STOOD_IN, candidate.name)
        self._entry.stood_in = taken
        _log.warning(
            "fallback_taken",
            req_id=self._opened.request_id,
            model=self._opened.model,
            target=taken.model,
            worker=taken.worker,
            code=taken.code,
        )


Checked = worker.Runner | worker.TurnRefused
"""The answer of a target to a request's check: the runner of its turns, or the reason why it does
not take them."""


async def check(route: tuple[routing.Target, ...], turns: tuple[worker.Turn, ...]) -> Checked:
    """Ask the first target whether it takes a request's turns; return the runner, or a refusal
    after which another may take them.

    Raises:
        ApiError: the refusal, where no other target may take the request.
    """
    try:
        return await slices.in_slices(checking.check(route[0].worker, turns))
    except worker.TurnRefused as refused:
        if len(route) > 1 and engine_fallback.may_pass(engine_fallback.refusal(refused)):
            return refused
        raise ApiError(
            refused.code, refused.message, refused.param, members=refused.members
        ) from None


async def readings(
    route: tuple[routing.Target, ...], options: AnswerOptions, read: Read
) -> dict[str, AnswerOptions | ApiError]:
    """Read the request for each target that may stand in; an error is why that one cannot be
    asked.

    It is read before the stream opens: when a target fails there is no time to read in slices.
    """
    first = route[0]
    found: dict[str, AnswerOptions | ApiError] = {}
    for target in route[1:]:
        alike = (target.worker, target.defaults) == (first.worker, first.defaults)
        try:
            found[target.name] = options if alike else await slices.in_slices(read(target))
        except ApiError as error:
            found[target.name] = error
    return found


def runner(
    route: tuple[routing.Target, ...],
    checked: Checked,
    prepare: Prepare,
    first_chunk: int,
    notice: Notice,
) -> worker.Runner:
    """Return the runner of a stream's turns: the first target alone, or one target after another.

    Args:
        checked: what the first target has said of the request.
        first_chunk: microseconds that a target without a limit of its own may be silent; 0 for
            no limit.
        notice: told of each target that stands in.
    """
    refused = checked if isinstance(checked, worker.TurnRefused) else None
    first = route[0].worker if isinstance(checked, worker.TurnRefused) else checked
    if len(route) == 1:
        return first

    def patience(target: routing.Target) -> float:
        return target.timeouts.first_chunk(first_chunk) / 1_000_000

    candidates = [
        engine_fallback.Candidate(
            each.name, each.model, each.worker, functools.partial(prepare, each), patience(each)
        )
        for each in route[1:]
    ]
    return engine_fallback.Fallback(first, candidates, patience(route[0]), notice.taken, refused)
