"""Reads the state of the server's parts for a scrape: each number where it lives, none is kept."""

import platform
from collections import Counter
from collections.abc import Iterator

import msgspec

from engine import containment, worker
from engine.log.summary import settings as summarysettings, summarylog
from engine.store import store as responsestore
from machines import lifecycle
from server import diagnostics, readiness
from server.context import Context
from server.keys import account
from server.metrics import families
from server.metrics.readings import Labels, Reading, one
from server.tracing import spans
from server.version import VERSION


def read(context: Context) -> Iterator[Reading]:
    """Return the readings of everything but ended requests; on the loop, whose state it is."""
    yield Reading(families.BUILD, [((VERSION, platform.python_version()), 1)])
    states = lifecycle.TABLE.states
    yield Reading(
        families.LIFECYCLE, [((state,), state == context.lifecycle.state) for state in states]
    )
    reason = readiness.reason(context)
    yield Reading(
        families.READINESS, [((each.value,), each is reason) for each in readiness.Reason]
    )
    yield one(families.STREAMS_OPEN, len(context.streams))
    yield one(families.PERMITS_TAKEN, context.permits.taken)
    yield one(families.PERMITS_LIMIT, context.permits.limit)
    yield one(families.CONNECTIONS, context.connections())
    yield one(families.WEBSOCKETS, context.websockets())
    yield one(families.MAINTENANCE, context.maintenance.status()["enabled"] is True)
    yield from _of_workers({name: each.health() for name, each in context.fleet.workers.items()})
    yield from _of_log(context)
    if context.log.summaries is not None:
        yield from _of_summaries(context.log.summaries)
    if context.store is not None:
        yield from _of_store(context.store)
    reloads = context.reloads
    yield one(families.RELOADS, reloads.reloads)
    yield one(families.RELOAD_FAILURES, reloads.failures)
    yield one(families.RELOAD_SUCCESSFUL, reloads.last_successful)
    yield from _of_keys(context.accounts.named())
    lag = context.lag.figures()
    yield one(families.LOOP_LAG_P99, lag.p99 / 1000)
    yield one(families.LOOP_LAG_MAX, lag.max / 1000)
    yield one(families.DIAGNOSTICS_DROPPED, diagnostics.lines_dropped())
    boundaries = (*(each.value for each in containment.Boundary), "unsaid")
    yield Reading(families.DEFECTS, [((name,), containment.counts[name]) for name in boundaries])
    counts = msgspec.structs.asdict(context.tracing.counts if context.tracing else spans.Counts())
    yield Reading(families.SPANS, [((name,), count) for name, count in counts.items()])


def _of_workers(workers: dict[str, worker.Health]) -> Iterator[Reading]:
    yield Reading(families.WORKER_READY, [((name,), each.ready) for name, each in workers.items()])
    yield Reading(
        families.WORKER_WAITING, [((name,), each.waiting) for name, each in workers.items()]
    )
    states: Counter[Labels] = Counter()
    turns: Counter[Labels] = Counter()
    restarts: Counter[Labels] = Counter()
    for name, each in workers.items():
        for process in each.processes:
            states[name, process.state] += 1
            turns[name,] += process.turns
            restarts[name,] += process.restarts
    yield Reading(families.WORKER_PROCESSES, states.items())
    yield Reading(families.WORKER_TURNS, turns.items())
    yield Reading(families.WORKER_RESTARTS, restarts.items())
    parking = [
        ((name, event), count)
        for name, each in workers.items()
        for event, count in each.counts.items()
    ]
    yield Reading(families.PARKING, parking)
    missed = [
        ((name, reason), count)
        for name, each in workers.items()
        for reason, count in each.missed.items()
    ]
    yield Reading(families.PARKING_MISSED, missed)
    reuse = [
        ((name, event), count)
        for name, each in workers.items()
        for event, count in each.reuse.items()
    ]
    yield Reading(families.REUSE, reuse)
    unreused = [
        ((name, reason), count)
        for name, each in workers.items()
        for reason, count in each.reuse_missed.items()
    ]
    yield Reading(families.REUSE_MISSED, unreused)
    idle = [((name,), each.idle_threads) for name, each in workers.items()]
    yield Reading(families.IDLE_THREADS, idle)
    rpc = [(name, each.rpc) for name, each in workers.items() if each.rpc is not None]
    seconds = [
        ((name, method), taken.copy())
        for name, its in rpc
        for method, taken in its.seconds.items()
    ]
    yield Reading(families.RPC_DURATION, seconds)
    failed = [((name, *of), count) for name, its in rpc for of, count in its.failures.items()]
    yield Reading(families.RPC_ERRORS, failed)
    yield from _of_accounts({name: each.account for name, each in workers.items() if each.account})


def _of_accounts(accounts: dict[str, worker.AccountHealth]) -> Iterator[Reading]:
    infos = [((name, each.login, each.plan), 1) for name, each in accounts.items()]
    yield Reading(families.ACCOUNT, infos)
    windows = [((name, one.name), one) for name, each in accounts.items() for one in each.windows]
    yield Reading(families.QUOTA_USED, [(labels, one.used) for labels, one in windows])
    resets = [(labels, one.resets_at) for labels, one in windows if one.resets_at is not None]
    yield Reading(families.QUOTA_RESET, resets)


def _of_keys(accounts: dict[str, account.Account]) -> Iterator[Reading]:
    """Their names are the operator's own, so there are no more of them than in the file."""
    every = accounts.items()
    yield Reading(families.KEY_REQUESTS, [((name,), each.requests) for name, each in every])
    yield Reading(families.KEY_TOKENS, [((name,), each.tokens) for name, each in every])
    refusals = [
        ((name, measure.value), count)
        for name, each in every
        for measure, count in each.refusals.items()
    ]
    yield Reading(families.KEY_REFUSALS, refusals)
    yield Reading(families.KEY_STREAMS, [((name,), each.permits.taken) for name, each in every])


def _of_log(context: Context) -> Iterator[Reading]:
    log = context.log
    yield one(families.LOG_ACCEPTING, log.accepting)
    yield one(families.LOG_WAITING, log.waiting)
    yield one(families.LOG_LAG, log.lag_us / 1_000_000)
    yield one(families.LOG_BYTES, log.bytes_written)
    yield one(families.LOG_FAILURES, log.counts.failures)
    yield one(families.LOG_LOST, log.counts.records_lost)
    yield one(families.LOG_SEGMENTS_PRUNED, log.counts.segments_pruned)
    yield one(families.LOG_BYTES_PRUNED, log.counts.bytes_pruned)
    compression = log.counts.compression
    yield one(families.LOG_SEGMENTS_COMPRESSED, compression.segments)
    yield one(families.LOG_BYTES_COMPRESSED, compression.bytes_read)
    yield one(families.LOG_BYTES_COMPRESSED_TO, compression.bytes_written)
    yield one(families.LOG_COMPRESSION_FAILURES, compression.failures)
    held = log.upkeep.holding
    if held is not None:
        yield one(families.LOG_HELD_BYTES, held.bytes)
        yield one(families.LOG_HELD_SECONDS, held.span_s(log.now()))
        horizon = held.horizon(log.upkeep.limits)
        if horizon is not None:
            yield one(families.LOG_HORIZON, horizon.seconds)


def _of_summaries(summaries: summarylog.SummaryLog) -> Iterator[Reading]:
    counts = msgspec.structs.replace(summaries.counts)  # a thread of its own goes on counting
    yield one(families.SUMMARIES_WORKING, summaries.state is summarysettings.SummaryState.WORKING)
    yield one(families.SUMMARIES_FAILURES, counts.failures)
    yield one(families.SUMMARIES_REBUILT, counts.rebuilt)
    yield one(families.SUMMARIES_MISSED, counts.unreadable + counts.segments_missed)
    yield one(families.SUMMARIES_PRUNED, counts.pruned)
    yield one(families.SUMMARIES_BYTES_PRUNED, counts.bytes_pruned)


def _of_store(store: responsestore.ResponseStore) -> Iterator[Reading]:
    counts = msgspec.structs.replace(store.counts)  # a thread of its own goes on counting
    yield one(families.STORE_WORKING, store.health is responsestore.Health.WORKING)
    yield one(families.STORE_FAILURES, counts.failures)
    yield one(families.STORE_FILES_LOST, counts.files_lost)
    yield one(families.STORE_PRUNED, counts.responses_pruned)
    yield one(families.STORE_BYTES_PRUNED, counts.bytes_pruned)
