"""The upstream worker's part of the fault matrix: servers before an upstream that misbehaves."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from machines import events
from tests.faults import expected, observed, scene
from tests.support.logs import serverlog
from tests.support.process import machinetime
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import chunk, framed, sse

NO_UPSTREAM_FORM: Final = {
    21: "an HTTP upstream asks for nothing: what it wants to run is a tool call of the client's",
    47: "a call goes to the client, whatever its name: no function is answered here",
    49: "it has no process of ours: one that cannot be reached is row 13",
    42: "no read holds more than one answer: each has a connection to itself while it comes",
}
"""Rows that cannot happen to the upstream worker, and why."""

USAGE: Final[dict[str, Any]] = {"stream_options": {"include_usage": True}}
"""Fields of a request for a stream with counts."""

TOLD: Final = upstreams.STREAM_HEAD + b"".join(framed(sse(chunk(text))) for text in ("Hel", "lo"))
"""What an upstream has said before most faults."""

SO_FAR: Final = expected.role() + expected.content("Hel", "lo")
"""What a client has of it."""

FINISHED: Final = framed(sse(chunk(finish="stop")) + upstreams.DONE) + upstreams.LAST
"""How an upstream ends well."""

WHOLE: Final = expected.role() + expected.content("Hello") + expected.finish("stop")
"""A stream of one chunk; its sentinel is missing."""


KEPT_S: Final = 2 * 15.0 + 1
"""Seconds after which an idle connection is closed. Source: aiohttp keeps one for 15 s, and looks
for those that are older as often."""

UNASKED: Final = {"engine.upstream.worker.REFRESH_S": 3600.0}
"""Models are listed once: where that falls into an answer, it takes a connection of its own."""


class Staged(NamedTuple):
    """A server, and the upstream behind it."""

    stage: scene.Stage
    source: upstreams.Hosted

    def streamed(self, *answers: upstreams.Answer, **fields: Any) -> scene.Answer:
        """The streamed answer to a prompt of its own, which the upstream answers so."""
        return self.stage.ask(self.source.prompt(*answers), stream=True, **fields)

    def whole(self, *answers: upstreams.Answer, **fields: Any) -> scene.Answer:
        """The same, not streamed."""
        return self.stage.ask(self.source.prompt(*answers), **fields)

    @contextlib.contextmanager
    def neighbours(self, count: int = 3) -> Iterator[None]:
        """As `scene.Stage.neighbours`."""
        gate = scripted.Gate()
        bodies = {}
        for text in (f" and {number}" for number in range(count)):
            rest = framed(sse(chunk(text))) + FINISHED
            prompt = self.source.prompt([TOLD, gate, rest, "close"])
            bodies[prompt] = SO_FAR + expected.content(text) + expected.ENDED
        with self.stage.neighbours(bodies, lambda: gate.open()):
            yield

    def survived(
        self,
        kind: events.TerminalKind,
        code: str | None,
        *answers: scene.Answer | scene.Asked,
        cause: events.GoneCause | None = None,
    ) -> list[events.Terminal]:
        """As `scene.Stage.survived`; one of the upstream's connections is left, for the next.

        A stream ends with its sentinel. Where the machine is busy, the end of the body is read a
        moment later, the next request has a connection of its own by then, and the worker keeps
        two for as long as it keeps any.
        """
        source = self.source.server
        machinetime.until(
            lambda: source.open_connections in (0, 1, source.idle_connections), scene.SECOND
        )
        if source.open_connections == 2:
            machinetime.until(lambda: source.open_connections <= 1, KEPT_S)
        last = self.stage.survived(kind, code, *answers, cause=cause)
        machinetime.until(lambda: self.source.server.open_connections == 1, scene.SECOND)
        return last

    def breaks(
        self,
        answer: upstreams.Answer,
        body: bytes,
        code: str,
        kind: events.TerminalKind = "upstream_error",
        status: int = 502,
    ) -> None:
        """An upstream's answer breaks: a stream ends with a frame, any other answer is an error.

        Args:
            body: of the stream.
            code, kind: of both.
            status: of the answer that is not streamed.
        """
        prompts = self.source.prompt(answer), self.source.prompt(answer)
        streamed = self.stage.ask(prompts[0], stream=True)
        whole = self.stage.ask(prompts[1])
        assert (streamed.status, streamed.body, streamed.whole) == (200, body, True)
        assert (whole.status, whole.error["code"]) == (status, code)
        self.survived(kind, code, streamed, whole)
        assert [len(self.source.requests_for(prompt)) for prompt in prompts] == [1, 1]


class Unanswered(scene.Stage):
    """A server whose upstream cannot be reached: what is always the same is its failure."""

    def _plainly(self) -> None:
        answer = self.ask(scene.PLAIN, stream=True)
        assert answer.error["code"] == "upstream_unreachable", answer


@contextlib.contextmanager
def unreachable(url: str, **environ: Any) -> Iterator[scene.Stage]:
    """A server whose upstream would be at this address; it never becomes ready."""
    with scene.started("--worker", "upstream", PROXY_UPSTREAM_URL=url, **environ) as server:
        yield Unanswered(server)
        serverlog.audit(server, url)


@contextlib.contextmanager
def upstream(
    http_limits: Mapping[str, float] | None = None,
    constants: Mapping[str, float] | None = None,
    said: tuple[str, ...] = (),
    stage: type[scene.Stage] = scene.Stage,
    **environ: Any,
) -> Iterator[Staged]:
    """A server in front of an upstream.

    Args:
        http_limits, said, stage: as `scene.running` has them.
        constants: other values of constants, by their full names.
        environ: the server's settings.
    """
    with upstreams.Hosted() as source:
        settings: dict[str, Any] = {
            "PROXY_UPSTREAM_URL": source.url,
            "PROXY_UPSTREAM_API_KEY": "sk-hidden-7c1d",
            observed.CONSTANTS: json.dumps({**UNASKED, **(constants or {})}),
            **environ,
        }
        hidden = ("sk-hidden-7c1d", f":{source.server.port}")
        running = scene.running(
            *("--worker", "upstream"),
            hidden=hidden,
            http_limits=http_limits,
            said=said,
            stage=stage,
            **settings,
        )
        with running as staged:
            yield Staged(staged, source)
