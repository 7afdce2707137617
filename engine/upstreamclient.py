"""The HTTP client of an upstream: its connections, its requests, what can go wrong with them."""

import ssl
import time
import types
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from engine import retryafter, upstreamerrors
from engine.failures import ProviderFailure
from machines import parse

ERROR_BYTES: Final = 64 * 1024
"""How much is read of a response that is an error."""

ERROR_BODY_S: Final = 5.0
"""How long its body may take; the status alone is worth something."""

LISTING_S: Final = 10.0
"""How long a listing of models may take."""

LISTING_BYTES: Final = 4 * 2**20
"""How much of it is read; a large catalogue is a tenth of that."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Where the upstream is, and how it is spoken to.

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


class Unanswered(Exception):
    """Raised for a request without a response."""

    def __init__(self, failure: ProviderFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Reuse:
    """What is known of the connection of one request."""

    def __init__(self) -> None:
        self.connection = "fresh"


class Client:
    """Connections to one upstream, kept between requests. Made within a running loop."""

    def __init__(self, options: Options) -> None:
        parts = urlsplit(options.url)
        base = parts.path.rstrip("/")
        self._chat = parts._replace(path=f"{base}/chat/completions").geturl()
        self._models = parts._replace(path=f"{base}/models").geturl()
        timeout = aiohttp.ClientTimeout(total=None, connect=options.connect_timeout)
        context = ssl.create_default_context()
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
                if reuse.connection == "fresh":
                    raise
            return await self._post(self._fresh, body, reuse)
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
            raise Unanswered(_failure(error)) from error

    async def models(self) -> tuple[int, tuple[str, ...]]:
        """The status of its listing, and the models in it.

        Raises:
            Unanswered: there is none.
        """
        timeout = aiohttp.ClientTimeout(total=LISTING_S)
        try:
            async with self._fresh.get(self._models, timeout=timeout) as response:
                return response.status, _ids(await start_of(response, LISTING_BYTES))
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
            raise Unanswered(_failure(error)) from error

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
            trust_env=True,
        )

    async def _post(
        self, session: aiohttp.ClientSession, body: bytes, reuse: Reuse
    ) -> aiohttp.ClientResponse:
        return await session.post(
            self._chat, data=body, allow_redirects=False, trace_request_ctx=reuse
        )


async def _reused(
    _session: aiohttp.ClientSession, context: types.SimpleNamespace, _params: Any
) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.connection = "reused"


async def start_of(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, as far as it comes; what is beyond `most` bytes is not waited for."""
    body = bytearray()
    while len(body) < most and (data := await response.content.readany()):
        body += data
    return bytes(body[:most])


def is_event_stream(response: aiohttp.ClientResponse) -> bool:
    """Whether the body is labelled as one.

    The library reads labels with a parser of mail, which takes 0.1 s for some of 8,000 characters.
    """
    label = response.headers.get("content-type", "")
    return label.partition(";")[0].strip().lower() == "text/event-stream"


def retry_after_of(response: aiohttp.ClientResponse) -> float | None:
    """Seconds until the upstream wants to be asked again; None where it does not say."""
    return retryafter.seconds(response.headers.get("retry-after", ""), time.time())


def _failure(error: Exception) -> ProviderFailure:
    match error:
        case TimeoutError():
            return upstreamerrors.UNREACHABLE_IN_TIME
        # A host name with an impossible label is a UnicodeError.
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError() | UnicodeError():
            return upstreamerrors.UNREACHABLE
        case aiohttp.ClientConnectionError() | OSError():
            return upstreamerrors.DISCONNECTED
    return upstreamerrors.NO_ANSWER


def _ids(body: bytes) -> tuple[str, ...]:
    """The models of a listing, each once."""
    try:
        listed: Any = parse.value(body)["data"]
        ids = [model["id"] for model in listed]
    except (parse.ParseError, LookupError, TypeError):
        return ()
    return tuple(dict.fromkeys(name for name in ids if isinstance(name, str)))
