"""The route table, and the one way every request goes: gates, endpoint, error."""

import enum
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple
from urllib.parse import unquote

from engine import containment
from server.api import gates, models
from server.api.call import Call
from server.chat import endpoint as chat
from server.context import Context
from server.http.errors import ApiError, defect
from server.http.exchange import Exchange, HeaderList
from server.ops import health
from server.responses import endpoint as responses

Endpoint = Callable[[Context, Call], Awaitable[None]]


class KeyNeed(enum.Enum):
    """Whether a request needs the API key, where the server has one."""

    ALWAYS = enum.auto()
    NEVER = enum.auto()
    MODELS = enum.auto()
    """A key is needed as `PROXY_PROTECT_MODELS` says."""


class Route(NamedTuple):
    """One path of the API.

    Attributes:
        path: exact, or with one `{id}` for an id, which may hold slashes.
    """

    path: str
    methods: tuple[str, ...]
    key: KeyNeed
    endpoint: Endpoint


class Router:
    """Answers every request of the server."""

    def __init__(self, context: Context) -> None:
        self._context = context
        off = () if context.config.enable_responses else RESPONSES
        self._routes = tuple(route for route in ROUTES if route not in off)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one exchange, whatever goes wrong."""
        request = exchange.request
        request_id = gates.request_id(request)
        headers = [("x-request-id", request_id), *gates.cors(self._context, request)]
        try:
            await self._handle(exchange, request_id, headers)
        except ApiError as error:
            exchange.respond(error.status, [*headers, *error.headers()], error.body())
        except Exception as error:
            where = containment.Boundary.REQUEST
            containment.report(where, error, req_id=request_id, path=request.path)
            fault = defect()
            exchange.respond(fault.status, [*headers, *fault.headers()], fault.body())

    async def _handle(self, exchange: Exchange, request_id: str, headers: HeaderList) -> None:
        context, request = self._context, exchange.request
        gates.check_host(context, request)
        route, tail = find(self._routes, request.path)
        if request.method == "OPTIONS":
            exchange.respond(204, [*headers, *gates.preflight(request, route.methods)], b"")
            return
        if request.method not in route.methods:
            allow = ", ".join((*route.methods, "OPTIONS"))
            message = f"{request.method} is not allowed here; try {allow}."
            raise ApiError("method_not_allowed", message, headers=(("allow", allow),))
        key_id = gates.authenticate(context, request) if self._needs_key(route) else ""
        call = Call(exchange, gates.Caller(request_id, key_id), headers, tail)
        await route.endpoint(context, call)

    def _needs_key(self, route: Route) -> bool:
        if route.key is KeyNeed.MODELS:
            return self._context.config.protect_models
        return route.key is KeyNeed.ALWAYS


def find(routes: tuple[Route, ...], path: str) -> tuple[Route, str]:
    """The route of a path, and what it has beyond it.

    Raises:
        ApiError: `not_found`.
    """
    for route in routes if path not in ABSENT else ():
        before, marked, after = route.path.partition("{id}")
        if not marked:
            if path == before:
                return route, ""
        elif path.startswith(before) and path.endswith(after):
            tail = path[len(before) : len(path) - len(after)]
            if tail:
                return route, unquote(tail)
    raise ApiError("not_found", f"Unknown request URL: {path[:200]}.")


ABSENT: Final = frozenset(("/v1/responses/compact", "/v1/responses/input_tokens"))
"""Routes of the API that this server does not have, and that would pass for ids of responses."""

RESPONSES: Final = (
    Route("/v1/responses", ("POST", "HEAD"), KeyNeed.ALWAYS, responses.create),
    Route("/v1/responses/{id}/cancel", ("POST",), KeyNeed.ALWAYS, responses.cancel),
    Route("/v1/responses/{id}/input_items", ("GET",), KeyNeed.ALWAYS, responses.input_items),
    Route("/v1/responses/{id}", ("GET", "DELETE"), KeyNeed.ALWAYS, responses.retrieve),
)
"""Routes of the Responses API, which may be switched off."""

ROUTES: Final = (
    Route("/v1/chat/completions", ("POST", "HEAD"), KeyNeed.ALWAYS, chat.complete),
    *RESPONSES,
    Route("/v1/models", ("GET", "HEAD"), KeyNeed.MODELS, models.models),
    Route("/v1/models/{id}", ("GET", "HEAD"), KeyNeed.MODELS, models.model),
    Route("/healthz", ("GET", "HEAD"), KeyNeed.NEVER, health.health),
    Route("/readyz", ("GET", "HEAD"), KeyNeed.NEVER, health.readiness),
    Route("/livez", ("GET", "HEAD"), KeyNeed.NEVER, health.liveness),
)
"""Every route; `docs/api.md` lists them, and a test compares."""
