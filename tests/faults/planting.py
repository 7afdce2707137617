"""Bugs of the server's own, planted in a real process for the streams that ask for one.

    planting.install()
    request_id = planting.hit("rendering", call=3)  # a client sends it as its `x-request-id`

A request whose id names a place hits the bug there: the third call of `rendering` that is about
its stream raises. Nobody else's does, so one server serves all tests, and innocent streams beside.
What runs in the background is about no stream: `raise_at` has numbered calls of a function raise.
"""

import collections
import functools
import itertools
import secrets
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from engine.codex.turns import attempt, reader as codex, turn as codexturn
from engine.stream import pump
from engine.upstream import turn as upstreamturn
from tests.support.process import planted

MARK: Final = "planted"
"""What the ids of requests begin with that hit a bug."""

FROM_THEN_ON: Final = "up"
"""Behind a call's number: all calls from this one on raise."""


class Planted(Exception):
    """Raised where a bug is planted."""


class Place(NamedTuple):
    """Where a bug may be.

    Attributes:
        functions: full names; a stream passes one of them. Their first argument is an object of
            the stream's.
        after: whether the function does its work before it raises.
    """

    functions: tuple[str, ...]
    after: bool = False


_RENDERERS: Final = (
    "server.chat.sse.ChatChunks",
    "server.chat.fold.ChatBody",
    "server.responses.render.stream.ResponseEvents",
    "server.responses.render.fold.ResponseBody",
)

PLACES: Final[dict[str, Place]] = {
    # Every stream's.
    "passing": Place(("machines.stream.machine.Stream.passes",)),
    "step": Place(("machines.stream.machine.Stream.step",)),
    "record": Place(("engine.log.streamlog.StreamLog.append",)),
    "text record": Place(("engine.log.streamlog.StreamLog.append_texts",)),
    "last record": Place(("engine.log.streamlog.StreamLog.close",), after=True),
    "rendering": Place(tuple(f"{each}.render" for each in _RENDERERS)),
    "text rendering": Place(tuple(f"{each}.contents" for each in _RENDERERS)),
    "collect": Place(("server.api.sinks.Sink.collect",)),
    "head": Place(("server.http.exchange.Exchange.start",)),
    "write": Place(("server.http.exchange.Exchange.write",)),
    "finish": Place(("server.http.exchange.Exchange.finish",)),
    "whole answer": Place(("server.http.exchange.Exchange.respond",)),
    "summary": Place(("server.api.sinks.Sink.summary",)),
    "figures": Place(("engine.stream.pump.terminal",)),
    "timer": Place(("engine.stream.pump.Pump._take_due",)),
    # An upstream's.
    "upstream's event": Place(("engine.upstream.chunks.ChunkReader.take",)),
    "upstream's cancel": Place(("engine.upstream.turn.UpstreamTurn.cancel",), after=True),
    # Codex's.
    "delta": Place(("engine.codex.turns.reader.TurnReader.text_delta",)),
    "item": Place(("engine.codex.turns.reader.TurnReader.item_completed",)),
    "end of a turn": Place(("engine.codex.turns.reader.TurnReader.completed",)),
    "attempt": Place(("engine.codex.turns.attempt.Attempt._begin_turn",)),
    "Codex's cancel": Place(("engine.codex.turns.turn.CodexTurn.cancel",), after=True),
}
"""Every place by its name."""


def hit(place: str, call: int = 1, lasting: str = "") -> str:
    """The id of a request that hits a bug.

    Args:
        call: which of the calls about its stream raises.
        lasting: `FROM_THEN_ON`, where all that follow do too.
    """
    number = list(PLACES).index(place)
    return f"{MARK}-{number}-{call}{lasting}-{secrets.token_hex(8)}"


def install() -> None:
    """Plant a bug at every place."""
    owners = _Owners()
    for number, place in enumerate(PLACES.values()):
        for function in place.functions:
            _raise_when(_Hits(owners, number), function, place.after)


def raise_at(function: str, calls: Collection[int]) -> None:
    """Have calls of a function raise, counted from 1."""
    counted = itertools.count(1)
    _raise_when(lambda _: next(counted) in calls, function)


class _Owners:
    """Knows of each object of a stream which request it is of.

    What does not know by itself is learnt as its stream, or its turn, is made. A later object may
    have the number of one that has gone; it is learnt as well.
    """

    def __init__(self) -> None:
        self._requests: dict[tuple[type, int], str] = {}
        _after_init(pump.Pump, self._learn_stream)
        _after_init(upstreamturn.UpstreamTurn, self._learn_turn)

    def request_of(self, owner: object) -> str:
        """The request of an object; empty for one that is of none."""
        match owner:
            case codex.TurnReader(ids=ids):
                return ids.get("req_id", "")
            case codexturn.CodexTurn(_turn=turn) | attempt.Attempt(_turn=turn):
                return turn.request_id
            case upstreamturn.UpstreamTurn(_turn=turn):
                return turn.request_id
        return self._requests.get((type(owner), id(owner)), "")

    def _learn_stream(self, made: Any, opened: Any, log: Any, sink: Any, *_: Any) -> None:
        for each in (made, made.stream, log, sink, sink._renderer, sink._outlet):
            self._requests[type(each), id(each)] = opened.request_id

    def _learn_turn(self, made: Any, turn: Any, *_: Any) -> None:
        self._requests[type(made._reader), id(made._reader)] = turn.request_id


class _Hits:
    """Whether a call hits the bug of a place."""

    def __init__(self, owners: _Owners, number: int) -> None:
        self._owners = owners
        self._beginning = f"{MARK}-{number}-"
        self._calls: collections.Counter[str] = collections.Counter()

    def __call__(self, arguments: tuple[Any, ...]) -> bool:
        request_id = self._owners.request_of(arguments[0])
        if not request_id.startswith(self._beginning):
            return False
        self._calls[request_id] += 1
        call = request_id.split("-")[2]
        first = int(call.removesuffix(FROM_THEN_ON))
        if call.endswith(FROM_THEN_ON):
            return self._calls[request_id] >= first
        return self._calls[request_id] == first


def _after_init(owner: Any, learn: Callable[..., None]) -> None:
    usual = owner.__init__

    def init(made: Any, *arguments: Any, **options: Any) -> None:
        usual(made, *arguments, **options)
        learn(made, *arguments, **options)

    owner.__init__ = init


Hits = Callable[[tuple[Any, ...]], bool]
"""Whether a call with these arguments raises."""


def _raise_when(hits: Hits, function: str, after: bool = False) -> None:
    """Put something in the place of a function that raises for some of its calls."""
    path, _, name = function.rpartition(".")
    owner = planted.find(path)
    usual = getattr(owner, name)

    def instead(*arguments: Any, **options: Any) -> Any:
        bug = hits(arguments)
        if bug and not after:
            raise Planted(function)
        result = usual(*arguments, **options)
        if bug:
            raise Planted(function)
        return result

    setattr(owner, name, functools.wraps(usual)(instead))
