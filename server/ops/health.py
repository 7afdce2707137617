"""How well the server is: `/healthz` for people, `/readyz` and `/livez` for load balancers."""

import msgspec

from engine.store import store as responsestore
from machines import lifecycle
from server import diagnostics
from server.api.call import JSON, Call
from server.context import Context


async def health(context: Context, call: Call) -> None:
    """Answer `GET /healthz` with the state of everything, for people."""
    workers = {name: each.health() for name, each in context.fleet.workers.items()}
    worker = context.worker.health()
    store = context.store
    is_kept = store is None or store.health is responsestore.Health.WORKING
    is_well = is_kept and all(each.ready for each in workers.values())
    body: dict[str, object] = {
        "status": "ok" if is_well else "degraded",
        "state": context.lifecycle.state,
        "worker": {"kind": context.worker.kind.name, "state": worker.state},
        "workers": {name: each.state for name, each in workers.items()},
        "streams": len(context.streams),
        "store": _store_health(context),
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
        "state": store.health.value,
        "failures": counts.failures,
        "files_lost": counts.files_lost,
    }


async def readiness(context: Context, call: Call) -> None:
    """Answer `GET /readyz`: 200 while the default worker would take a request, else 503, for load
    balancers."""
    worker = context.worker.health()
    state = context.lifecycle.state
    if state == lifecycle.READY and worker.ready and context.log.accepting:
        call.answer(200, {"status": "ready"})
        return
    body = {"status": "not_ready", "state": state, "worker": worker.state}
    headers = [*call.headers, JSON, ("retry-after", "1")]
    call.exchange.respond(503, headers, msgspec.json.encode(body))


async def liveness(_: Context, call: Call) -> None:
    """Answer `GET /livez`; an answer shows that the event loop turns."""
    call.answer(200, {"status": "alive"})
