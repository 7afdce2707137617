"""How well the server is: `/healthz` for people, `/readyz` and `/livez` for load balancers."""

import msgspec

from engine.log.summary import settings as summarysettings
from engine.store import store as responsestore
from machines import supervisor
from server import diagnostics
from server.api.call import JSON, Call
from server.context import Context
from server.readiness import Reason, reason


async def health(context: Context, call: Call) -> None:
    """Answer `GET /healthz` with the state of everything, for people."""
    workers = {name: each.health() for name, each in context.fleet.workers.items()}
    worker = context.worker.health()
    store = context.store
    is_kept = store is None or store.health is responsestore.Health.WORKING
    processes = [process for each in workers.values() for process in each.processes]
    summaries = context.log.summaries
    is_kept = is_kept and (
        summaries is None or summaries.state is not summarysettings.SummaryState.FAILING
    )
    is_well = is_kept and all(each.ready for each in workers.values())
    is_well = is_well and all(process.state in supervisor.TAKING for process in processes)
    why = reason(context)
    body: dict[str, object] = {
        "ready": why is Reason.READY,
        "reason": why.value,
        "status": "ok" if is_well else "degraded",
        "state": context.lifecycle.state,
        "worker": {"kind": context.worker.kind.name, "state": worker.state},
        "workers": {name: each.state for name, each in workers.items()},
        "streams": len(context.streams),
        "store": _store_health(context),
        "usage": _usage_health(context),
        "log": _log_health(context),
        "loop_lag_ms": context.lag.figures(),
        "maintenance": _maintenance(context),
    }
    if processes:
        body["processes"] = [msgspec.structs.asdict(process) for process in processes]
    if tested := next((each.newest_tested for each in workers.values() if each.processes), None):
        body["newest_tested"] = tested
    if worker.counts:
        body["turns"] = worker.counts
    if account := next(filter(None, (each.account for each in workers.values())), None):
        body["account"] = msgspec.structs.asdict(account)
    if dropped := diagnostics.lines_dropped():
        body["diagnostics_dropped"] = dropped
    if context.config.env is not None:
        body["env"] = context.config.env
    call.answer(200, body)


def _maintenance(context: Context) -> dict[str, object]:
    status = context.maintenance.status()
    return {name: status[name] for name in ("enabled", "since", "until", "message")}


def _store_health(context: Context) -> dict[str, object]:
    store = context.store
    if store is None:
        return {"state": "off"}
    counts = store.counts
    return {
        "state": store.health.value,
        "failures": counts.failures,
        "files_lost": counts.files_lost,
    }


def _log_health(context: Context) -> dict[str, object]:
    """What the event log holds, and for how long: at the rate of what it holds."""
    held = context.log.upkeep.holding
    if held is None:
        return {"state": "off" if context.log.content == "off" else "empty"}
    horizon = held.horizon(context.log.upkeep.limits)
    found: dict[str, object] = {
        "state": "held",
        "segments": held.segments,
        "compressed": held.compressed,
        "bytes": held.bytes,
        "content_bytes": held.content_bytes,
        "streams": held.streams,
        "held_s": round(held.span_s(context.log.now())),
    }
    if horizon is not None:
        found |= {"horizon_s": round(horizon.seconds), "horizon_by": horizon.by}
    return found


def _usage_health(context: Context) -> dict[str, object]:
    summaries = context.log.summaries
    if summaries is None:
        return {"state": "off"}
    missed = summaries.counts.unreadable + summaries.counts.segments_missed
    failures = summaries.counts.failures
    return {"state": summaries.state.value, "failures": failures, "missed": missed}


async def readiness(context: Context, call: Call) -> None:
    """Answer `GET /readyz`: 200 while the default worker would take a request, else 503, for load
    balancers."""
    why = reason(context)
    if why is Reason.READY:
        call.answer(200, {"status": "ready"})
        return
    body = {
        "status": "not_ready",
        "reason": why.value,
        "state": context.lifecycle.state,
        "worker": context.worker.health().state,
    }
    headers = [*call.headers, JSON, ("retry-after", "1")]
    call.exchange.respond(503, headers, msgspec.json.encode(body))


async def liveness(_: Context, call: Call) -> None:
    """Answer `GET /livez`; an answer shows that the event loop turns."""
    call.answer(200, {"status": "alive"})
