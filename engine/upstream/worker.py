"""The worker that passes turns on to an OpenAI-compatible HTTP server."""

import asyncio
import enum
from typing import Final

import structlog

from engine import containment, slices, worker, workerkinds
from engine.upstream import client as upstreamclient, turn as upstreamturn

REFRESH_S: Final = 60.0
"""Seconds between two questions for the models of a reachable upstream."""

RETRY_BASE_S: Final = 0.5
"""Seconds until an upstream that cannot be reached is asked again; each further delay is twice as
long."""

RETRY_MAX_S: Final = 15.0
"""Most seconds between two such questions."""

_log = structlog.get_logger(component="upstream")


class Reach(enum.Enum):
    """Whether an upstream was there when it was last asked, in the words of `/healthz`."""

    CONNECTING = "connecting"
    """It has not answered yet, or not been asked."""

    READY = "ready"
    UNREACHABLE = "unreachable"


class UpstreamWorker:
    """Answers turns from one upstream.

    It is ready once the upstream has answered for its models, whatever it answered below 500: not
    every server lists them. Readiness is for load balancers; a turn is tried at any time.
    """

    kind = workerkinds.UPSTREAM
    accepts: worker.AnyModel | worker.ListedModels = worker.AnyModel()

    def __init__(self, options: upstreamclient.Options) -> None:
        self._options = options
        self._reach = Reach.CONNECTING
        self._models: dict[str, worker.ModelCard] = {}
        self._names: tuple[str, ...] = ()
        self._is_cut = False
        self._turns: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to ask the upstream for its models."""
        self._client = upstreamclient.Client(self._options)
        self._watch = asyncio.get_running_loop().create_task(
            containment.keep_running("watch_upstream", self._watch_upstream)
        )

    async def stop(self) -> None:
        """Close every connection, whatever runs on it."""
        tasks = [self._watch, *self._turns]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    def health(self) -> worker.Health:
        """Return whether the upstream was there when it was last asked."""
        if self._reach is Reach.READY:
            return worker.Health(True, self._reach.value)
        return worker.Health(False, self._reach.value, "worker_not_ready", RETRY_BASE_S)

    def versions(self) -> dict[str, str]:
        """Return no version: an upstream does not tell its own."""
        return {}

    def models(self) -> tuple[str, ...]:
        """Return the models that the upstream lists; empty before it has answered, or if it lists
        none."""
        return self._names

    def describe(self, model: str) -> worker.ModelCard:
        """Return what the upstream says of a model."""
        return self._models.get(model) or worker.ModelCard()

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        """Refuse a turn that is no chat request; anything else is the upstream's to judge."""
        yield
        if "messages" not in turn.body:
            message = "Missing required parameter: 'messages'."
            raise worker.TurnRefused("invalid_request", message, "messages")
        return self

    def run(self, turn: worker.Turn, feed: worker.Feed) -> upstreamturn.UpstreamTurn:
        """Send the turn's request, one for all its choices."""
        grace = self._options.finish_grace
        running = upstreamturn.UpstreamTurn(turn, feed, self._client, grace)
        self._turns.add(running.task)
        running.task.add_done_callback(self._turns.discard)
        return running

    async def _watch_upstream(self) -> None:
        delay = RETRY_BASE_S
        while True:
            await self._ask()
            if self._reach is Reach.READY:
                delay = RETRY_BASE_S
                await asyncio.sleep(REFRESH_S)
            else:
                await asyncio.sleep(delay)
                delay = min(RETRY_MAX_S, delay * 2)

    async def _ask(self) -> None:
        """Find out whether the upstream is there, and what models it has."""
        try:
            status, found = await self._client.models()
        except upstreamclient.Unanswered as unanswered:
            self._found(Reach.UNREACHABLE, unanswered.failure.code)
            return
        if status >= 500:
            self._found(Reach.UNREACHABLE, str(status))
            return
        if found.beyond and not self._is_cut:
            _log.warning("models_cut", listed=upstreamclient.MODELS_MAX)
        self._is_cut = found.beyond
        if found.models:
            self._models = found.models
            self._names = tuple(found.models)
        self._found(Reach.READY, str(status))

    def _found(self, reach: Reach, why: str) -> None:
        if reach is not self._reach:
            self._reach = reach
            _log.info("upstream_changed", state=reach.value, why=why, models=len(self._models))
