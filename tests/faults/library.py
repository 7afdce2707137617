"""Errors of the HTTP library, raised in a real process for the streams that ask for one.

    library.install()
    request_id = library.hit("head", "ServerDisconnectedError")  # a client's `x-request-id`

An error is raised where the library itself would raise it: beneath its public calls, so that what
these make of it is part of the test. Only the turn of that request meets it.
"""

import contextvars
import functools
import inspect
import secrets
import ssl
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp import client_exceptions, client_proto, client_reqrep, http_exceptions
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from engine.upstream import turn as upstreamturn

MARK: Final = "library"
"""What the ids of requests begin with that meet an error."""

NOT_OF_REQUESTS: Final = frozenset({"WebSocketError", "WSMessageTypeError"})
"""Errors of the library that only a WebSocket's reader raises: the worker opens none."""

_KEY: Final = client_reqrep.ConnectionKey("host.internal", 1, False, True, None, None, None)

_REFUSED: Final = OSError(111, "Connect call failed ('10.0.0.1', 1)")

_HEADERS: Final = CIMultiDictProxy(CIMultiDict[str]())

_URL: Final = URL("http://host.internal:1/v1")

Make = Callable[[Any], Exception]


class Signature(NamedTuple):
    """How errors are made whose constructor has these parameters, `self` not among them."""

    parameters: tuple[str, ...]
    make: Make


_MADE: Final = (
    Signature(("args", "kwargs"), lambda kind: kind("said by host.internal")),
    Signature(("connection_key", "certificate_error"), lambda kind: kind(_KEY, ssl.SSLError(1))),
    Signature(("connection_key", "os_error"), lambda kind: kind(_KEY, _REFUSED)),
    Signature(("path", "connection_key", "os_error"), lambda kind: kind("/s", _KEY, _REFUSED)),
    Signature(
        ("request_info", "history", "code", "status", "message", "headers"),
        lambda kind: kind(aiohttp.RequestInfo(_URL, "POST", _HEADERS, _URL), (), status=407),
    ),
    Signature(("url", "description"), lambda kind: kind(_URL)),
    Signature(("message",), lambda kind: kind("said by host.internal")),
    Signature(("message", "headers"), lambda kind: kind("said by host.internal")),
    Signature(("code", "message", "headers"), lambda kind: kind(message="said by host.internal")),
    Signature(("expected", "got", "host", "port"), lambda kind: kind(b"a", b"b", "h", 1)),
    Signature(("line", "error"), lambda kind: kind("said by host.internal")),
    Signature(("hdr",), lambda kind: kind("x-host.internal")),
    Signature(("line", "limit", "actual_size"), lambda kind: kind(b"GET", 1, "2")),
    Signature(("line", "limit"), lambda kind: kind(b"GET", 1)),
)


def _kinds() -> dict[str, type[Exception]]:
    """Every public class of the library that can be raised at a request, and some of Python's."""
    public = [getattr(aiohttp, name) for name in aiohttp.__all__]
    for module in (client_exceptions, http_exceptions):
        public += [each for name, each in vars(module).items() if not name.startswith("_")]
    public += [OSError, ConnectionResetError, BrokenPipeError, TimeoutError, ssl.SSLError]
    return {
        each.__name__: each
        for each in public
        if inspect.isclass(each)
        and issubclass(each, Exception)
        and not issubclass(each, Warning)
        and each.__name__ not in NOT_OF_REQUESTS
    }


KINDS: Final = _kinds()
"""Every error by its name, as the installed version of the library has them."""


def error(name: str) -> Exception:
    """A new error of this name."""
    kind = KINDS[name]
    try:
        parameters = tuple(inspect.signature(kind.__init__).parameters)[1:]
    except ValueError:  # a class in C
        parameters = ("args", "kwargs")
    (make,) = (made.make for made in _MADE if made.parameters == parameters)
    return make(kind)


class Raising:
    """Stands for a session of the library whose requests fail."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get(self, *_: Any, **__: Any) -> Any:
        """Raise, before there is anything to wait for."""
        raise error(self._name)


class Place(NamedTuple):
    """Where an error is raised.

    Attributes:
        owner, function: what the library awaits there, or what is awaited of it.
        calls: which of its calls by one turn raise, from 1.
    """

    owner: Any
    function: str
    calls: Collection[int]


ALWAYS: Final = range(1, 100)

PLACES: Final[dict[str, Place]] = {
    "connect": Place(aiohttp.TCPConnector, "connect", ALWAYS),
    "head": Place(client_proto.ResponseHandler, "read", ALWAYS),
    "kept": Place(client_proto.ResponseHandler, "read", (1,)),
    "body": Place(aiohttp.StreamReader, "readany", (1,)),
    "rest": Place(aiohttp.StreamReader, "readany", (2,)),
}
"""Every place by its name: before there is a connection; before the head of an answer, or only of
the first one that is awaited; before the body, or when a part of it has come."""


def hit(place: str, name: str) -> str:
    """The id of a request whose turn meets an error."""
    return f"{MARK}-{place}-{name}-{secrets.token_hex(8)}"


_REQUEST: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("request", default="")
"""The request of the turn that runs."""


def install() -> None:
    """Have every place raise what requests ask for."""
    live = upstreamturn.UpstreamTurn._live

    @functools.wraps(live)
    async def known(turn: upstreamturn.UpstreamTurn) -> None:
        _REQUEST.set(turn._turn.request_id)
        await live(turn)

    setattr(upstreamturn.UpstreamTurn, "_live", known)  # noqa: B010 - mypy takes no assignment
    for name, place in PLACES.items():
        _raise_at(name, place)


def _raise_at(name: str, place: Place) -> None:
    usual = getattr(place.owner, place.function)
    calls: dict[str, int] = {}

    @functools.wraps(usual)
    async def instead(*arguments: Any, **options: Any) -> Any:
        request_id = _REQUEST.get()
        mark, _, wanted = request_id.partition("-")
        where, _, what = wanted.partition("-")
        if (mark, where) == (MARK, name):
            calls[request_id] = calls.get(request_id, 0) + 1
            if calls[request_id] in place.calls:
                raise error(what.partition("-")[0])
        return await usual(*arguments, **options)

    setattr(place.owner, place.function, instead)
