"""Every worker keeps the contract."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from bench import standin
from engine import scripted, worker
from engine.codex import options as codexoptions, worker as codexworker
from engine.codex.child import home as codexhome
from machines import supervisor
from tests.engine.worker_contract import SAID, WAIT_S, Course, WorkerContract
from tests.support.logs import logs

TRANSCRIPT: logs.Record = {
    "event": "opened",
    "request_id": "req_1",
    "completion_id": "chatcmpl-1",
    "created": 1_795_293_345,
    "model": "m",
    "target": "gpt-5.5",
    "worker": "codex",
    "state": "held",
    "out": [],
}
"""The first record of each transcript."""

COUNTED = {
    "event": "tokens_counted",
    "usage": {"prompt_tokens": 10, "completion_tokens": 3},
}
FINISHED = {"event": "turn_finished", "reason": "stop"}
FAILED = {
    "event": "turn_failed",
    "kind": "worker_lost",
    "code": "worker_exited",
    "message": "The worker's process ended.",
}
HOUR_US = 3_600_000_000

COURSES: dict[Course, list[tuple[int, dict[str, Any]]]] = {
    "whole": [
        *((0, {"event": "text_delta", "text": text}) for text in SAID),
        (0, COUNTED),
        (0, FINISHED),
    ],
    "open": [(0, {"event": "text_delta", "text": SAID[0]}), (HOUR_US, FINISHED)],
    "broken": [(0, {"event": "text_delta", "text": SAID[0]}), (0, FAILED)],
}
"""The events of each course, and the microseconds from the opening to each."""

STANDIN = standin.Scenario(
    turns={
        "whole": standin.Turn(deltas=len(SAID), texts=SAID),
        "open": standin.Turn(deltas=1, texts=SAID, ending="silent"),
        "broken": standin.Turn(deltas=1, texts=SAID, ending="exit"),
    }
)


def asking(text: str, **fields: Any) -> worker.Turn:
    """A turn with one message."""
    message = worker.Message("user", (worker.TextPart(text),))
    wanted = {"target": "gpt-5.5", "messages": (message,), **fields}
    return worker.Turn(stream_id="st_1", request_id="req_1", **wanted)


def read(take: Callable[[bytes], None], data: bytes) -> None:
    """Take what came: here no wake-up is joined."""
    take(data)


class TestScripted(WorkerContract):
    """Transcripts as a worker."""

    @contextlib.asynccontextmanager
    async def ready(self, directory: Path) -> AsyncIterator[worker.Worker]:
        for name, course in COURSES.items():
            records = [
                {"t": 1_000_000 + at, **event, "state": "content", "out": []}
                for at, event in course
            ]
            logs.write(directory / f"{name}.jsonl", {"t": 1_000_000, **TRANSCRIPT}, *records)
        runner = scripted.ScriptedWorker(directory, 1.0)
        await runner.start()
        yield runner
        await runner.stop()

    async def until_ready(self, runner: worker.Worker) -> None:
        assert runner.health().ready

    def turn(self, course: Course) -> worker.Turn:
        return asking("hi", target=course)

    def refused(self) -> worker.Turn:
        return asking("hi", target="whole", transcript="nobody wrote it")


class TestCodex(WorkerContract):
    """Codex as a worker; a stand-in plays the binary."""

    @contextlib.asynccontextmanager
    async def ready(self, directory: Path) -> AsyncIterator[worker.Worker]:
        self.changed = asyncio.Event()
        program = standin.install(directory, STANDIN)
        setup = codexhome.Setup(data_dir=directory / "data")
        runner = codexworker.CodexWorker(
            options(setup, program), os.environ, self.change, read, lambda *_: None
        )
        await runner.start()
        try:
            async with asyncio.timeout(WAIT_S):
                await self.until_ready(runner)
            yield runner
        finally:
            await runner.stop()

    def change(self, name: str, state: str, event: supervisor.AnyEvent) -> None:
        """Take a transition of the process."""
        self.changed.set()

    async def until_ready(self, runner: worker.Worker) -> None:
        while not runner.health().ready:
            self.changed.clear()
            await self.changed.wait()

    def turn(self, course: Course) -> worker.Turn:
        return asking(course)

    def refused(self) -> worker.Turn:
        part = worker.OtherPart("input_audio", "messages[0].content[0]")
        return asking("hi", messages=(worker.Message("user", (part,)),))


def options(setup: codexhome.Setup, program: Path) -> codexoptions.Options:
    """Of a worker with one process that comes back at once."""
    return codexoptions.Options(
        setup=setup,
        binary=str(program),
        api_key="sk-test",
        processes=1,
        turns_per_process=64,
        request_timeout=10,
        handshake_timeout=10,
        limits=supervisor.Limits(backoff_initial_ms=20, backoff_max_ms=20),
        sandbox="read-only",
        approval_policy="never",
        client_version="0",
        park_most=64,
        park_ttl=300,
    )
