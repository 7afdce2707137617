"""Plants an exception of the product's own at one of its places, in one client's streams.

A bug of ours raises where nobody expects it. So `Planter` puts a function before one of the
product, which raises when the call is about the victim: at a drawn moment, once or from then on,
before the call or after it. `points` lists the places, and what may become of the victim there.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol
from unittest import mock

import msgspec

from engine import containment
from engine.log import streamlog
from engine.stream import pump
from engine.upstream import turn as upstreamturn
from tests.simulator import plan, points

if TYPE_CHECKING:
    from tests.simulator import clock


class Planted(Exception):
    """Raised where a bug is planted."""


class PlantedKeyError(Planted, KeyError):
    """The same, as a bug that looks like what code sometimes expects."""


class PlantedRecursion(Planted, RecursionError):
    """The same, as a bug that depends on the stack."""


ERRORS: Final[dict[str, type[Planted]]] = {
    "plain": Planted,
    "key": PlantedKeyError,
    "recursion": PlantedRecursion,
}
"""What is raised, by `plan.Defect.error`."""


class Backend(Protocol):
    """What of a world's backend is asked."""

    def request_of(self, line: bytes) -> str:
        """The request that a worker's line is about; empty for none."""


class Firing(msgspec.Struct, frozen=True):
    """A planted exception that was raised.

    Attributes:
        request_id: of the victim; empty where a whole process was hit.
    """

    at: float
    request_id: str
    effect: points.Effect


class Planter:
    """Plants what a plan has planted.

    Attributes:
        firings: what was raised, in order.
    """

    def __init__(
        self, defect: plan.Defect | None, backend: Backend, loop: "clock.VirtualLoop"
    ) -> None:
        self.firings: list[Firing] = []
        self.ids = points.Ids(backend)
        self._defect = defect
        self._loop = loop
        self._calls = 0
        self._over: set[str] = set()

    def hit(self, request_id: str) -> set[points.Effect]:
        """What may have become of a request's stream; empty if nothing hit it."""
        return {each.effect for each in self.firings if each.request_id == request_id}

    @contextlib.contextmanager
    def planted(self) -> Iterator[None]:
        """While it lasts the product has its bug."""
        defect = self._defect
        with contextlib.ExitStack() as stack:
            if defect is not None:
                self._watch(stack)
                for number, name in enumerate(defect.points):
                    for place in points.POINTS[name].places:
                        instead = self._instead(defect, number, points.POINTS[name], place)
                        stack.enter_context(mock.patch.object(place.owner, place.name, instead))
                if defect.speechless:
                    dumb = mock.NonCallableMock(error=_speechless)
                    stack.enter_context(mock.patch.object(containment, "_log", dumb))
            yield

    def _watch(self, stack: contextlib.ExitStack) -> None:
        """Learn which objects are of which request, and which streams are over."""
        make, close = pump.Pump.__init__, streamlog.StreamLog.close
        begin = upstreamturn.UpstreamTurn.__init__
        silent = streamlog.SilentStreamLog.close

        def made(its: Any, opened: Any, log: Any, sink: Any, *more: Any) -> None:
            self.ids.take_stream(opened, log, sink)
            make(its, opened, log, sink, *more)

        def begun(its: Any, turn: Any, *more: Any) -> None:
            begin(its, turn, *more)
            self.ids.take(its._reader, turn.request_id)

        def closed(its: Any, *arguments: Any) -> int:
            self._over.add(self.ids.of(its))
            return close(its, *arguments)

        def closed_silently(its: Any, *arguments: Any) -> int:
            self._over.add(self.ids.of(its))
            return silent(its, *arguments)

        stack.enter_context(mock.patch.object(pump.Pump, "__init__", made))
        stack.enter_context(mock.patch.object(upstreamturn.UpstreamTurn, "__init__", begun))
        stack.enter_context(mock.patch.object(streamlog.StreamLog, "close", closed))
        stack.enter_context(mock.patch.object(streamlog.SilentStreamLog, "close", closed_silently))

    def _instead(
        self, defect: plan.Defect, number: int, point: points.Point, place: points.Place
    ) -> Callable[..., Any]:
        original = getattr(place.owner, place.name)

        def raises(arguments: tuple[Any, ...]) -> bool:
            return self._raises(defect, number, point, place, arguments)

        def fire(arguments: tuple[Any, ...]) -> None:
            request_id = place.of(self.ids, arguments)
            request_id = "" if request_id == points.ANYBODY else request_id
            effect = point.late if request_id in self._over else point.effect
            self.firings.append(Firing(self._loop.time(), request_id, effect))
            raise ERRORS[defect.error](f"planted at {defect.points[number]}")

        after = (
            number > 0 or (defect.after and "after" in point.when) or "before" not in point.when
        )

        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def instead(*arguments: Any, **options: Any) -> Any:
                hit = raises(arguments)
                if hit and not after:
                    fire(arguments)
                result = await original(*arguments, **options)
                if hit:
                    fire(arguments)
                return result

            return instead

        @functools.wraps(original)
        def plainly(*arguments: Any, **options: Any) -> Any:
            hit = raises(arguments)
            if hit and not after:
                fire(arguments)
            result = original(*arguments, **options)
            if hit:
                fire(arguments)
            return result

        return plainly

    def _raises(
        self,
        defect: plan.Defect,
        number: int,
        point: points.Point,
        place: points.Place,
        arguments: tuple[Any, ...],
    ) -> bool:
        """Whether it is time: the second of two places breaks once the first has."""
        request_id = place.of(self.ids, arguments)
        if request_id != points.ANYBODY and request_id not in defect.request_ids:
            return False
        if number:  # what is done about a defect is done, and fails
            return bool(self.firings)
        self._calls += 1
        return self._calls >= defect.call if defect.lasting else self._calls == defect.call


def _speechless(*_: Any, **__: Any) -> None:
    raise Planted("diagnostics fail as well")
