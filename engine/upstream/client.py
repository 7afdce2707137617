"""The HTTP client of an upstream: its connections, its requests, what can go wrong with them."""

import asyncio
import enum
import errno
import os
import ssl
import time
import types
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog
from aiohttp import http_exceptions

from engine import slices, worker
from engine.failures import ProviderFailure
from engine.upstream import environment, errors as upstreamerrors, retryafter
from machines import parse

ERROR_BYTES: Final = 64 * 1024
"""Most bytes that are read of a response that is an error."""

ERROR_BODY_S: Final = 5.0
"""Seconds that the body of an error may take; the status alone is worth something."""

LISTING_S: Final = 10.0
"""Seconds that a listing of models may take."""

LISTING_BYTES: Final = 4 * 2**20
"""Most bytes that are read of a listing; a large catalogue has a tenth of that."""

MODELS_MAX: Final = 4096
"""Most models of a listing that are kept. The largest catalogues have some hundreds; each answer
that lists so many takes some milliseconds and 300 kB."""

ROW_BYTES: Final = 64 * 1024
"""Most bytes of a listing's row of which more is kept than its id; the longest have some 10 kB."""

OWN_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Error numbers of a connection that could not be made for want of our own descriptors or memory:
the upstream has no part in it."""

TRANSPORT_ERRORS: Final = (
    aiohttp.ClientError,
    http_exceptions.HttpProcessingError,
    aiohttp.EofStream,
    OSError,
)
"""Errors of a connection, and of all that comes over it; a limit of time is of the last class.
The second is raised of a body where the library was installed without its parser in C, and the
third is the end of a connection that the library reads heads from."""

NO_HEADERS: Final = types.MappingProxyType[str, str]({})
"""No headers beside those of every request."""

_log = structlog.get_logger(component="upstream")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The upstream's address, and how it is spoken to.

    Attributes:
        url: of its API as the OpenAI SDKs' `base_url`, such as `http://127.0.0.1:8000/v1`; a
            query is kept on every request.
        headers: sent with every request, in place of our own of the same name.
        connect_timeout: seconds for the name, the connection and TLS together.
        finish_grace: seconds that counts may come after the finish of an answer.
    """

    url: str
    api_key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    connect_timeout: float = 5.0
    finish_grace: float = 1.0


class Listing(msgspec.Struct, frozen=True):
    """The models that an upstream lists.

    Attributes:
        models: what it says of each, the first `MODELS_MAX`, without `id` and `object`.
        beyond: whether there are more.
    """

    models: dict[str, worker.ModelCard] = {}
    beyond: bool = False


class Unanswered(Exception):
    """Raised for a request without a response."""

    def __init__(self, failure: ProviderFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Connection(enum.Enum):
    """Where the connection of a request comes from."""

    FRESH = enum.auto()
    REUSED = enum.auto()
    """It has served an earlier request, and the upstream may have closed it since."""


class Reuse:
    """Gets to know the connection that one request is sent on."""

    def __init__(self) -> None:
        self.connection = Connection.FRESH


class Client:
    """Keeps connections to one upstream between requests. It is made within a running loop."""

    def __init__(self, options: Options) -> None:
        parts = urlsplit(options.url)
        base = parts.path.rstrip("/")
        self._chat = parts._replace(path=f"{base}/chat/completions").geturl()
        self._models = parts._replace(path=f"{base}/models").geturl()
        timeout = aiohttp.ClientTimeout(total=None, connect=options.connect_timeout)
        context = ssl.create_default_context()
        names = {name.lower() for name, _ in options.headers}
        has_login = options.api_key is not None or "authorization" in names
        self._environment = environment.Environment(options.url, has_login)
        self._pooled = self._session(options, timeout, context)
        self._fresh = self._session(options, timeout, context, force_close=True)

    async def complete(
        self, body: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> aiohttp.ClientResponse:
        """Ask for a completion; the response's head is here, its body is for the caller to read.

        A connection that the upstream closed while it was idle is no failure of the request: it
        is sent again on a new one, once, and only if nothing of an answer had come.

        Args:
            headers: of this request alone.

        Raises:
            Unanswered: there is none.
        """
        reuse = Reuse()
        try:
            try:
                return await self._post(self._pooled, body, headers, reuse)
            except aiohttp.ClientConnectionError:
                if reuse.connection is Connection.FRESH:
                    raise
            return await self._post(self._fresh, body, headers, reuse)
        except (*TRANSPORT_ERRORS, UnicodeError) as error:
            raise Unanswered(failure_of(error)) from error

    async def models(self) -> tuple[int, "Listing"]:
        """Ask for the listing of models; return its status and the models in it.

        Raises:
            Unanswered: there is none.
        """
        timeout = aiohttp.ClientTimeout(total=LISTING_S)
        try:
            way = await self._environment.options()
            async with self._fresh.get(self._models, timeout=timeout, **way) as response:
                body = await start_of(response, LISTING_BYTES)
                return response.status, await slices.in_slices(listing(body))
        except (*TRANSPORT_ERRORS, UnicodeError) as error:
            raise Unanswered(failure_of(error)) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._pooled.close()
        await self._fresh.close()

    def _session(
        self,
        options: Options,
        timeout: aiohttp.ClientTimeout,
        context: ssl.SSLContext,
        force_close: bool = False,
    ) -> aiohttp.ClientSession:
        own = {
            "accept": "text/event-stream, application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": "turntape",
        }
        if options.api_key is not None:
            own["authorization"] = f"Bearer {options.api_key}"
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_reused)
        # No limit: how many streams there are is decided where requests come in.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context, force_close=force_close),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={**own, **{name.lower(): value for name, value in options.headers}},
            timeout=timeout,
            trace_configs=[tracing],
        )

    async def _post(
        self,
        session: aiohttp.ClientSession,
        body: bytes,
        headers: Mapping[str, str],
        reuse: Reuse,
    ) -> aiohttp.ClientResponse:
        way = await self._environment.options()
        return await session.post(
            self._chat,
            data=body,
            allow_redirects=False,
            trace_request_ctx=reuse,
            **{**way, "headers": {**headers, **way.get("headers", {})}},
        )


async def _reused(
    _session: aiohttp.ClientSession, context: types.SimpleNamespace, _params: Any
) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.connection = Connection.REUSED


async def start_of(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Read the beginning of a body; what is beyond `most` bytes is not waited for."""
    body = bytearray()
    while len(body) < most and (data := await response.content.readany()):
        body += data
    return bytes(body[:most])


def is_event_stream(response: aiohttp.ClientResponse) -> bool:
    """Return whether the body is labelled as an event stream.

    The library reads labels with a parser of mail, which takes 0.1 s for some of 8,000 characters.
    """
    label = response.headers.get("content-type", "")
    return label.partition(";")[0].strip().lower() == "text/event-stream"


class ConnectionWatch:
    """Sees how the connection of a response ends, where the library tells its reader nothing.

    A body that has neither a length nor chunks ends where its connection does, and the library
    takes a reset for such an end. It does note it, in the connection's protocol, which a response
    lets go of at its end. Where the framing of chunks breaks behind some that were good, the
    library closes the connection, and whoever reads the body would wait for ever.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        connection = response.connection
        self._protocol = connection.protocol if connection is not None else None
        self._content = response.content
        self._closed = self._protocol.closed if self._protocol is not None else None
        if self._closed is not None:
            self._closed.add_done_callback(self._break_off)
        else:
            self._break_off(None)

    @property
    def saw_reset(self) -> bool:
        """Whether it was reset."""
        found = self._protocol.exception() if self._protocol is not None else None
        return isinstance(found, aiohttp.ClientOSError | OSError)

    def close(self) -> None:
        """Stop watching: the next response may have the same connection."""
        if self._closed is not None:
            self._closed.remove_done_callback(self._break_off)
            # A loop complains of an exception that nobody has looked at.
            self._closed.remove_done_callback(_look)
            self._closed.add_done_callback(_look)

    def _break_off(self, closed: asyncio.Future[None] | None) -> None:
        if closed is not None:
            _look(closed)
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError("the body has no end"))


def _look(closed: asyncio.Future[None]) -> None:
    if not closed.cancelled():
        closed.exception()


def advice_of(response: aiohttp.ClientResponse) -> upstreamerrors.Advice:
    """Return what the upstream says of trying again."""
    headers = response.headers
    seconds = retryafter.milliseconds(headers.get("retry-after-ms", ""))
    if seconds is None:
        seconds = retryafter.seconds(headers.get("retry-after", ""), time.time())
    word = headers.get("x-should-retry", "").strip().lower()
    return upstreamerrors.Advice(seconds, {"true": True, "false": False}.get(word))


def failure_of(error: Exception) -> ProviderFailure:
    """Return what it means to a client that there is no response."""
    number = error.errno if isinstance(error, OSError) else None
    if number in OWN_LIMITS:
        _log.warning("no_connection_left", why=os.strerror(number))
        return upstreamerrors.EXHAUSTED
    match error:
        case TimeoutError():
            return upstreamerrors.UNREACHABLE_IN_TIME
        # A host name with an impossible label is a UnicodeError.
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError() | UnicodeError():
            return upstreamerrors.UNREACHABLE
        case aiohttp.ClientConnectionError() | OSError():
            return upstreamerrors.DISCONNECTED
    return upstreamerrors.NO_ANSWER


class _Named(msgspec.Struct):
    id: str


class _Listed(msgspec.Struct):
    data: list[msgspec.Raw]


_LISTED: Final = msgspec.json.Decoder(_Listed)
_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NAMED: Final = msgspec.json.Decoder(_Named)
_ROW: Final = msgspec.json.Decoder(dict[str, Any])


def listing(body: bytes) -> slices.Steps[Listing]:
    """Read the models of a listing, which some servers send as a bare array; rows without an id
    are left out."""
    models: dict[str, worker.ModelCard] = {}
    try:
        if (yield from parse.scan_depth(body)):
            return Listing()
        bare = body.lstrip().startswith(b"[")
        rows = parse.parse_outer(body, _ROWS) if bare else parse.parse_outer(body, _LISTED).data
    except parse.ParseError:
        return Listing()
    yield
    for row in rows:
        try:
            name = parse.parse_outer(row, _NAMED).id
        except parse.ParseError:
            continue
        else:
            models.setdefault(name, _card(row))
        finally:
            yield
        if len(models) > MODELS_MAX:
            models.popitem()
            return Listing(models, beyond=True)
    return Listing(models)


def _card(row: msgspec.Raw) -> worker.ModelCard:
    """What a row says, without its id; nothing of one that is too long, or cannot be read."""
    if len(bytes(row)) > ROW_BYTES:  # it alone could hold every stream
        return worker.ModelCard()
    try:
        members = parse.parse_outer(row, _ROW)
    except parse.ParseError:
        return worker.ModelCard()
    for name in ("id", "object"):
        members.pop(name, None)
    created, owned_by = members.pop("created", None), members.pop("owned_by", None)
    return worker.ModelCard(
        created=created if type(created) is int else None,
        owned_by=owned_by if isinstance(owned_by, str) else None,
        members=msgspec.json.encode(members),
    )
