"""The route table, and the one way every request goes: gates, endpoint, error."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple
from urllib.parse import unquote

import msgspec

from engine import containment
from engine.routing import fleet as routing
from server import diagnostics
from server.api import gates
from server.api.call import JSON, Call
from server.chat import endpoint as chat
from server.context import Context
from server.http.errors import ApiError, defect
from server.http.exchange import Exchange, HeaderList
from server.responses import endpoint as responses

Endpoint = Callable[[Context, Call], Awaitable[None]]


class Route(NamedTuple):
    """One path of the API.

    Attributes:
        path: exact, or with one `{id}` for an id, which may hold slashes.
        key: whether a key is needed: always, never, or as `PROXY_PROTECT_MODELS` says.
    """

    path: str
    methods: tuple[str, ...]
    key: str
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
        protect = {"always": True, "never": False, "models": context.config.protect_models}
        key_id = gates.authenticate(context, request) if protect[route.key] else ""
        call = Call(exchange, gates.Caller(request_id, key_id), headers, tail)
        await route.endpoint(context, call)


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


async def models(context: Context, call: Call) -> None:
    """`GET /v1/models`."""
    targets = filter(None, map(context.fleet.resolve, context.fleet.listed()))
    listed = [_model(context, target) for target in targets]
    call.answer(200, {"object": "list", "data": listed})


async def model(context: Context, call: Call) -> None:
    """`GET /v1/models/{id}`."""
    target = context.fleet.resolve(call.tail)
    if target is None:
        message = f"The model '{call.tail[:200]}' does not exist."
        raise ApiError("model_not_found", message, "model")
    call.answer(200, _model(context, target))


async def health(context: Context, call: Call) -> None:
    """`GET /healthz`: the state of everything, for people."""
    workers = {name: each.health() for name, each in context.fleet.workers.items()}
    worker = context.worker.health()
    store = _store_health(context)
    is_well = store["state"] != "failing" and all(each.ready for each in workers.values())
    body: dict[str, object] = {
        "status": "ok" if is_well else "degraded",
        "state": context.lifecycle.state,
        "worker": {"kind": context.worker.kind.name, "state": worker.state},
        "workers": {name: each.state for name, each in workers.items()},
        "streams": len(context.streams),
        "store": store,
        "loop_lag_ms": context.lag.figures(),
    }
    if worker.counts:
        body["turns"] = worker.counts
    if dropped := diagnostics.lines_dropped():
        body["diagnostics_dropped"] = dropped
    if context.config.env is not None:
        body["env"] = context.config.env
    call.answer(200, body)


def _store_health(context: Context) -> dict[str, object]:
    store = context.store
    if store is None:
        return {"state": "off"}
    counts = store.counts
    return {
        "state": store.health,
        "failures": counts.failures,
        "files_lost": counts.files_lost,
    }


async def readiness(context: Context, call: Call) -> None:
    """`GET /readyz`: whether the default worker would take a request now, for load balancers."""
    worker = context.worker.health()
    if context.lifecycle.state == "ready" and worker.ready and context.log.accepting:
        call.answer(200, {"status": "ready"})
        return
    body = {"status": "not_ready", "state": context.lifecycle.state, "worker": worker.state}
    headers = [*call.headers, JSON, ("retry-after", "1")]
    call.exchange.respond(503, headers, msgspec.json.encode(body))


async def liveness(_: Context, call: Call) -> None:
    """`GET /livez`: whether the event loop turns."""
    call.answer(200, {"status": "alive"})


def _model(context: Context, target: routing.Target) -> dict[str, object]:
    return {
        "id": target.name,
        "object": "model",
        "created": context.started,
        "owned_by": target.worker.kind.models_owner,
    }


ABSENT: Final = frozenset(("/v1/responses/compact", "/v1/responses/input_tokens"))
"""Routes of the API that this server does not have, and that would pass for ids of responses."""

RESPONSES: Final = (
    Route("/v1/responses", ("POST", "HEAD"), "always", responses.create),
    Route("/v1/responses/{id}/cancel", ("POST",), "always", responses.cancel),
    Route("/v1/responses/{id}/input_items", ("GET",), "always", responses.input_items),
    Route("/v1/responses/{id}", ("GET", "DELETE"), "always", responses.retrieve),
)
"""Routes of the Responses API, which may be switched off."""

ROUTES: Final = (
    Route("/v1/chat/completions", ("POST", "HEAD"), "always", chat.complete),
    *RESPONSES,
    Route("/v1/models", ("GET", "HEAD"), "models", models),
    Route("/v1/models/{id}", ("GET", "HEAD"), "models", model),
    Route("/healthz", ("GET", "HEAD"), "never", health),
    Route("/readyz", ("GET", "HEAD"), "never", readiness),
    Route("/livez", ("GET", "HEAD"), "never", liveness),
)
"""Every route; `docs/api.md` lists them, and a test compares."""
