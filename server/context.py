"""The context that every endpoint works with: made once, by `server.serve`."""

import asyncio
import copy
import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from engine import slices, worker
from engine.log import event_log as eventlog
from engine.routing import fleet as routing, models, timeouts
from engine.store import store as responsestore
from engine.stream import deadlines, pump, wakeups
from machines import events, lifecycle, tooloptions
from server.access import log as accesslog
from server.config import models_file
from server.config.load import ConfigError
from server.config.settings import Config
from server.http import clientaddress
from server.keys import keyring
from server.keys.account import Account, Accounts, Limits
from server.logcontent import LogContent
from server.maintenance import FILE, Maintenance
from server.permits import Permits
from server.reloading import Counts

if TYPE_CHECKING:
    from server.metrics import requests as requestmetrics
    from server.tracing import tracing


USAGE_TURNS: Final = 2
"""How many sums of usage are made at once: each reads all summaries of its time."""


STORY_TURNS: Final = 2
"""How many requests read records of the log at once."""


class BackgroundRuns(Protocol):
    """Responses that are made in the background, as far as the server itself knows them."""

    async def drain(self, seconds: float) -> int:
        """Wait until every run is over; how many are not by then."""


class InForce:
    """The context that requests which come now are answered under.

    What lives as long as a connection asks it for each of its requests.
    """

    context: "Context"


class Context:
    """The running server, as a request sees it.

    Attributes:
        access: what every request leaves behind.
        known: the secrets of the configuration.
        streams: open streams by id.
        runs: responses in the background.
        hash_key: of every terminal record's `body_hash`.
        now: seconds since the epoch.
        store: of responses; None where none is kept.
        metrics: counts of ended requests; None where there are no metrics.
        tracing: makes spans of ended requests; None where none are exported.
        connections, websockets: return how many are open.
        usage_turns: whoever sums usage, or holds its lines against the log, waits for a turn.
        story_turns: whoever reads the records of a stream waits for a turn.
        accounts: what each key has used of its limits.
        keyring: the keys that are accepted.
        in_force: has the context that is to be used from now on, be it this one or a later.
        reloads: how often the configuration was read again.
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
        metrics: "requestmetrics.RequestMetrics | None" = None,
        tracing: "tracing.Tracing | None" = None,
    ) -> None:
        self.metrics = metrics
        self.tracing = tracing
        self.connections: Callable[[], int] = lambda: 0
        self.websockets: Callable[[], int] = lambda: 0
        self.store = store
        self.config = config
        self.known = config.redaction()
        self.fleet = fleet
        self.log = event_log
        self.wakeups = wakeups
        self.lifecycle = life
        self.hash_key = hash_key
        self.now = now
        self.started = int(now())
        self.streams: dict[str, pump.Pump] = {}
        self.runs = runs
        networks = clientaddress.networks(config.trusted_proxies)
        budget_us = config.latency_budget_ms * 1000
        projections = tuple(each for each in (metrics, tracing) if each is not None)
        self.access = accesslog.AccessLog(
            event_log,
            networks,
            budget_us,
            projections,
            None if tracing is None else tracing.begin,
            config.log_access_sample,
            lambda: self.worker.health().state,
        )
        self.permits = Permits(config.sse_max_concurrency)
        self.log_content = LogContent(event_log.content, now)
        self.maintenance = Maintenance(config.data_dir / FILE, now)
        self.deadlines = stream_deadlines(config)
        self.lag = wakeups.lag
        self.usage_turns = asyncio.Semaphore(USAGE_TURNS)
        self.story_turns = asyncio.Semaphore(STORY_TURNS)
        self.reloads = Counts()
        self.in_force = InForce()
        self.in_force.context = self
        self.accounts = Accounts()
        self.keyring = slices.at_once(make_keyring(config, self.accounts))
        self._adjust()

    async def under(self, config: Config) -> "Context":
        """Return the same running server under another configuration: nothing of this one changes,
        and whoever works with it goes on so.

        Raises:
            ConfigError: for a rule of the models file that leads nowhere.
        """
        rules = functools.partial(accepted, config)
        checked = _checked(config, self.fleet.under(config.models, rules))
        ring = await slices.in_slices(make_keyring(config, self.accounts))
        fresh = copy.copy(self)
        fresh.config = config
        fresh.known = config.redaction()
        fresh.fleet = checked
        fresh.deadlines = stream_deadlines(config)
        fresh.keyring = ring
        return fresh

    def take_over(self) -> None:
        """Have what is counted for all requests be held to the limits of this configuration."""
        self.in_force.context = self
        self.permits.limit = self.config.sse_max_concurrency
        self._adjust()

    def _adjust(self) -> None:
        for grant in self.keyring.grants.values():
            grant.account.permits.limit = grant.limits.streams or 0
            grant.account.is_daily = grant.limits.tokens_per_day is not None
        self.accounts.keep(set(self.keyring.grants))

    @property
    def worker(self) -> worker.Worker:
        """The default worker: readiness is its readiness."""
        return self.fleet.default


def fleet(config: Config, workers: Mapping[str, worker.Worker]) -> routing.Fleet:
    """The workers of a run, the default first, with the rules of its models file.

    Raises:
        ConfigError: for a rule that leads nowhere.
    """
    rules = functools.partial(accepted, config)
    return _checked(config, routing.Fleet(workers, config.models, rules))


def _checked(config: Config, made: routing.Fleet) -> routing.Fleet:
    missing = [name for name in config.workers() if name not in made.workers]
    if missing:
        problem = f"the {missing[0]} worker does not run here: a restart starts it"
        raise ConfigError(str(config.models_file), problem)
    try:
        made.check()
    except routing.UnknownModel as unknown:
        problem = models_file.complaint(unknown, config.worker)
        raise ConfigError(str(config.models_file), problem) from None
    return made


def make_keyring(config: Config, accounts: Accounts) -> slices.Steps[keyring.Keyring]:
    """The keys that a configuration has; there may be thousands."""
    names = [*config.keys] if config.needs_key else [""]
    if config.api_key is not None and keyring.SETTING not in config.keys:
        names.append(keyring.SETTING)
    grants = {}
    for name in names:
        grants[name] = _grant(config, name, accounts.of(name))
        yield
    ring = keyring.Keyring(grants)
    for name, key in config.keys.items():
        for digest in key.digests:
            ring.hold(digest, name, key.expires_at)
        yield
    if config.api_key is not None:  # this setting's also where the file has it, with its limits
        own = hashlib.sha256(config.api_key.encode()).digest()
        ring.hold(own, keyring.SETTING, None)
    return ring


def _grant(config: Config, name: str, account: Account) -> keyring.Grant:
    """What may be asked for in a key's name; what the file does not say is as for all."""
    key = config.keys.get(name)
    usual_s = config.rate_limit_window_ms / 1000
    usual = config.rate_limit_max if config.rate_limit_enabled else None
    if key is None:
        return keyring.Grant(name, account, Limits(requests=usual, window_s=usual_s))
    limits = Limits(
        requests=usual if key.requests is None else key.requests,
        tokens=key.tokens,
        window_s=usual_s if key.window_s is None else key.window_s,
        tokens_per_day=key.tokens_per_day,
        streams=key.streams,
    )
    models = None if key.models is None else keyring.Models.of(key.models)
    return keyring.Grant(name, account, limits, models)


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


def suppresses_tail(config: Config, mode: tooloptions.OutputMode) -> bool:
    """Whether text after the last call of an answer is dropped."""
    if config.suppress_tail_after_tools == "auto":
        return mode == "obsidian-xml"
    return config.suppress_tail_after_tools == "true"


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


def target_deadlines(
    usual: deadlines.Deadlines, opened: events.Opened, route: tuple[routing.Target, ...]
) -> deadlines.Deadlines:
    """Return the stream's deadlines: those of the name that was asked for, but each target has a
    time of its own to begin; a heartbeat is a comment."""
    own = route[0].timeouts
    if opened.tools.sse_comments and len(route) == 1 and own == timeouts.USUAL:
        return usual
    first_chunks = [each.timeouts.first_chunk(usual.first_chunk) for each in route]
    return msgspec.structs.replace(
        usual,
        heartbeat=usual.heartbeat if opened.tools.sse_comments else 0,
        first_chunk=sum(first_chunks) if all(first_chunks) else 0,
        idle=own.idle(usual.idle),
        total=own.total(usual.total),
    )
