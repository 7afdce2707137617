"""Loads a server for minutes, checks every frame, and looks whether it grows: run by hand.

    python -m bench.soak --worker codex|upstream [--streams 256] [--seconds 600] [--write]

A real `turntape serve` is in front of a stand-in whose chunks say their numbers. Streams begin
anew where they end; a tenth of them is left by the client on the way. It ends with 1 where a frame
was lost, doubled or out of order, where a stream has not exactly one end in the event log, and
where memory, file descriptors or threads grow.
"""

import argparse
import asyncio
import collections
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from bench import compare, load, logtail, rivals, sampling, soakclient, standin
from tests.support.process import serving

WARM_UP_PART: Final = 0.5
"""Part of a run that passes before anything is measured: memory finds its level in minutes."""

SAMPLE_S: Final = 2.0
"""Time between two samples."""

FDS_SLACK: Final = 8
"""By how many file descriptors two halves of a run may differ, or its end from its beginning."""

SLOPE_LIMIT: Final = 256.0
"""KiB a minute that memory may grow: half a KiB for each of the streams that end in a run as it is
by default. Ten minutes on a machine with other work measured 0 and 56."""

SETTLE_S: Final = 30.0
"""How long connections may take to go once no stream is left; idle ones are kept for 15 s."""

LOG_SETTINGS: Final = {
    "PROXY_EVENT_LOG": "masked",
    "PROXY_LOG_MAX_BYTES": "128 MiB",
    "PROXY_LOG_SEGMENT_BYTES": "16 MiB",
}
"""A log as it is by default, of a size that a long run does not fill a disk with."""

ENDS: Final = {"whole": ["completed"], "left": ["client_gone"]}
"""The terminal records of a stream, by how its client saw it end."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        rate: chunks a second, of each stream.
        chunks: of each stream, before another takes its place.
        slope_limit: KiB a minute that the server's memory may grow.
    """

    worker: str
    streams: int = 256
    rate: float = 20.0
    seconds: float = 600.0
    chunks: int = 600
    seed: int = 1
    slope_limit: float = SLOPE_LIMIT


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run.

    Attributes:
        samples: of the server under load, once it is warm.
        idle: the server before the first stream, and after the last.
        asked: how each stream ended as its client saw it, by its request's id.
        ends: kinds of the terminal records of each request.
        wrong: descriptions of streams that were not what was said.
        chunks: with content, all of them checked.
        chunk_rate: of them a second, under load.
        answers_us: that `/healthz` took.
        lateness_us: that the client's own loop was late.
        loop_lag: of the server, by its own account.
        delays_ms: from a chunk's stamp to its check, how often each.
        client_cpu: of the load client, as a part of one core.
        machine_load: processes that wanted a core in the last five minutes, these and others.
    """

    options: Options
    samples: list[sampling.Sample]
    idle: tuple[sampling.Sample, sampling.Sample]
    asked: dict[str, str | None]
    ends: dict[str, list[str]]
    wrong: list[str]
    chunks: int
    chunk_rate: float
    answers_us: list[int]
    lateness_us: list[int]
    loop_lag: sampling.Lag
    delays_ms: dict[int, int]
    client_cpu: float
    log_bytes: int
    machine_load: float

    @property
    def slope(self) -> float:
        """KiB a minute that the server's memory grew."""
        return sampling.slope([(each.second / 60, each.rss_kib) for each in self.samples])

    @property
    def cpu(self) -> float:
        """CPU time of the server, as a part of one core."""
        first, last = self.samples[0], self.samples[-1]
        return (last.cpu - first.cpu) / (last.second - first.second)


@contextlib.contextmanager
def served(options: Options) -> Iterator[serving.Serve]:
    """A server in front of a stand-in that says numbered chunks."""
    turn = standin.Turn(deltas=options.chunks, interval=1 / options.rate, stamped=True)
    with contextlib.ExitStack() as stack:
        if options.worker == "codex":
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            settings = {
                "CODEX_BIN": str(standin.install(directory, standin.Scenario(turn=turn))),
                # A stream's place is free only once its turn is interrupted.
                "WORKER_MAX_CONCURRENCY": str(2 * options.streams),
            }
        else:
            source = rivals.running("source", msgspec.json.encode(turn).decode())
            settings = {"PROXY_UPSTREAM_URL": stack.enter_context(source).url}
        settings |= LOG_SETTINGS
        server = serving.running("--worker", options.worker, data_dir=None, **settings)
        yield stack.enter_context(server)


class Run:
    """A run in motion."""

    def __init__(self, options: Options, server: serving.Serve) -> None:
        self._options = options
        self._server = server
        self._pid = server.process.pid
        self._tail = logtail.LogTail(server.log_dir)
        self._probe = sampling.Probe(server.base)
        self._samples: list[sampling.Sample] = []
        self._soak = soakclient.Soak(
            soakclient.Plan(
                url=server.url,
                streams=options.streams,
                chunks=options.chunks,
                seconds=options.chunks / options.rate,
                seed=options.seed,
            )
        )

    async def measure(self) -> Report:
        """Load the server for as long as it is asked for, and end it."""
        warm_up = self._options.seconds * WARM_UP_PART
        before = sampling.sample(self._pid)
        async with asyncio.TaskGroup() as tasks:
            probing = tasks.create_task(self._probe.run())
            soaking = tasks.create_task(self._soak.run())
            await self._watch(warm_up)
            self._begin_measuring()
            began, chunks, cpu = time.monotonic(), self._soak.chunks, time.process_time()
            await self._watch(self._options.seconds - warm_up)
            seconds = time.monotonic() - began
            chunk_rate = (self._soak.chunks - chunks) / seconds
            client_cpu = (time.process_time() - cpu) / seconds
            answers, lateness = list(self._probe.answers), list(self._probe.lateness)
            delays = dict(self._soak.delays)
            machine_load = os.getloadavg()[1]
            self._soak.end()
            await soaking
            probing.cancel()
        after = await self._at_rest(before.fds + FDS_SLACK)
        assert self._server.stop() == 0, self._server.lines[-3:]
        self._tail.read()
        return Report(
            options=self._options,
            samples=self._samples,
            idle=(before, after),
            asked=self._soak.asked,
            ends=self._tail.ends,
            wrong=self._soak.wrong,
            chunks=self._soak.chunks,
            chunk_rate=chunk_rate,
            answers_us=answers,
            lateness_us=lateness,
            loop_lag=self._probe.lag,
            delays_ms=delays,
            client_cpu=client_cpu,
            log_bytes=self._tail.bytes_written,
            machine_load=machine_load,
        )

    def _begin_measuring(self) -> None:
        """Forget what was measured while the server was cold."""
        self._samples = [sampling.sample(self._pid)]
        self._probe.answers.clear()
        self._probe.lateness.clear()
        self._probe.lag = sampling.Lag()
        self._soak.delays.clear()

    async def _watch(self, seconds: float) -> None:
        """Sample until the time is over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(SAMPLE_S, left))
            self._tail.read()
            self._samples.append(sampling.sample(self._pid))
            print(self._progress(), flush=True)

    def _progress(self) -> str:
        now = self._samples[-1]
        return (
            f"{self._options.worker} {time.strftime('%H:%M:%S')} rss {now.rss_kib} KiB, "
            f"fds {now.fds}, threads {now.threads}, cpu {now.cpu:.1f} s, "
            f"streams {self._probe.streams}, chunks {self._soak.chunks}, "
            f"wrong {len(self._soak.wrong)}"
        )

    async def _at_rest(self, fds: int) -> sampling.Sample:
        """The server once its connections have gone, or will not."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            now = sampling.sample(self._pid)
            if now.fds <= fds or now.second > deadline:
                return now
            await asyncio.sleep(0.1)


def faults(report: Report) -> list[str]:
    """Find the problems of a run: one line for each, none where all is well."""
    found = list(report.wrong)
    for request_id, outcome in report.asked.items():
        ends = report.ends.get(request_id, [])
        if ends != ENDS.get(outcome or "", ends[:1]) or not ends:
            found.append(f"{request_id}: {outcome} for its client, {ends} in the log")
    unasked = report.ends.keys() - report.asked.keys()
    found += [f"{request_id}: in the log, and nobody asked" for request_id in sorted(unasked)]
    if report.slope > report.options.slope_limit:
        found.append(f"memory grows by {report.slope:.1f} KiB a minute")
    before, after = report.idle
    for what in ("fds", "threads"):
        first, second = _halves([getattr(each, what) for each in report.samples])
        if abs(second - first) > FDS_SLACK:
            found.append(f"{what} go from {first:.0f} to {second:.0f}")
        if getattr(after, what) > getattr(before, what) + FDS_SLACK:
            found.append(f"{what} do not go: {getattr(after, what)} are left")
    return found


def _halves(values: list[int]) -> tuple[float, float]:
    """The medians of what came first, and of what came then."""
    middle = max(1, len(values) // 2)
    return statistics.median(values[:middle]), statistics.median(values[-middle:])


def figures(report: Report) -> list[tuple[str, str]]:
    """The result of a run: names of figures, and their values."""
    options = report.options
    kinds = collections.Counter(kind for ends in report.ends.values() for kind in ends)
    delays = [ms * 1000 for ms, count in report.delays_ms.items() for _ in range(count)]
    return [
        ("streams at once, chunks/s of each", f"{options.streams}, {options.rate:g}"),
        ("seconds, of them measured", f"{options.seconds:g}, {_measured(report):.0f}"),
        ("chunks/s of all", f"{report.chunk_rate:,.0f}"),
        ("chunks checked; streams with a fault", f"{report.chunks:,}; {len(report.wrong)}"),
        ("terminal records", ", ".join(f"{kind} {kinds[kind]:,}" for kind in sorted(kinds))),
        ("event log, MiB written", f"{report.log_bytes / 2**20:.0f}"),
        ("memory, MiB", _range([each.rss_kib / 1024 for each in report.samples], ".1f")),
        ("its slope, KiB/min", f"{report.slope:.1f} (≤ {options.slope_limit:g})"),
        ("file descriptors; before, after", _held(report, "fds")),
        ("threads; before, after", _held(report, "threads")),
        ("server, load client: cores", f"{report.cpu:.2f}, {report.client_cpu:.2f}"),
        ("load average of the machine", f"{report.machine_load:.1f}"),
        ("`/healthz`, ms: p50, p99, most", _percentiles(report.answers_us)),
        ("the server's loop late, ms: p99 of a minute, most", _lag(report.loop_lag)),
        ("the client's own loop late, ms", _percentiles(report.lateness_us)),
        ("chunk from stand-in to check, ms", _percentiles(delays)),
    ]


def _lag(lag: sampling.Lag) -> str:
    return f"{lag.p99:.1f}, {lag.max:.1f}"


def _measured(report: Report) -> float:
    return report.samples[-1].second - report.samples[0].second


def _range(values: Sequence[float], form: str = "d") -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _held(report: Report, what: str) -> str:
    before, after = (getattr(each, what) for each in report.idle)
    return f"{_range([getattr(each, what) for each in report.samples])}; {before}, {after}"


def _percentiles(values: list[int]) -> str:
    of = load.percentiles(values)
    return ", ".join(f"{of[name]:.1f}" for name in ("p50", "p99", "p100"))


def table(report: Report) -> str:
    """The result of a run in Markdown."""
    lines = [(report.options.worker, ""), ("---", "---"), *figures(report)]
    return "\n".join(f"| {name} | {value} |" for name, value in lines)


def marks(worker: str) -> tuple[str, str]:
    """Return the marks around a worker's results on the page."""
    return f"<!-- soak: {worker} -->", f"<!-- end soak: {worker} -->"


def _parse(arguments: Sequence[str]) -> tuple[Options, bool]:
    """The run that is asked for, and whether it is to be written."""
    parser = argparse.ArgumentParser(prog="bench.soak")
    parser.add_argument("--worker", choices=["codex", "upstream"], required=True)
    parser.add_argument("--streams", type=int, default=256, help="at once (256)")
    parser.add_argument("--rate", type=float, default=20.0, help="chunks/s of each (20)")
    parser.add_argument("--seconds", type=float, default=600.0, help="of the run (600)")
    parser.add_argument("--chunks", type=int, default=600, help="of each stream (600)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments clients leave at (1)")
    parser.add_argument(
        "--slope-limit", type=float, default=SLOPE_LIMIT, help="KiB/min that memory may grow"
    )
    parser.add_argument("--write", action="store_true", help=f"to {compare.PAGE.name} too")
    options = vars(parser.parse_args(arguments))
    write = options.pop("write")
    return Options(**options), write


def run(options: Options) -> Report:
    """Carry a run out."""
    with served(options) as server:
        return uvloop.run(Run(options, server).measure())


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and write the page if asked to: 0 if nothing was wrong."""
    options, write = _parse(arguments)
    report = run(options)
    text = f"{compare.machine()}\n\n{table(report)}"
    print(text)
    wrong = faults(report)
    print("\n".join(wrong) or "no fault")
    if write:
        page = compare.PAGE.read_text("utf-8")
        compare.PAGE.write_text(compare.rewritten(page, text, marks(options.worker)), "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
