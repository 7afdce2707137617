"""The context that every endpoint works with: made once, by `server.serve`."""

import functools
from collections.abc import Callable, Mapping
from typing import Protocol

from engine import looplag, worker
from engine.log import event_log as eventlog
from engine.routing import fleet as routing, models
from engine.store import store as responsestore
from engine.stream import deadlines, pump, wakeups
from machines import lifecycle, tooloptions
from server.config import models_file
from server.config.load import ConfigError
from server.config.settings import Config
from server.permits import Permits


class BackgroundRuns(Protocol):
    """Responses that are made in the background, as far as the server itself knows them."""

    async def drain(self, seconds: float) -> int:
        """Wait until every run is over; how many are not by then."""


class Context:
    """The running server, as a request sees it.

    Attributes:
        known: the secrets of the configuration.
        streams: open streams by id.
        runs: responses in the background.
        hash_key: of every terminal record's `body_hash`.
        now: seconds since the epoch.
        store: of responses; None where none is kept.
    """

    def __init__(
        self,
        config: Config,
        fleet: routing.Fleet,
        event_log: eventlog.EventLog,
        wakeups: wakeups.Wakeups,
        life: lifecycle.Lifecycle,
        hash_key: bytes,
        now: Callable[[], float],
        runs: BackgroundRuns,
        store: responsestore.ResponseStore | None = None,
    ) -> None:
        self.store = store
        self.config = config
        self.known = config.redaction()
        self.fleet = fleet
        self.log = event_log
        self.wakeups = wakeups
        self.lifecycle = life
        self.hash_key = hash_key
        self.started = int(now())
        self.streams: dict[str, pump.Pump] = {}
        self.runs = runs
        self.permits = Permits(config.sse_max_concurrency)
        self.deadlines = stream_deadlines(config)
        self.lag = looplag.LoopLag()

    @property
    def worker(self) -> worker.Worker:
        """The default worker: readiness is its readiness."""
        return self.fleet.default


def fleet(config: Config, workers: Mapping[str, worker.Worker]) -> routing.Fleet:
    """The workers of a run, the default first, with the rules of its models file.

    Raises:
        ConfigError: for a rule that leads nowhere.
    """
    made = routing.Fleet(workers, config.models, functools.partial(accepted, config))
    try:
        made.check()
    except routing.UnknownModel as unknown:
        problem = models_file.complaint(unknown, config.worker)
        raise ConfigError(str(config.models_file), problem) from None
    return made


def accepted(config: Config, runner: worker.Worker) -> models.ModelTable | models.AnyModel:
    """The names that a worker takes now."""
    match runner.accepts:
        case worker.AnyModel():
            return models.AnyModel(runner.models())
        case worker.ListedModels(default):
            return _model_table(runner.models(), default, config.env)


@functools.lru_cache(maxsize=4)
def _model_table(
    targets: tuple[str, ...], default: str, environment: str | None
) -> models.ModelTable:
    return models.ModelTable(targets, default, environment)


def stop_after_tools(config: Config) -> tooloptions.StopAfterTools | None:
    """When an answer with calls is cut; None: never."""
    return config.stop_after_tools_mode if config.stop_after_tools else None


def stream_deadlines(config: Config) -> deadlines.Deadlines:
    """The stream's deadlines as configured, in microseconds."""
    cuts = stop_after_tools(config) == "burst"
    return deadlines.Deadlines(
        heartbeat=config.sse_keepalive_ms * 1000,
        head_hold=config.head_hold_ms * 1000,
        first_chunk=config.first_chunk_timeout_ms * 1000,
        idle=config.stream_idle_timeout_ms * 1000,
        total=config.timeout_ms * 1000,
        finish_grace=config.finish_grace_ms * 1000,
        truncate=config.nonstream_truncate_after_ms * 1000,
        # No grace is a short one: 0 would mean that the deadline does not exist.
        tool_grace=max(1, config.stop_after_tools_grace_ms * 1000) if cuts else 0,
    )
