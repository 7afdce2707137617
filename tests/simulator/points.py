"""The places of the product where the simulator plants exceptions, and what may come of each.

A place is a function of the product, and how its arguments tell which request a call is about.
Nothing here is known to the product; what it keeps to itself is read where it keeps it.
"""

import enum
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple, Protocol

from engine import worker
from engine.codex import tenant, worker as codexworker
from engine.codex.child import process
from engine.codex.protocol import channel
from engine.codex.turns import (
    attempt,
    dispatcher,
    parking,
    reader as codex,
    thread,
    turn as codexturn,
)
from engine.log import event_log as eventlog, streamlog
from engine.store import sqlite as sqlitestore
from engine.stream import pump
from engine.upstream import (
    body as upstreambody,
    chunks,
    client as upstreamclient,
    turn as upstreamturn,
    worker as upstream,
)
from machines import events
from machines.stream import machine as stream
from machines.wire import jsonrpc
from server import router, serve
from server.api import opening, sinks
from server.chat import fold, sse
from server.http import connection, exchange as http, inbound, outbound
from server.responses.kept import keeping
from server.responses.render import fold as responsefold, stream as responsestream

ANYBODY: Final = "anybody"
"""In place of a request: the call is about all of a process, or of the server."""


class Effect(enum.Enum):
    """What may become of the stream that is hit.

    DEFECT: it ends as one. EITHER: it does, or was faster, and is as it should be. CUT: what is
    on its way to the client is: the client sees a failure, or all of it; its last record was
    written before. GONE: it ends as if the client had left. REFUSED: it is answered 500, or ends
    as a defect. UNCOUNTED: its last record lacks figures. UNLOGGED: its log ends early. UNKEPT: it
    is not kept for later requests. NONE: nothing that a client or the log could tell. SHARED:
    something that many share is hit.
    """

    DEFECT = enum.auto()
    EITHER = enum.auto()
    CUT = enum.auto()
    GONE = enum.auto()
    REFUSED = enum.auto()
    UNCOUNTED = enum.auto()
    UNLOGGED = enum.auto()
    UNKEPT = enum.auto()
    NONE = enum.auto()
    SHARED = enum.auto()


class Lines(Protocol):
    """Who knows what a worker's lines are about."""

    def request_of(self, line: bytes) -> str:
        """The request that a line is about; empty for none."""


class Ids:
    """Finds the request that an object of the product is of."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._streams: dict[str, str] = {}
        self._kept: dict[int, tuple[object, str]] = {}

    def take_stream(self, opened: events.Opened, log_of: Any, sink: Any) -> None:
        """Learn of a stream by what its pump is made of."""
        request_id = opened.request_id
        self._streams[log_of.id] = self._streams[opened.completion_id] = request_id
        self.take(sink._renderer, request_id)

    def take(self, it: object, request_id: str) -> None:
        """Learn what an object is of that does not know itself."""
        self._kept[id(it)] = (it, request_id)

    def of(self, it: Any) -> str:
        """The request of an object; empty if it is of none."""
        found = self._kept.get(id(it))
        if found is not None:
            return found[1]
        find = _FINDERS.get(type(it))
        return find(self, it) if find is not None else ""

    def knows(self, request_id: str) -> bool:
        """Whether a request led to a stream."""
        return request_id in self._streams.values()

    def of_line(self, line: Any) -> str:
        """The request of a line, or of a part of one."""
        return self._lines.request_of(bytes(line))

    def of_stream(self, stream_id: str) -> str:
        """The request of a stream, or of a completion."""
        return self._streams.get(stream_id, "")


def _of_exchange(_: Ids, exchange: http.Exchange | None) -> str:
    return exchange.request.headers.get("x-request-id") or "" if exchange is not None else ""


_FINDERS: Final[dict[type, Callable[[Ids, Any], str]]] = {
    pump.Pump: lambda _, its: str(its.stream.opened.request_id),
    stream.Stream: lambda _, its: str(its.opened.request_id),
    events.Opened: lambda _, its: str(its.request_id),
    worker.Turn: lambda _, its: str(its.request_id),
    codex.TurnReader: lambda _, its: str(its.ids.get("req_id", "")),
    attempt.Attempt: lambda _, its: str(its._turn.request_id),
    codexturn.CodexTurn: lambda _, its: str(its._turn.request_id),
    upstreamturn.UpstreamTurn: lambda _, its: str(its._turn.request_id),
    sinks.Sink: lambda _, its: str(dict(its._headers)["x-request-id"]),
    streamlog.StreamLog: lambda ids, its: ids.of_stream(its.id),
    streamlog.SilentStreamLog: lambda ids, its: ids.of_stream(its.id),
    http.Exchange: _of_exchange,
    connection.Connection: lambda ids, its: _of_exchange(ids, its._exchange),
    inbound.Inbound: lambda ids, its: _of_exchange(ids, its._listener._exchange),
    outbound.Outbound: lambda ids, its: _of_exchange(ids, its._listener._exchange),
    channel.Call: lambda ids, its: ids.of_line(its.line),
}
"""How each kind of object tells which request it is of."""


Of = Callable[[Ids, tuple[Any, ...]], str]
"""The request that a call with these arguments is about."""


class Place(NamedTuple):
    """A function of the product, by its owner and its name there."""

    owner: Any
    name: str
    of: Of


class Point(NamedTuple):
    """Places that are one to a client.

    Attributes:
        worlds: where they are passed.
        when: whether the exception may come before what is done there, and after it.
        late: what may become of a stream that is over.
    """

    effect: Effect
    places: tuple[Place, ...]
    worlds: tuple[str, ...] = ("codex", "upstream")
    when: tuple[Literal["before", "after"], ...] = ("before", "after")
    late: Effect = Effect.NONE


def _self(ids: Ids, arguments: tuple[Any, ...]) -> str:
    return ids.of(arguments[0])


def _first(ids: Ids, arguments: tuple[Any, ...]) -> str:
    return ids.of(arguments[1])


def _line(ids: Ids, arguments: tuple[Any, ...]) -> str:
    return ids.of_line(arguments[-1])


def _anybody(_: Ids, __: tuple[Any, ...]) -> str:
    return ANYBODY


def _places(owner: Any, names: str, of: Of = _self) -> tuple[Place, ...]:
    return tuple(Place(owner, name, of) for name in names.split())


def _named(
    prefix: str,
    effect: Effect,
    owner: Any,
    names: str,
    of: Of = _self,
    worlds: tuple[str, ...] = ("codex", "upstream"),
) -> Iterator[tuple[str, Point]]:
    """A point for each of some functions."""
    for place in _places(owner, names, of):
        name = f"{prefix}.{place.name}"
        when: tuple[Literal["before", "after"], ...] = ("before", "after")
        if name in _LAST_RESORTS:
            when = ("after",)
        elif name in _ENDS:
            when = ("before",)
        yield name, Point(effect, (place,), worlds, when)


_LAST_RESORTS: Final = frozenset(
    (
        *("turn.cancel", "steering.cancel", "attempt._ask_to_stop"),
        *("parking._expire", "server.lost", "inbound._put", "process._kill", "log.flush"),
    )
)
"""Functions that release something, and behind which nothing does: an exception comes after."""

_ENDS: Final = frozenset(
    (
        *("reader.completed", "reader.lost", "reader.finish", "reader.fail"),
        *("chunks.fail", "chunks.close", "channel._resolve", "worker.run", "log.when_durable"),
    )
)
"""Functions behind which a stream has its end, or its answer: an exception comes before."""

_CODEX: Final = ("codex",)
_UPSTREAM: Final = ("upstream",)


def _stream_points() -> Iterator[tuple[str, Point]]:
    """From an event to its bytes: what is on its way when a stream is over may be cut."""
    for name, point in _pump_points():
        yield name, point._replace(late=Effect.CUT)


def _pump_points() -> Iterator[tuple[str, Point]]:
    yield from _named("machine", Effect.DEFECT, stream.Stream, "step passes")
    yield from _named("pump", Effect.DEFECT, pump.Pump, "_step flush_texts _act _moved _arm")
    yield from _named("timer", Effect.DEFECT, pump.Pump, "_take_due")
    yield from _named("record", Effect.DEFECT, streamlog.StreamLog, "append append_texts")
    yield from _named("record", Effect.UNLOGGED, streamlog.StreamLog, "close")
    yield from _named("sink", Effect.DEFECT, sinks.Sink, "take take_texts collect unsent end")
    yield from _named("sink", Effect.CUT, sinks.Sink, "send finish")
    yield from _named("sink", Effect.UNCOUNTED, sinks.Sink, "summary")
    yield from _named("sink", Effect.CUT, sinks.Sink, "cut")
    renderers = (
        sse.ChatChunks,
        fold.ChatBody,
        responsestream.ResponseEvents,
        responsefold.ResponseBody,
    )
    for name in ("render", "contents"):
        places = tuple(Place(owner, name, _self) for owner in renderers)
        yield f"renderer.{name}", Point(Effect.DEFECT, places)
    yield from _named("exchange", Effect.CUT, http.Exchange, "start write finish respond abort")
    yield from _named("outbound", Effect.CUT, outbound.Outbound, "transmit")


def _server_points() -> Iterator[tuple[str, Point]]:
    """From a request to its stream, and what is counted at its end."""
    yield from _named("opening", Effect.REFUSED, opening, "turns", _anyone_of)
    yield from _named("answering", Effect.REFUSED, router.Router, "_handle", _first)
    yield from _named("inbound", Effect.GONE, inbound.Inbound, "_put", _input)
    yield from _named("connection", Effect.REFUSED, connection.Connection, "_check", _second)
    yield from _named("connection", Effect.NONE, connection.Connection, "_drain_body")
    yield from _named("store", Effect.UNKEPT, keeping.Keeper, "before_last", _keeper)
    yield from _named("store", Effect.UNKEPT, sqlitestore.SqliteStore, "put", _response)
    yield from _named(
        "log", Effect.SHARED, eventlog.EventLog, "prune flush when_durable", _anybody
    )
    waits = (Place(serve.Server, "_wait_for_streams", _anybody),)
    yield "server.drains", Point(Effect.SHARED, waits, when=("before",))


def _input(ids: Ids, arguments: tuple[Any, ...]) -> str:
    """Of what comes, but not of its end."""
    return ids.of(arguments[0]) if arguments[1] else ""


def _second(ids: Ids, arguments: tuple[Any, ...]) -> str:
    request = arguments[2]
    return request.headers.get("x-request-id") or ""


def _anyone_of(ids: Ids, arguments: tuple[Any, ...]) -> str:
    return str(arguments[1].caller.request_id)


def _keeper(ids: Ids, arguments: tuple[Any, ...]) -> str:
    return ids.of_stream(arguments[0]._asked.response_id)


def _response(ids: Ids, arguments: tuple[Any, ...]) -> str:
    return ids.of_stream(arguments[1].response_id)


def _codex_points() -> Iterator[tuple[str, Point]]:
    """From a worker's line to an event, and the life of a turn."""
    lines = (Place(jsonrpc, "decode", _line),)
    yield "line.decode", Point(Effect.DEFECT, lines, worlds=_CODEX)
    dispatched = "text_delta notification request"
    yield from _named(
        "line", Effect.DEFECT, dispatcher.Dispatcher, dispatched, _line, worlds=_CODEX
    )
    reads = "text_delta reasoning_delta item_started item_completed raw_item response_completed"
    reads += " tokens_counted completed result_requested"
    yield from _named("reader", Effect.DEFECT, codex.TurnReader, reads, worlds=_CODEX)
    # An attempt that has failed may be told that its process is gone, while the next one goes on.
    # And what is met behind the last word of a turn comes too late for its client.
    either = "lost fail _finish"
    yield from _named("reader", Effect.EITHER, codex.TurnReader, either, worlds=_CODEX)
    begins = "_begin _begin_turn _send _answered _note"
    yield from _named("attempt", Effect.DEFECT, attempt.Attempt, begins, worlds=_CODEX)
    yield from _named("attempt", Effect.DEFECT, attempt.Attempt, "_stepped", worlds=_CODEX)
    ends = "_ask_to_stop _interrupted _started _unsubscribe"
    yield from _named("thread", Effect.NONE, thread.Thread, ends, worlds=_CODEX)
    made = (Place(attempt.Attempt, "__init__", _first),)
    yield "attempt.made", Point(Effect.DEFECT, made, worlds=_CODEX)
    lives = "_resumed _attempts"
    yield from _named("turn", Effect.DEFECT, codexturn.CodexTurn, lives, worlds=_CODEX)
    yield from _named("turn", Effect.NONE, codexturn.CodexTurn, "keep cancel", worlds=_CODEX)
    parks = "park _expire"
    yield from _named("parking", Effect.NONE, parking.Parking, parks, _parked, worlds=_CODEX)
    yield from _named("parking", Effect.DEFECT, parking.Parking, "take", _first, worlds=_CODEX)
    yield from _named(
        "worker", Effect.DEFECT, codexworker.CodexWorker, "run", _first, worlds=_CODEX
    )
    yield from _named(
        "worker", Effect.REFUSED, codexworker.CodexWorker, "check", _first, worlds=_CODEX
    )
    calls = "_resolve _timed_out"
    yield from _named("channel", Effect.EITHER, channel.Channel, calls, _first, worlds=_CODEX)
    serves = "ready lost connected _freed"
    yield from _named("server", Effect.SHARED, tenant.AppServer, serves, _anybody, worlds=_CODEX)
    others = (Place(tenant.AppServer, "_not_of_a_turn", _anybody),)
    yield "server.not_of_a_turn", Point(Effect.SHARED, others, worlds=_CODEX)
    lost = (Place(dispatcher.Dispatcher, "lost", _anybody),)
    yield "server.dispatcher_lost", Point(Effect.SHARED, lost, worlds=_CODEX)
    moves = (Place(codexworker.CodexWorker, "_changed", _anybody),)
    yield "process.changed", Point(Effect.SHARED, moves, worlds=_CODEX)
    spawns = "_act_in_time _kill"
    yield from _named("process", Effect.SHARED, process.Process, spawns, _anybody, worlds=_CODEX)


def _parked(ids: Ids, arguments: tuple[Any, ...]) -> str:
    """Of a parked turn, by itself or by the id of its first call."""
    lot, about = arguments[:2]
    parked = lot._turns.get(about) if isinstance(about, str) else None
    return ids.of(parked.turn if parked is not None else about)


def _upstream_points() -> Iterator[tuple[str, Point]]:
    """From a connection's bytes to an event."""
    reads = "take close fail"
    yield from _named("chunks", Effect.DEFECT, chunks.ChunkReader, reads, worlds=_UPSTREAM)
    bodies = (
        Place(upstreambody.AnswerBody, name, lambda ids, its: ids.of(its[0]._reader))
        for name in ("feed", "end")
    )
    for place in bodies:
        yield f"body.{place.name}", Point(Effect.DEFECT, (place,), worlds=_UPSTREAM)
    lives = "_attempt _answer _pass_on _note"
    yield from _named("turn", Effect.DEFECT, upstreamturn.UpstreamTurn, lives, worlds=_UPSTREAM)
    steered = "pause resume keep cancel"
    yield from _named(
        "steering", Effect.NONE, upstreamturn.UpstreamTurn, steered, worlds=_UPSTREAM
    )
    made = (Place(upstreamturn, "request_of", lambda ids, its: ids.of(its[0])),)
    yield "turn.request_of", Point(Effect.DEFECT, made, worlds=_UPSTREAM)
    runs = (Place(upstream.UpstreamWorker, "run", _first),)
    yield "upstream.run", Point(Effect.DEFECT, runs, worlds=_UPSTREAM, when=("before",))
    yield from _named("upstream", Effect.REFUSED, upstream.UpstreamWorker, "check", _first)
    watches = (Place(upstreamclient.Client, "models", _anybody),)
    yield "upstream.watch", Point(Effect.SHARED, watches, worlds=_UPSTREAM)


POINTS: Final[dict[str, Point]] = dict(
    [*_stream_points(), *_server_points(), *_codex_points(), *_upstream_points()]
)
"""Every point by its name."""


def of_world(world: str) -> tuple[str, ...]:
    """The points of a world."""
    return tuple(name for name, point in POINTS.items() if world in point.worlds)


SECOND: Final = ("machine.step", "sink.cut", "exchange.abort", "exchange.respond", "record.append")
"""Points that may break once another has: what is done about a defect fails as well."""

DOWN: Final = (
    *("server.connected", "server.not_of_a_turn", "process._act_in_time"),
    "upstream.watch",
)
"""Points at which a bug that lasts keeps a worker from being ready: nothing can be done for it."""

RETRIED: Final = ("server.", "process.")
"""Beginnings of points at which a process tries again what a bug has hit."""
