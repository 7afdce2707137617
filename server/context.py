"""What every endpoint works with: made once, by `server.serve`."""

import functools
from collections.abc import Callable

from engine import log, models, pump, worker
from machines import events, lifecycle
from server.settings import Config


class Permits:
    """Counts what may be had at once.

    Args:
        limit: how many there are; 0 for no limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0

    def take(self, count: int) -> bool:
        """Take `count` permits, or none if there are not so many."""
        if self._limit and self.taken + count > self._limit:
            return False
        self.taken += count
        return True

    def give_back(self, count: int) -> None:
        """Return permits that were taken."""
        self.taken -= count


class Context:
    """The running server, as a request sees it.

    Attributes:
        streams: open streams by id.
        hash_key: of every terminal record's `body_hash`.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        config: Config,
        runner: worker.Worker,
        event_log: log.EventLog,
        wakeups: pump.Wakeups,
        life: lifecycle.Lifecycle,
        hash_key: bytes,
        now: Callable[[], float],
    ) -> None:
        self.config = config
        self.worker = runner
        self.log = event_log
        self.wakeups = wakeups
        self.lifecycle = life
        self.hash_key = hash_key
        self.started = int(now())
        self.streams: dict[str, pump.Pump] = {}
        self.permits = Permits(config.sse_max_concurrency)
        self.deadlines = deadlines(config)

    def models(self) -> models.ModelTable | models.AnyModel:
        """The names that are accepted now: a worker may learn its models late."""
        if self.worker.name == "upstream":
            return models.AnyModel(self.worker.models())
        default = self.config.codex_model
        targets = self.worker.models()
        if self.config.worker == "scripted" and targets:
            default = targets[0]
        return _model_table(targets, default, self.config.env)


@functools.lru_cache(maxsize=4)
def _model_table(
    targets: tuple[str, ...], default: str, environment: str | None
) -> models.ModelTable:
    return models.ModelTable(targets, default, environment)


def stop_after_tools(config: Config) -> events.StopAfterTools | None:
    """When an answer with calls is cut; None: never."""
    return config.stop_after_tools_mode if config.stop_after_tools else None


def deadlines(config: Config) -> pump.Deadlines:
    """The stream's deadlines as configured, in microseconds."""
    cuts = stop_after_tools(config) == "burst"
    return pump.Deadlines(
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
