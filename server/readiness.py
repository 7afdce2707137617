"""Whether the server would take a request now, and if not, why: one answer for everyone who asks.

`/readyz`, `/healthz`, `/metrics`, the lines of the diagnostics and the service manager tell the
same, because all of them ask here. The reasons are a fixed vocabulary, so that alerts and
dashboards may be built on them.
"""

import asyncio
import enum
from typing import Final

import structlog

from engine import containment
from machines import lifecycle, supervisor
from server.context import Context

LOOK_S: Final = 0.25
"""Between two looks for a change: a login, for one, becomes good again by the clock alone. What
is over before the next look is not told; states of a process have lines of their own."""

_log = structlog.get_logger(component="server")


class Reason(enum.Enum):
    """Why the server is ready, or is not; the value is the word that everyone is told."""

    READY = "ready"
    STARTING = "starting"
    LEAVING = "leaving"
    DRAINING = "draining"
    STOPPED = "stopped"
    LOG_FAILING = "event_log_failing"
    WORKER_STOPPED = "worker_stopped"
    WORKER_STARTING = "worker_starting"
    WORKER_UNRESPONSIVE = "worker_unresponsive"
    WORKER_RESTARTING = "worker_restarting"
    WORKER_FAILED = "worker_failed"
    WORKER_LOGGED_OUT = "worker_logged_out"
    WORKER_DISABLED = "worker_disabled"
    UPSTREAM_CONNECTING = "upstream_connecting"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"


MEANINGS: Final = {
    Reason.READY: "requests are taken",
    Reason.STARTING: "files are being opened, and workers started",
    Reason.LEAVING: "asked to stop, and serving for `PROXY_DRAIN_DELAY_MS` yet",
    Reason.DRAINING: "asked to stop: what is open goes on, nothing new is taken",
    Reason.STOPPED: "the process is about to end",
    Reason.LOG_FAILING: "the event log cannot be written, and `PROXY_LOG_ON_ERROR` is `refuse`",
    Reason.WORKER_STOPPED: "no Codex process is wanted: before the start, or after the stop",
    Reason.WORKER_STARTING: "a Codex process is being started, or introduces itself",
    Reason.WORKER_UNRESPONSIVE: "the Codex process hangs or is stopped, or left a request "
    "unanswered",
    Reason.WORKER_RESTARTING: "the Codex process is gone, and is started again soon",
    Reason.WORKER_FAILED: "the Codex process dies again and again, or cannot be started; it is "
    "tried again every `WORKER_BACKOFF_MAX_MS`",
    Reason.WORKER_LOGGED_OUT: "Codex has no login, or one that its provider refused",
    Reason.WORKER_DISABLED: "`PROXY_USE_APP_SERVER` is `false`",
    Reason.UPSTREAM_CONNECTING: "the upstream has not answered yet",
    Reason.UPSTREAM_UNREACHABLE: "the upstream does not answer, or with a failure of its own",
}
"""The meaning of each reason, for the operator."""

OF_LIFE: Final = {
    lifecycle.STARTING: Reason.STARTING,
    lifecycle.LEAVING: Reason.LEAVING,
    lifecycle.DRAINING: Reason.DRAINING,
    lifecycle.STOPPED: Reason.STOPPED,
}
"""The reasons in states of the server's life that are not ready."""

OF_WORKER: Final = {
    supervisor.STOPPED: Reason.WORKER_STOPPED,
    supervisor.SPAWNING: Reason.WORKER_STARTING,
    supervisor.HANDSHAKE: Reason.WORKER_STARTING,
    supervisor.UNRESPONSIVE: Reason.WORKER_UNRESPONSIVE,
    supervisor.SUSPECT: Reason.WORKER_UNRESPONSIVE,
    supervisor.STOPPING: Reason.WORKER_RESTARTING,
    supervisor.KILLING: Reason.WORKER_RESTARTING,
    supervisor.BACKOFF: Reason.WORKER_RESTARTING,
    supervisor.FAILED: Reason.WORKER_FAILED,
    "logged_out": Reason.WORKER_LOGGED_OUT,
    "disabled": Reason.WORKER_DISABLED,
    "connecting": Reason.UPSTREAM_CONNECTING,
    "unreachable": Reason.UPSTREAM_UNREACHABLE,
}
"""The reasons in states of the default worker that is not ready."""

EXPECTED: Final = frozenset({Reason.READY, *OF_LIFE.values()})
"""Reasons that are no trouble: somebody wanted the server to start, or to stop."""


def reason(context: Context) -> Reason:
    """Return why requests are taken now, or not."""
    state = context.lifecycle.state
    if state != lifecycle.READY:
        return OF_LIFE[state]
    if not context.log.accepting:
        return Reason.LOG_FAILING
    health = context.worker.health()
    return Reason.READY if health.ready else OF_WORKER[health.state]


def status(context: Context) -> str:
    """Return how the server is in one line, for whoever lists services."""
    streams = len(context.streams)
    worker = f"{context.worker.kind.name} {context.worker.health().state}"
    of_streams = "1 stream" if streams == 1 else f"{streams} streams"
    maintenance = ", in maintenance" if context.maintenance.current() is not None else ""
    return f"{reason(context).value}; {worker}; {of_streams}{maintenance}"


class Watch:
    """Writes a line whenever `/readyz` would answer otherwise than before."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told = Reason.STARTING

    def look(self) -> None:
        """Tell of a change, if there is one; never raises, since a start or a stop looks on its
        way."""
        try:
            self._look()
        except Exception as error:
            containment.report(containment.Boundary.TASK, error, task="watch_readiness")

    def _look(self) -> None:
        now = reason(self._context)
        if now is self._told:
            return
        self._told = now
        worker_state = self._context.worker.health().state
        fields = {"ready": now is Reason.READY, "reason": now.value, "worker_state": worker_state}
        if now in EXPECTED:
            _log.info("readiness_changed", **fields)
        else:
            _log.warning("readiness_changed", **fields)

    async def run(self) -> None:
        """Look again and again."""
        while True:
            self._look()
            await asyncio.sleep(LOOK_S)
