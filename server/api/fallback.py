"""The targets that stand in for the first one of a stream, and how its client hears of it."""

import functools
from collections.abc import Callable
from typing import Final

import structlog

from engine import slices, worker
from engine.routing import fallback, fleet as routing
from machines import events
from server.api import asked
from server.api.gates import Headers
from server.http.errors import ApiError

STOOD_IN: Final = "x-turntape-fallback"
"""Header with the name of the target that answers in place of the first."""

Prepare = Callable[[routing.Target], fallback.Work]
"""What the request asks of a target; raises TurnRefused."""

Read = Callable[[routing.Target], slices.Steps[asked.Asked]]
"""Reads the request once more, for the worker of another target; raises ApiError."""

_log = structlog.get_logger(component="answering")


async def check(route: tuple[routing.Target, ...], turn: worker.Turn) -> None:
    """Refuse what the first target refuses, unless another may take it.

    Raises:
        ApiError: the refusal.
    """
    try:
        await slices.in_slices(route[0].worker.check(turn))
    except worker.TurnRefused as refused:
        if len(route) > 1 and fallback.may_pass(fallback.refusal(refused)):
            return  # it will be refused again, and the next one asked
        raise ApiError(refused.code, refused.message, refused.param) from None


async def readings(
    route: tuple[routing.Target, ...], wanted: asked.Asked, read: Read | None
) -> dict[str, asked.Asked | ApiError]:
    """What the request asks of each target that may stand in, or why it cannot be asked.

    It is read before the stream opens: when a target fails there is no time to read in slices.
    """
    first = route[0]
    found: dict[str, asked.Asked | ApiError] = {}
    for target in route[1:]:
        alike = (target.worker, target.defaults) == (first.worker, first.defaults)
        try:
            found[target.name] = (
                wanted if read is None or alike else await slices.in_slices(read(target))
            )
        except ApiError as error:
            found[target.name] = error
    return found


def runner(
    route: tuple[routing.Target, ...],
    prepare: Prepare,
    first_chunk: int,
    opened: events.Opened,
    headers: Headers,
) -> worker.Runner:
    """Who runs the turns of a stream: the worker itself, or one worker after another.

    Args:
        first_chunk: microseconds that each target may be silent; 0 for no limit.
        headers: of the answer; while it has not begun, the target that stands in is named there.
    """
    if len(route) == 1:
        return route[0].worker
    legs = [
        fallback.Leg(each.name, each.model, each.worker, functools.partial(prepare, each))
        for each in route[1:]
    ]
    on_taken = functools.partial(_tell, opened, headers)
    return fallback.Fallback(route[0].worker, legs, first_chunk / 1_000_000, on_taken)


def _tell(
    opened: events.Opened, headers: Headers, leg: fallback.Leg, taken: events.FallbackTaken
) -> None:
    headers[:] = [header for header in headers if header[0] != STOOD_IN]
    headers.append((STOOD_IN, leg.name))
    _log.warning(
        "fallback_taken",
        req_id=opened.request_id,
        model=opened.model,
        target=taken.model,
        worker=taken.worker,
        code=taken.code,
    )
