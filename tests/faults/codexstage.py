"""The Codex worker's part of the fault matrix: servers on the real binary, and on a stand-in.

They have as few places for turns as their tests need: a place that is not given back is missed by
the next one, as a permit is.
"""

import concurrent.futures
import contextlib
import itertools
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import standin
from tests.faults import expected, observed, scene
from tests.support.client import httpclient
from tests.support.process import machinetime, serving
from tests.support.providers import replies
from tests.support.providers.provider import HELLO, Provider, Request
from tests.support.providers.replies import Message, Stream
from tests.support.providers.scripted import Gate

NO_CODEX_FORM: Final = {
    23: "calls come whole from Codex, with a name and an id of their own: there are no fragments",
    31: "Codex reads the provider's event stream itself, and what it writes are lines of JSON",
    35: "no connection is kept: a process has one pipe, and its death in a turn is row 17",
}
"""Rows that cannot happen to the Codex worker, and why."""

STREAMED: Final[dict[str, Any]] = {"stream": True, "stream_options": {"include_usage": True}}
"""Fields of a request for a stream with counts."""

PROMPTLY: Final = {"engine.failures.RETRY_BASE_S": 0.02}
"""Constants of a server that tries again at once."""


class Plan:
    """What the provider answers in the test at hand: one answer for each prompt, then `HELLO`.

    Every request has a prompt of its own, so that it is found among those of other tests.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._answers: dict[str, list[replies.Answer]] = {}

    def prompt(self, *answers: replies.Answer) -> str:
        """A new prompt, and what the first requests with it get."""
        text = f"prompt {next(self._numbers)}"
        self._answers[text] = list(answers)
        return text

    def __call__(self, request: Request) -> replies.Answer:
        answers = self._answers.get(request.prompt)
        return answers.pop(0) if answers else HELLO


class Binary(NamedTuple):
    """A server on the real Codex binary, and the model provider behind it."""

    stage: scene.Stage
    provider: Provider
    plan: Plan

    def asked(self, prompt: str, count: int = 1) -> Request:
        """The `count`-th request with a prompt, once the provider has it."""
        return asked(self.provider, prompt, count)

    def attempts(self, prompt: str) -> int:
        """How often the provider was asked."""
        return [each.prompt for each in self.provider.requests].count(prompt)

    def stopped(self, prompt: str) -> None:
        """The provider is let go within a second: the turn has been interrupted."""
        machinetime.until(self.asked(prompt).left.is_set, scene.SECOND)

    def both(
        self, *answers: replies.Answer, **fields: Any
    ) -> tuple[str, scene.Answer, scene.Answer]:
        """The same answers asked for twice at once: a prompt of theirs, streamed, and whole."""
        prompts = self.plan.prompt(*answers), self.plan.prompt(*answers)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            streamed = pool.submit(self.stage.ask, prompts[0], **STREAMED, **fields)
            whole = pool.submit(self.stage.ask, prompts[1], **fields)
            told = streamed.result(), whole.result()
        assert self.attempts(prompts[0]) == self.attempts(prompts[1])
        return prompts[0], *told

    @contextlib.contextmanager
    def neighbours(self, count: int = 3) -> Iterator[None]:
        """As `scene.Stage.neighbours`."""
        gate = Gate()
        texts = [("Hel", "lo", f" and {number}") for number in range(count)]
        bodies = {
            self.plan.prompt(Stream((Message((*before, gate, last)),))): (
                expected.role() + expected.content(*before, last) + expected.ENDED
            )
            for *before, last in texts
        }
        with self.stage.neighbours(bodies, gate.open):
            yield

    def kill(self) -> None:
        """Kill Codex in the way that cannot be caught."""
        os.kill(codex_pid(self.stage.server), signal.SIGKILL)


class StandIn(NamedTuple):
    """A server on a program that stands in for Codex."""

    stage: scene.Stage
    directory: Path

    @property
    def starts(self) -> list[int]:
        """Ids of the processes so far."""
        return standin.starts(self.directory)

    def replace_process(self) -> None:
        """Have the next process in place of this one."""
        count = len(self.starts)
        os.kill(self.starts[-1], signal.SIGKILL)
        machinetime.until(lambda: len(self.starts) > count)
        self.stage.server.wait_ready()

    def received(self, method: str) -> list[dict[str, Any]]:
        """What the processes were sent, of one method."""
        lines = standin.received(self.directory)
        return [line for line in lines if line.get("method") == method]

    def said(self, event: str) -> list[dict[str, Any]]:
        """The server's own lines of one event."""
        return [line for line in list(self.stage.server.lines) if line.get("event") == event]


def asked(provider: Provider, prompt: str, count: int = 1) -> Request:
    """The `count`-th request with a prompt, once the provider has it."""
    deadline = time.monotonic() + httpclient.WAIT_S
    seen = len(provider.requests)
    while True:
        found = [request for request in provider.requests if request.prompt == prompt]
        if len(found) >= count:
            return found[count - 1]
        seen = max(seen, len(provider.requests))
        provider.wait_for(seen + 1, deadline - time.monotonic())


def codex_pid(server: serving.Serve) -> int:
    """The process that is Codex now."""
    spawned = [line for line in list(server.lines) if line.get("trigger") == "spawned"]
    return int(spawned[-1]["pid"])


def so_far(live: scene.Asked) -> bytes:
    """The body of an answer as far as it was read."""
    return scene.Answer(live.request_id, 200, {}, live.so_far, whole=False).body


def has_room(stage: scene.Stage, prompt: str, count: int) -> None:
    """So many streams are admitted at once: no place and no permit is missing.

    Args:
        prompt: has an answer with some text and no end.
    """
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(stage.asked(prompt, stream=True)).until(b'"role"')
    stage.released()


@contextlib.contextmanager
def binary(
    constants: Mapping[str, float] = PROMPTLY,
    http_limits: Mapping[str, float] | None = None,
    hidden: tuple[str, ...] = (),
    **environ: Any,
) -> Iterator[Binary]:
    """A server on the real binary, with a place for a stream and one for a whole answer."""
    plan = Plan()
    with Provider(plan) as provider:
        settings: dict[str, Any] = {
            "PROXY_CODEX_BASE_URL": provider.url,
            "PROXY_CODEX_API_KEY": "sk-test",
            "WORKER_MAX_CONCURRENCY": "2",
            "WORKER_BACKOFF_INITIAL_MS": "50",
            "WORKER_BACKOFF_MAX_MS": "50",
            observed.CONSTANTS: json.dumps(constants),
            **environ,
        }
        hidden = (
            "sk-test",
            *hidden,
        )  # what Codex says of the provider's address is its operator's
        with scene.running(hidden=hidden, http_limits=http_limits, **settings) as stage:
            yield Binary(stage, provider, plan)


@contextlib.contextmanager
def stand_in(
    *scenarios: standin.Scenario,
    constants: Mapping[str, float] = PROMPTLY,
    http_limits: Mapping[str, float] | None = None,
    said: tuple[str, ...] = (),
    stage: type[scene.Stage] = scene.Stage,
    **environ: Any,
) -> Iterator[StandIn]:
    """A server on a stand-in, with a place for one turn."""
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent)
        settings: dict[str, Any] = {
            "CODEX_BIN": str(standin.install(directory, *scenarios)),
            "WORKER_MAX_CONCURRENCY": "1",
            "WORKER_BACKOFF_INITIAL_MS": "50",
            "WORKER_BACKOFF_MAX_MS": "50",
            observed.CONSTANTS: json.dumps(constants),
            **environ,
        }
        running = scene.running(http_limits=http_limits, said=said, stage=stage, **settings)
        with running as staged:
            yield StandIn(staged, directory)


class Unreachable(scene.Stage):
    """A server on a provider that cannot be reached: what is always the same is its failure."""

    def _plainly(self) -> None:
        answer = self.ask(scene.PLAIN, stream=True)
        assert answer.status in (502, 504), answer


@contextlib.contextmanager
def unreachable(url: str, *hidden: str, **environ: Any) -> Iterator[scene.Stage]:
    """A server on the real binary whose provider would be at this address."""
    settings: dict[str, Any] = {
        "PROXY_CODEX_BASE_URL": url,
        "PROXY_CODEX_API_KEY": "sk-test",
        "WORKER_MAX_CONCURRENCY": "1",
        observed.CONSTANTS: json.dumps(PROMPTLY),
        **environ,
    }
    with scene.running(stage=Unreachable, hidden=("sk-test", *hidden), **settings) as stage:
        yield stage
