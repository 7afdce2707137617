"""What every row of the fault matrix is measured with, whatever worker stands behind the server.

    with scene.running("--worker", "upstream", PROXY_UPSTREAM_URL=url) as stage:
        answer = stage.ask("prompt of the fault", stream=True)
        assert answer.status == 200
        assert answer.body == expected.ROLE + expected.content("so far") + expected.error(...)
        (last,) = stage.survived("upstream_error", "upstream_disconnected", answer)

The server is a real process, with a log that keeps content and, unless a test says otherwise, room
for one stream. `survived` asks what is asked of every row: everything is released within a second
(`released`), the log has one terminal record a stream, of that kind and code, and replays to the
bytes that came (`recorded`). At the end `running` stops the server, replays its whole log, and
looks for complaints in its diagnostics.

A worker's part is to answer the prompt `PLAIN` with a whole answer, always.
"""

import collections
import contextlib
import json
import re
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.log.content import digest
from machines import events
from tests.faults import observed
from tests.faults.watched import Held, ObservedServe
from tests.support.client import httpclient
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving

SECOND: Final = machinetime.SECOND
"""How long anything may be held after the end of its stream."""

PLAIN: Final = "hi"
"""The prompt whose answer is always whole."""

MODEL: Final = "gpt-5.5"
"""The model that is asked for."""

DEFECT: Final = "defect"
"""The event of a line about a bug of the server's own."""

STILL: Final = 5
"""Counts in a row that are equal when a server has come to rest."""

PAUSE_S: Final = 0.02
"""Seconds between two of them."""

Json = dict[str, Any]


class Answer(NamedTuple):
    """What a client got.

    Attributes:
        raw: the body as it came, without HTTP's framing.
        whole: whether HTTP says that the body is whole.
    """

    request_id: str
    status: int
    headers: dict[str, str]
    raw: bytes
    whole: bool

    @property
    def body(self) -> bytes:
        """The body, the two members that differ from run to run replaced."""
        body = re.sub(rb'"((?:chatcmpl|resp|msg|rs|fc)_?-?)[0-9a-f]{24}', rb'"\g<1>1', self.raw)
        return re.sub(rb'"(created|created_at|completed_at)":\d{10}', rb'"\1":1', body)

    @property
    def error(self) -> Json:
        """The error of an answer that is nothing else."""
        body = json.loads(self.raw)
        assert set(body) == {"error"}
        assert set(body["error"]) >= {"message", "type", "param", "code"}
        return dict(body["error"])


class Asked(httpclient.Exchange):
    """One request on a connection of its own; its answer is read when a test asks for it.

    Args:
        text: the prompt, unless `fields` has messages.
        headers: beside the usual ones; the request's id may be among them.
        receive_buffer: bytes the client's system takes in for it; 0 for the usual.
    """

    path = "/chat/completions"
    """What is asked, after the root of the API."""

    @staticmethod
    def prompt(text: str) -> Json:
        """The field of a prompt."""
        return {"messages": [{"role": "user", "content": text}]}

    def __init__(
        self,
        server: serving.Serve,
        text: str,
        headers: Mapping[str, str] | None = None,
        receive_buffer: int = 0,
        **fields: Any,
    ) -> None:
        headers = {"x-request-id": f"req-{secrets.token_hex(8)}", **(headers or {})}
        self.request_id = headers["x-request-id"]
        body = {"model": MODEL, **self.prompt(text), **fields}
        data = httpclient.encoded(server.url, "POST", self.path, body, headers)
        super().__init__(httpclient.connect(server.url, receive_buffer), data)

    def answer(self) -> Answer:
        """The whole answer, once it has come, or what there is of it once the connection broke."""
        return Answer(self.request_id, *self.response_or_part())


class Stage:
    """A server under test, and what it holds when nothing is asked of it.

    Args:
        server: ready.

    Attributes:
        complaints: errors in its diagnostics that a test has seen, and found right.
    """

    asks: type[Asked] = Asked
    """How it is asked."""

    def __init__(self, server: ObservedServe) -> None:
        self.server = server
        self.complaints: list[str] = []
        self._plainly()
        self.rest = self._at_rest()

    def ask(self, text: str, headers: Mapping[str, str] | None = None, **fields: Any) -> Answer:
        """The whole answer to a prompt."""
        with self.asked(text, headers, **fields) as asked:
            return asked.answer()

    def asked(self, text: str, headers: Mapping[str, str] | None = None, **fields: Any) -> Asked:
        """A request whose answer a test reads by and by."""
        return self.asks(self.server, text, headers, **fields)

    @contextlib.contextmanager
    def neighbours(
        self, bodies: Mapping[str, bytes], go_on: Callable[[], object]
    ) -> Iterator[None]:
        """Streams in the middle of their answers, which nothing that happens meanwhile changes.

        They want no heartbeats: how many there would be depends on the machine.

        Args:
            bodies: what each is to get, by its prompt; they wait behind a text `lo`.
            go_on: has their answers go on.
        """
        with contextlib.ExitStack() as stack:
            live = [
                stack.enter_context(self.asked(each, {"x-no-keepalive": "1"}, stream=True))
                for each in bodies
            ]
            for each in live:
                each.until(b'"lo"')
            yield
            go_on()
            answers = [each.answer() for each in live]
        for answer, body in zip(answers, bodies.values(), strict=True):
            assert (answer.status, answer.whole) == (200, True)
            assert answer.body == body
            self.recorded("completed", None, answer)

    def survived(
        self,
        kind: events.TerminalKind,
        code: str | None,
        *answers: Answer | Asked,
        cause: events.GoneCause | None = None,
    ) -> list[events.Terminal]:
        """What is asked of every row; the terminal records of these answers."""
        self.released()
        return [self.recorded(kind, code, answer, cause) for answer in answers]

    def released(self) -> None:
        """Nothing is held for any stream, a second after the last of them at the latest.

        A stream that is asked for then is admitted and whole: permits are counted by the next one
        to want one. After it a connection that a worker keeps is there again, if a fault took it.
        """
        machinetime.until(lambda: self.server.get("/healthz")[1]["streams"] == 0, SECOND)
        self._await(lambda held: not held - self.rest)
        self._plainly()
        try:
            self._await(lambda held: held == self.rest)
        except AssertionError:
            # A worker closes the connection of an answer whose end is late: the machine is busy.
            self._plainly()
            self._await(lambda held: held == self.rest)

    def recorded(
        self,
        kind: events.TerminalKind,
        code: str | None,
        answer: Answer | Asked,
        cause: events.GoneCause | None = None,
    ) -> events.Terminal:
        """The one terminal record of a stream, whose log replays to the bytes that came.

        Args:
            answer: whole; or one that its client left, whose bytes nobody can know.
        """
        last = self.ended(kind, code, answer, cause)
        if isinstance(answer, Answer):
            body = digest.BodyDigest(digest.load_key(self.server.log_dir))
            body.update(answer.raw)
            assert (last.status, last.body_bytes) == (answer.status, len(answer.raw))
            assert last.body_hash == body.hexdigest()
        return last

    def ended(
        self,
        kind: events.TerminalKind,
        code: str | None,
        answer: Answer | Asked,
        cause: events.GoneCause | None = None,
    ) -> events.Terminal:
        """The one terminal record of a stream, where the bytes that came may be others."""
        machinetime.until(lambda: serverlog.has_ended(self.server, answer.request_id), SECOND)
        last = serverlog.terminal(self.server, answer.request_id)
        assert (last.kind, last.code, last.cause) == (kind, code, cause)
        return last

    def broke(self, *answers: Answer | Asked) -> list[Json]:
        """The lines about bugs since the last call, each of which has the ids of one of these."""
        lines = self.defects()
        assert {line["req_id"] for line in lines} == {each.request_id for each in answers}, lines
        return lines

    def defects(self, count: int = 0) -> list[Json]:
        """The lines about bugs since the last call, once there are so many, and all there are."""
        known = self.complaints.count(DEFECT)
        machinetime.until(lambda: self._defects() >= known + count)
        lines = self.server.told(DEFECT)[known:]
        self.complaints += [DEFECT] * len(lines)
        return lines

    def _defects(self) -> int:
        """How many there were so far, once a line tells of each."""
        count = sum(self.server.defects().values())
        machinetime.until(lambda: len(self.server.told(DEFECT)) >= count)
        return count

    def story(self, answer: Answer | Asked) -> list[Any]:
        """The events of a stream, from its first record to its last."""
        return list(serverlog.story(self.server, answer.request_id))

    def _plainly(self) -> None:
        self.server.wait_ready()  # a worker's process that a fault has ended is there again
        answer = self.ask(PLAIN, stream=True)
        assert (answer.status, answer.whole) == (200, True), answer
        assert answer.raw.endswith(b"data: [DONE]\n\n"), answer

    def _await(self, is_so: Callable[[Held], bool]) -> None:
        watch = machinetime.Stopwatch()
        while not is_so(held := self.server.held()):
            if watch.read() > SECOND:
                more, less = dict(held - self.rest), dict(self.rest - held)
                raise AssertionError(f"a second later: {more} too many, {less} missing")

    def _at_rest(self) -> Held:
        """What is held once that no longer changes."""
        counts = collections.deque([self.server.held()], maxlen=STILL)
        deadline = time.monotonic() + httpclient.WAIT_S
        while len(counts) < STILL or any(each != counts[0] for each in counts):
            assert time.monotonic() < deadline, counts
            threading.Event().wait(PAUSE_S)
            counts.append(self.server.held())
        return counts[0]


@contextlib.contextmanager
def running(
    *arguments: str,
    hidden: tuple[str, ...] = (),
    http_limits: Mapping[str, float] | None = None,
    stage: type[Stage] = Stage,
    said: tuple[str, ...] = (),
    **environ: str,
) -> Iterator[Stage]:
    """A server at rest; at the end it is audited.

    Args:
        hidden: what must be in no line of its diagnostics.
        said: the errors that its diagnostics must name, beside those that tests have seen.
        stage: how a server is asked to show that it is well, where `PLAIN` will not do.
        arguments, http_limits, environ: as `started` has them.
    """
    with started(*arguments, http_limits=http_limits, data_dir=None, **environ) as server:
        server.wait_ready()
        staged = stage(server)
        yield staged
        serverlog.audit(server, *hidden, said=(*said, *staged.complaints))


@contextlib.contextmanager
def started(
    *arguments: str,
    http_limits: Mapping[str, float] | None = None,
    data_dir: Path | None = None,
    **environ: str,
) -> Iterator[ObservedServe]:
    """A server that listens, killed at the end if it still runs.

    Args:
        arguments: of its command line.
        http_limits: members of `server.http.exchange.Limits` to be other than usual.
        data_dir: an empty one by default.
        environ: its settings.
    """
    settings = {
        "PROXY_EVENT_LOG": "full",
        "PROXY_LOG_FSYNC": "none",
        "PROXY_SSE_MAX_CONCURRENCY": "1",
        observed.HTTP_LIMITS: json.dumps(http_limits or {}),
        **environ,
    }
    with contextlib.ExitStack() as stack:
        if data_dir is None:
            data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = ObservedServe(data_dir, arguments, settings)
        stack.callback(server.stop, signal.SIGKILL)
        yield server
