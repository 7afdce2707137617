"""The HTTP client of an upstream: its connections, its requests, what can go wrong with them."""

import enum
import errno
import os
import ssl
import time
import types
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from engine import slices
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

OWN_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Error numbers of a connection that could not be made for want of our own descriptors or memory:
the upstream has no part in it."""


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
        models: each once, the first `MODELS_MAX`.
        beyond: whether there are more.
    """

    models: tuple[str, ...] = ()
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

    async def complete(self, body: bytes) -> aiohttp.ClientResponse:
        """Ask for a completion; the response's head is here, its body is for the caller to read.

        A connection that the upstream closed while it was idle is no failure of the request: it
        is sent again on a new one, once, and only if nothing of an answer had come.

        Raises:
            Unanswered: there is none.
        """
        reuse = Reuse()
        try:
            try:
                return await self._post(self._pooled, body, reuse)
            except aiohttp.ClientConnectionError:
                if reuse.connection is Connection.FRESH:
                    raise
            return await self._post(self._fresh, body, reuse)
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
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
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
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
        self, session: aiohttp.ClientSession, body: bytes, reuse: Reuse
    ) -> aiohttp.ClientResponse:
        way = await self._environment.options()
        return await session.post(
            self._chat, data=body, allow_redirects=False, trace_request_ctx=reuse, **way
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


def retry_after_of(response: aiohttp.ClientResponse) -> float | None:
    """Return the seconds until the upstream wants to be asked again; None where it does not
    say."""
    return retryafter.seconds(response.headers.get("retry-after", ""), time.time())


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


class _Model(msgspec.Struct):
    id: str


class _Listed(msgspec.Struct):
    data: list[msgspec.Raw]


_LISTED: Final = msgspec.json.Decoder(_Listed)
_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MODEL: Final = msgspec.json.Decoder(_Model)


def listing(body: bytes) -> slices.Steps[Listing]:
    """Read the models of a listing, which some servers send as a bare array; rows without an id
    are left out."""
    models: dict[str, None] = {}
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
            models[parse.parse_outer(row, _MODEL).id] = None
        except parse.ParseError:
            continue
        finally:
            yield
        if len(models) > MODELS_MAX:
            models.popitem()
            return Listing(tuple(models), beyond=True)
    return Listing(tuple(models))
