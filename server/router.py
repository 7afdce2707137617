"""The route table, and the one way every request goes: gates, endpoint, error."""

import enum
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple
from urllib.parse import unquote

from engine import containment, failures
from server.access.entry import METRICS, Entry
from server.api import gates, models
from server.api.call import Call
from server.chat import endpoint as chat
from server.completions import endpoint as completions
from server.context import Context
from server.http.errors import ApiError, defect
from server.http.exchange import Exchange, HeaderList, Request, Stage
from server.keys import keyring
from server.ops import about, conc, health, logcontent, maintenance, metrics
from server.responses import endpoint as responses, inputtokens, session
from server.streams import endpoint as streams
from server.usage import endpoint as usage

Endpoint = Callable[[Context, Call], Awaitable[None]]


class KeyNeed(enum.Enum):
    """Whether a request needs the API key, where the server has one."""

    ALWAYS = enum.auto()
    NEVER = enum.auto()
    MODELS = enum.auto()
    """A key is needed as `PROXY_PROTECT_MODELS` says."""
    METRICS = enum.auto()
    """No key of clients opens it: `server.ops.metrics` says what does."""
    USAGE = enum.auto()
    """A key is needed unless `PROXY_USAGE_ALLOW_UNAUTH`; the operator's opens it as well."""
    OWNER = enum.auto()
    """A key is needed as for answers, and sees its own; the operator's sees all."""
    ADMIN = enum.auto()
    """The operator's key is needed; without one there is no such route."""


class Route(NamedTuple):
    """One path of the API.

    Attributes:
        path: exact, or with one `{id}` for an id; a model's may hold slashes.
    """

    path: str
    methods: tuple[str, ...]
    key: KeyNeed
    endpoint: Endpoint


class Router:
    """Answers every request of the server.

    A request has one context from its first line to its last: `use` puts another in force for
    those that come later.
    """

    def __init__(self, context: Context) -> None:
        self.use(context)

    def use(self, context: Context) -> None:
        """Answer the requests that come from now on with this context."""
        self._context = context
        self._routes = routes_of(context)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one exchange, whatever goes wrong."""
        request, context = exchange.request, self._context
        entry = context.access.begin(request, gates.request_id(request))
        headers = _headers(context, request, entry.request_id)
        try:
            await self._answer(exchange, entry, headers)
        finally:
            context.access.end(entry, exchange)

    def refuse(
        self, error: ApiError, request: Request | None, peer: str
    ) -> tuple[int, HeaderList, bytes]:
        """Make the answer to what never came to be handled: a `server.http.exchange.Refuse`."""
        request_id = gates.request_id(request)
        self._context.access.refuse(error, request, peer, request_id)
        return error.response(_headers(self._context, request, request_id))

    async def _answer(self, exchange: Exchange, entry: Entry, headers: HeaderList) -> None:
        try:
            await self._handle(exchange, entry, headers)
        except ApiError as error:
            entry.error = error
        except Exception as error:
            where = containment.Boundary.REQUEST
            ids = {"req_id": entry.request_id, "path": exchange.request.path}
            containment.report(where, error, **ids)
            entry.error = defect()
        else:
            return
        if exchange.stage is Stage.PENDING:
            exchange.respond(*entry.error.response(headers))
        else:
            exchange.abort()  # the end of what was sent would look like the end of all

    async def _handle(self, exchange: Exchange, entry: Entry, headers: HeaderList) -> None:
        # Nothing has waited since `handle`: it is the same context, and the routes are its own.
        context, routes, request = self._context, self._routes, exchange.request
        gates.check_host(context, request)
        if request.method == "OPTIONS":
            preflight = gates.preflight(request, _methods(routes, request))
            exchange.respond(204, [*headers, *preflight], b"")
            return
        route, tail = find(routes, request.path)
        entry.route = route.path
        upgrades = route.path == "/v1/responses" and gates.upgrades(exchange)
        if request.method not in route.methods and not upgrades:
            allow = ", ".join((*route.methods, "OPTIONS"))
            message = f"{entry.method} is not allowed here; try {allow}."
            raise ApiError("method_not_allowed", message, headers=(("allow", allow),))
        grant, entry.key = _admit(context, route, request)
        call = Call(exchange, gates.Caller(entry.request_id, grant), headers, entry, tail)
        await (session.converse if upgrades else route.endpoint)(context, call)


def _headers(context: Context, request: Request | None, request_id: str) -> HeaderList:
    """Return the headers of every answer."""
    readers = [] if request is None else gates.cors(context, request)
    return [("x-request-id", request_id), *readers]


def _methods(routes: tuple[Route, ...], request: Request) -> tuple[str, ...]:
    """Return the methods of a path, as a preflight asks for them."""
    try:
        return find(routes, request.path)[0].methods
    except ApiError:
        return METHODS


def _admit(context: Context, route: Route, request: Request) -> tuple[keyring.Grant, str]:
    """Return what the request's key allows, and the name that it goes by; empty without one.

    Raises:
        ApiError: the route needs a key, and it is not this one.
    """
    match route.key:
        case KeyNeed.NEVER:
            return keyring.NOBODY, ""
        case KeyNeed.METRICS:
            return keyring.NOBODY, metrics.admit(context.config, request)
        case KeyNeed.ADMIN:
            gates.authenticate_admin(context, request)
            return keyring.NOBODY, gates.ADMIN_KEY_NAME
        case KeyNeed.USAGE if (name := gates.admit_to_usage(context, request)) is not None:
            return keyring.NOBODY, name
        case KeyNeed.OWNER if gates.is_admin(context, request):
            return keyring.NOBODY, gates.ADMIN_KEY_NAME
        case KeyNeed.MODELS if not context.config.protect_models:
            grant = gates.recognise(context, request)
        case _:
            grant = gates.authenticate(context, request)
    return grant, grant.name


def routes_of(context: Context) -> tuple[Route, ...]:
    """The routes of a server with this configuration."""
    config = context.config
    off = [
        *(() if config.enable_responses else RESPONSES),
        *(() if config.admin_key is not None else ADMIN),
        *(() if config.test_endpoints else TESTS),
        *(() if context.metrics is not None else (OF_METRICS,)),
    ]
    return tuple(route for route in ROUTES if route not in off)


def find(routes: tuple[Route, ...], path: str) -> tuple[Route, str]:
    """The route of a path, and what it has beyond it.

    Raises:
        ApiError: `not_found`.
    """
    for route in routes:
        before, marked, after = route.path.partition("{id}")
        if not marked:
            if path == before:
                return route, ""
        elif path.startswith(before) and path.endswith(after):
            tail = path[len(before) : len(path) - len(after)]
            if tail and ("/" not in tail or route.path == MODEL):
                return route, unquote(tail)
    meant = _meant(routes, path)
    hint = f" Did you mean {meant}?" if meant else _unoffered(path)
    raise ApiError("not_found", f"Unknown request URL: {failures.without_keys(path[:200])}.{hint}")


def _meant(routes: tuple[Route, ...], path: str) -> str:
    """Return the path of the API that one was meant to be, as far as clients are known to get it
    wrong: without `/v1`, with it twice, with slashes too many; empty where nobody knows."""
    words = [word for word in path[:MEANT_CHARACTERS].split("/") if word]
    while words[:1] == ["v1"]:
        words.pop(0)
    meant = "/".join(("/v1", *words))
    known = {route.path for route in routes}
    return meant if words and meant in known else ""


def _unoffered(path: str) -> str:
    """Return what is said of a path that no route has: whether it is one of OpenAI's."""
    part = path[:MEANT_CHARACTERS].removeprefix("/v1/").partition("/")[0]
    stored = path.startswith(STORED_COMPLETIONS)
    if not stored and (not path.startswith("/v1/") or part not in UNOFFERED):
        return " GET /v1/models lists the models."
    return f" This server offers no such part of the API ('{part}')."


MODEL: Final = "/v1/models/{id}"
"""The route whose ids may hold slashes: names of models are like paths."""

STORED_COMPLETIONS: Final = "/v1/chat/completions/"
"""Where OpenAI's API has the completions that it stored; this server stores none."""

UNOFFERED: Final = frozenset(
    (
        *("agents", "assistants", "audio", "batches", "chatkit", "containers"),
        *("content_provenance_checks", "conversations", "decisions", "embeddings", "evals"),
        *("files", "fine_tuning", "images", "live", "moderations", "organization", "projects"),
        *("realtime", "safety", "skills", "threads", "uploads", "vaults", "vector_stores"),
        *("videos", "webhook_endpoints", "webhook_event_types"),
    )
)
"""The parts of OpenAI's API that its SDK has and this server does not, by the word behind `/v1/`.
Of `chat` there are the completions; what is stored of them elsewhere is not."""

MEANT_CHARACTERS: Final = 200
"""Characters of a path that are looked at for what it was meant to be."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
"""Methods that any route may have: a preflight for a path that there is not is answered with."""

RESPONSES: Final = (
    Route("/v1/responses", ("POST", "HEAD"), KeyNeed.ALWAYS, responses.create),
    Route("/v1/responses/input_tokens", ("POST",), KeyNeed.ALWAYS, inputtokens.count),
    Route("/v1/responses/compact", ("POST",), KeyNeed.ALWAYS, inputtokens.compact),
    Route("/v1/responses/{id}/cancel", ("POST",), KeyNeed.ALWAYS, responses.cancel),
    Route("/v1/responses/{id}/input_items", ("GET",), KeyNeed.ALWAYS, responses.input_items),
    Route("/v1/responses/{id}", ("GET", "DELETE"), KeyNeed.ALWAYS, responses.retrieve),
)
"""Routes of the Responses API, which may be switched off."""

OF_METRICS: Final = Route(METRICS, ("GET", "HEAD"), KeyNeed.METRICS, metrics.metrics)
"""The route of the metrics, which may be switched off."""

ADMIN: Final = (
    Route("/admin/maintenance", ("GET", "PUT"), KeyNeed.ADMIN, maintenance.maintain),
    Route("/admin/logging", ("GET", "PUT"), KeyNeed.ADMIN, logcontent.log_content),
)
"""Routes of the operator, which are there with `PROXY_ADMIN_KEY`."""

TESTS: Final = (Route("/__test/conc", ("GET",), KeyNeed.NEVER, conc.concurrency),)
"""Routes for tests, which are there with `PROXY_TEST_ENDPOINTS`."""

ROUTES: Final = (
    Route("/v1/chat/completions", ("POST", "HEAD"), KeyNeed.ALWAYS, chat.complete),
    Route("/v1/completions", ("POST", "HEAD"), KeyNeed.ALWAYS, completions.complete),
    *RESPONSES,
    Route("/v1/models", ("GET", "HEAD"), KeyNeed.MODELS, models.models),
    Route(MODEL, ("GET", "HEAD"), KeyNeed.MODELS, models.model),
    Route("/v1/usage", ("GET",), KeyNeed.USAGE, usage.usage),
    Route("/v1/usage/raw", ("GET",), KeyNeed.USAGE, usage.raw),
    Route("/v1/streams/{id}", ("GET",), KeyNeed.OWNER, streams.stream),
    Route("/", ("GET", "HEAD"), KeyNeed.NEVER, about.about),
    Route("/healthz", ("GET", "HEAD"), KeyNeed.NEVER, health.health),
    Route("/readyz", ("GET", "HEAD"), KeyNeed.NEVER, health.readiness),
    Route("/livez", ("GET", "HEAD"), KeyNeed.NEVER, health.liveness),
    OF_METRICS,
    *ADMIN,
    *TESTS,
)
"""Every route; `docs/api.md` lists them, and a test compares."""
