"""What servers are started in front of, one after another, whatever the worker.

with places.upstream() as place:
    with place.started(tmp_path) as server, place.holding(server) as held:
        ...  # streams are open; they are whole and exact at the end
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.faults import codexstage, expected, scene, upstreamstage, watched
from tests.support.logs import serverlog
from tests.support.process import serving
from tests.support.providers import upstreams
from tests.support.providers.provider import Provider
from tests.support.providers.replies import Message, Stream
from tests.support.providers.scripted import Gate

WHOLE: Final = expected.role() + expected.content("Hello", " world") + expected.ENDED
"""The answer to `scene.PLAIN`."""

SO_FAR: Final = upstreamstage.SO_FAR
"""What has come of an answer that is held."""

HELD: Final = SO_FAR + expected.content(" on") + expected.ENDED
"""All of it."""

STREAMS: Final = 3
"""How many are open while something happens to their server."""

QUIET: Final = {"x-no-keepalive": "1"}
"""How many heartbeats there would be depends on the machine."""


class Prompt(NamedTuple):
    """A prompt whose answer stands still after `SO_FAR`, until it is let go on."""

    text: str
    go_on: Callable[[], None]


class Place(NamedTuple):
    """What servers are started with, one after another.

    Attributes:
        hold: makes a prompt.
        stops: where this worker stops.
    """

    arguments: tuple[str, ...]
    environ: dict[str, str]
    hold: Callable[[], Prompt]
    stops: str

    def settings(self, **environ: str) -> dict[str, Any]:
        """All of a server's settings, which has room for what is held and one stream more."""
        room = str(STREAMS + 1)
        return {
            "PROXY_EVENT_LOG": "full",
            "PROXY_LOG_FSYNC": "none",
            "PROXY_SSE_MAX_CONCURRENCY": room,
            "WORKER_MAX_CONCURRENCY": room,
            **self.environ,
            **environ,
        }

    @contextlib.contextmanager
    def started(self, data_dir: Path, **environ: str) -> Iterator[watched.ObservedServe]:
        """A ready server, killed at the end if it still runs."""
        settings = self.settings(**environ)
        with scene.started(*self.arguments, data_dir=data_dir, **settings) as server:
            server.wait_ready()
            yield server

    @contextlib.contextmanager
    def open(self, server: serving.Serve) -> Iterator[list[scene.Asked]]:
        """Streams in the middle of their answers, which stay there."""
        with self._open(server, self.hold()) as live:
            yield live

    @contextlib.contextmanager
    def held(self, server: serving.Serve) -> Iterator[list[scene.Asked]]:
        """Streams in the middle of their answers, which go on at the end and are exact."""
        prompt = self.hold()
        with self._open(server, prompt) as live:
            yield live
            prompt.go_on()
            for each in live:
                answer = each.answer()
                assert (answer.status, answer.body, answer.whole) == (200, HELD, True)

    @contextlib.contextmanager
    def _open(self, server: serving.Serve, prompt: Prompt) -> Iterator[list[scene.Asked]]:
        with contextlib.ExitStack() as stack:
            live = [
                stack.enter_context(scene.Asked(server, prompt.text, QUIET, stream=True))
                for _ in range(STREAMS)
            ]
            for each in live:
                each.until(b'"lo"')
            yield live


@contextlib.contextmanager
def upstream() -> Iterator[Place]:
    """In front of an upstream."""
    with upstreams.Hosted() as source:

        def hold() -> Prompt:
            gate = Gate()
            rest = upstreams.framed(upstreams.sse(upstreams.chunk(" on"))) + upstreamstage.FINISHED
            answer: upstreams.Answer = [upstreamstage.TOLD, gate, rest, "close"]
            return Prompt(source.prompt(answer), lambda: gate.open())

        environ = {"PROXY_UPSTREAM_URL": source.url}
        yield Place(
            ("--worker", "upstream"), environ, hold, "engine.upstream.worker.UpstreamWorker.stop"
        )


@contextlib.contextmanager
def codex() -> Iterator[Place]:
    """On the real binary."""
    plan = codexstage.Plan()
    with Provider(plan) as provider:

        def hold() -> Prompt:
            gate = Gate()
            answer = Stream((Message(("Hel", "lo", gate, " on")),))
            return Prompt(plan.prompt(*[answer] * STREAMS), gate.open)

        environ = {"PROXY_CODEX_BASE_URL": provider.url, "PROXY_CODEX_API_KEY": "sk-test"}
        yield Place((), environ, hold, "engine.codex.worker.CodexWorker.stop")


def ask(server: serving.Serve) -> scene.Answer:
    """An answer that is whole and exact."""
    with scene.Asked(server, scene.PLAIN, QUIET, stream=True) as asked:
        answer = asked.answer()
    assert (answer.status, answer.body, answer.whole) == (200, WHOLE, True)
    return answer


def told(server: serving.Serve, event: str) -> list[dict[str, Any]]:
    """The lines of an event that came so far."""
    return [line for line in list(server.lines) if line.get("event") == event]


def in_log(server: serving.Serve, kind: str, *answers: scene.Answer | scene.Asked) -> None:
    """Each of these has one end in the log, and it is of this kind."""
    for answer in answers:
        assert serverlog.terminal(server, answer.request_id).kind == kind
