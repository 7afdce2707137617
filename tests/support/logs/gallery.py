"""Logs that are worth looking at: streams of every kind with the times of real ones, for the page.

Each is played through today's machine and renderer by a clock of its own, so its records, its
figures and the digest of its bytes are those that a server would have written.
"""

import itertools
import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from engine import looplag
from engine.log import event_log as eventlog, streamlog
from engine.log.content import digest
from engine.log.format import sealed
from engine.log.read import segments
from engine.stream import terminal, times
from engine.stream.sink import Summary
from machines import events
from machines.stream import machine as stream
from server.renderers import reply
from tests.support.logs import logs

Story = Sequence[tuple[float, events.StreamInput]]
"""What happened to a stream: milliseconds since the one before, and an event."""

START_US: Final = 1_790_000_000_000_000

KEY: Final = "5eed" * 8

MS: Final = 1000

WORDS: Final = (
    "The tide turns twice a day because the Moon pulls the near side of the ocean more than the "
    "far side. What we call high water is that bulge passing under us, and the second one, on the "
    "far side, is where the pull is weakest. Around the coast the sea floor and the shape of bays "
    "delay it by hours, which is why harbours a few miles apart have different tables."
)

USAGE: Final = events.Usage(412, 96, 256)


def texts(count: int, text: str = WORDS, pace_ms: float = 34.0, seed: int = 1) -> Iterator[Any]:
    """Deltas of a text, a word each, at an uneven pace."""
    chance = random.Random(seed)
    for word in text.split(" ")[:count]:
        yield pace_ms * chance.uniform(0.3, 1.9), events.TextDelta(f"{word} ")


def begun(wait_ms: float = 620.0) -> Iterator[Any]:
    """What comes before the first text."""
    yield 3.2, events.RpcSent("turn/start", 7)
    yield 4.1, events.RpcReplied(7)
    yield 0.4, events.TurnStarted("th_01", "tu_01")
    yield wait_ms, events.ItemStarted("agentMessage")


def whole() -> Iterator[Any]:
    """The end of a good answer."""
    yield 21.0, events.TurnFinished("stop", followed=True)
    yield 2.1, events.TokensCounted(USAGE)


def failed(kind: Any, code: str, message: str, **more: Any) -> Iterator[Any]:
    """The end of one that failed."""
    yield 18.0, events.TurnFailed(kind, code, message, **more)


CALL: Final = '{"city":"Bergen","days":3,"units":"metric"}'

STORIES: Final[dict[str, Story]] = {
    "good": (*begun(), *texts(60), *whole()),
    "thinking": (
        *begun(380),
        *((55.0, events.ReasoningDelta(f"{word} ")) for word in WORDS.split(" ")[:22]),
        *texts(40, seed=2),
        *whole(),
    ),
    "call": (
        *begun(900),
        *texts(9, "I will look that up in the forecast for the town", seed=3),
        (340.0, events.ToolCalled("call_9f2", "get_forecast", CALL)),
        *whole(),
    ),
    "silent": (
        *begun(700),
        *texts(24, seed=4),
        (30_000.0, events.TimerFired("idle")),
    ),
    "broken": (
        *begun(450),
        *texts(31, seed=5),
        *failed(
            "upstream_error",
            "upstream_disconnected",
            "The provider's stream broke off.",
            word="responseStreamDisconnected",
            detail="stream disconnected before completion: Transport error: peer reset",
        ),
    ),
    "retried": (
        *begun(300),
        (90.0, events.RetryScheduled(1, 1000, "upstream_error", detail="503 overloaded")),
        (1002.0, events.RpcSent("turn/start", 8)),
        *texts(28, seed=6),
        *whole(),
    ),
    "left": (*begun(820), *texts(14, seed=7), (240.0, events.ClientGone("left"))),
    "spent": (
        *begun(210),
        *failed(
            "upstream_error",
            "usage_limit_exceeded",
            "The usage limit is reached.",
            word="usageLimitExceeded",
        ),
    ),
    "exited": (
        *begun(640),
        *texts(12, seed=8),
        *failed("worker_lost", "worker_exited", "The worker's process ended before its answer."),
    ),
    "late": (*begun(120), (60_000.0, events.TimerFired("first_chunk"))),
    "limited": (
        *begun(120),
        *failed(
            "upstream_error",
            "rate_limit_exceeded",
            "Rate limit reached for requests.",
            status=429,
            retry_after=20.0,
            word="requests",
            detail='{"error":{"message":"Rate limit reached for requests.","type":"requests"}}',
        ),
    ),
    "busy": (
        *failed(
            "rejected",
            "worker_busy",
            "Every worker is at its turn limit. Try again shortly.",
            retry_after=1.0,
        ),
    ),
    "drained": (*begun(300), *texts(40, seed=9), (20_000.0, events.ServerStopping())),
    "unreachable": (
        (12.0, events.RetryScheduled(1, 500, "upstream_unreachable", detail="[Errno -2]")),
        (512.0, events.RetryScheduled(2, 1000, "upstream_unreachable", detail="[Errno -2]")),
        (
            1_010.0,
            events.TurnFailed(
                "upstream_error",
                "upstream_unreachable",
                "The model's server cannot be reached.",
                detail="ConnectError: [Errno -2] Name or service not known (api.example.test)",
            ),
        ),
    ),
    "too_long": (
        *begun(240),
        *failed(
            "upstream_error",
            "context_length_exceeded",
            "The conversation is longer than the model's context window.",
            word="contextWindowExceeded",
            detail="Your input exceeds the context window of this model.",
        ),
    ),
    "image": (
        *begun(180),
        *failed(
            "upstream_error",
            "invalid_image",
            "The image cannot be read.",
            status=400,
            param="messages[0].content[1]",
            word="other",
            detail='{"error":{"message":"The image cannot be read.","code":"invalid_image"}}',
        ),
    ),
    "half_call": (
        *texts(6, seed=10),
        (400.0, events.ToolCallDelta(0, "call_7", "write_file", '{"path":"a.md","text":"# Tid')),
        (30.0, events.ToolCallDelta(0, arguments="es of the North Sea")),
        (25.0, events.TurnFinished("length")),
        (2.0, events.TokensCounted(USAGE)),
    ),
    "filtered": (
        *texts(17, seed=11),
        (90.0, events.TurnFinished("content_filter")),
        (2.0, events.TokensCounted(USAGE)),
    ),
    "slow_client": (
        *begun(300),
        *texts(52, seed=12),
        (900.0, events.BufferPressure(300_000)),
        (30_000.0, events.ClientGone("write_stall")),
    ),
    "hurried": ((20.0, events.ClientGone("left")),),
    "killed": (*begun(500), *texts(20, seed=13)),
}
"""Streams by what happened to them; of `killed` the server was ended too."""

BAD: Final = ("silent", "broken", "spent", "exited", "late", "left")

USUAL: Final = ("good", "good", "good", "thinking", "call", "retried")

MODELS: Final = ("gpt-5.5", "gpt-5.5-mini", "codex-max", "local/llama-3.3")


def raw(body: object) -> msgspec.Raw:
    """A client's request as a record has it."""
    return msgspec.Raw(msgspec.json.encode(body))


class Gallery:
    """Writes streams into a log.

    Args:
        fields: of the log's settings.
    """

    def __init__(self, directory: Path, content: str = "full", **fields: Any) -> None:
        self.clock = logs.Clock(START_US)
        self._log: eventlog.EventLog = logs.open_log(
            directory, self.clock, content=content, **fields
        )

    def settle(self) -> None:
        """Wait until the log has done what it does beside its records."""
        logs.wait_for_chores(self._log)

    def close(self) -> None:
        """Write nothing any more."""
        self._log.close()

    def add(self, stream_id: str, story: Story, **fields: Any) -> None:
        """Write a stream from its beginning to its end; one without an end stays open."""
        self.begin(stream_id, **fields).go_on(story)

    def begin(self, stream_id: str, **fields: Any) -> "Playing":
        """Write the beginning of a stream."""
        return Playing(self, stream_id, fields)

    def record(self, stream_id: str) -> streamlog.StreamLog:
        """The part of the log that is a stream's."""
        return self._log.stream(stream_id)

    def flush(self) -> None:
        """Write what is not in the file yet."""
        self._log.flush()

    def refuse(self, number: int, code: str = "invalid_api_key", status: int = 401) -> None:
        """Write a refused request."""
        self._log.stream(f"rj_{number:04}").close(
            events.RequestRejected(
                request_id=f"req_refused{number}",
                code=code,
                status=status,
                message="Incorrect API key provided.",
                method="POST",
                route="/v1/chat/completions",
                client="127.0.0.1",
            ),
            "rejected",
        )
        self._log.flush()


class Playing:
    """A stream that is being written.

    Args:
        fields: of its first record.
    """

    def __init__(self, gallery: Gallery, stream_id: str, fields: dict[str, Any]) -> None:
        opened = logs.opened(
            hash_key=KEY,
            content="full",
            include_usage=True,
            **{"request_id": f"req_{stream_id[3:]}", "worker": "codex", **fields},
        )
        self._gallery = gallery
        self._clock = gallery.clock
        self._played, self._renders = stream.Stream(opened), reply(opened)
        self._body = digest.BodyDigest(bytes.fromhex(KEY))
        self._record = gallery.record(stream_id)
        start = self._record.open(opened)
        self._at = times.Times(start, start, start)
        self._lag = looplag.LoopLag()

    def go_on(self, story: Story) -> None:
        """Write what happens next."""
        for wait_ms, event in story:
            self._clock.us += round(wait_ms * MS)
            now = self._clock.us + 1
            self._at.saw(event, now)
            if isinstance(event, times.TOKENS) and self._at.token is None:
                self._at.token = now
            if isinstance(event, times.CONTENTS) and self._at.content is None:
                self._at.content = now
            step = self._played.step(event)
            self._record.append(event, step)
            for output in step.outputs:
                self._body.update(self._renders.render(output, now))
        if self._played.ended:
            summary = Summary(
                self._renders.status,
                self._renders.frames,
                self._body.length,
                self._body.hexdigest(),
            )
            self._at.ended(self._clock.us + 1, self._lag, 0.0)
            last = terminal.terminal(self._played, summary, self._at, self._clock.us + 1)
            self._record.close(last, self._played.position)
        self._gallery.flush()


def mixed(directory: Path, streams: int = 120, **fields: Any) -> None:
    """Write a log of a working day: most streams good, a bad spell in the middle."""
    chance = random.Random(7)
    gallery = Gallery(directory, **fields)
    for number in range(streams):
        spell = 0.45 < number / streams < 0.6
        bad = chance.random() < (0.5 if spell else 0.06)
        name = chance.choice(
            BAD if bad else ("good", "good", "good", "thinking", "call", "retried")
        )
        model = chance.choice(MODELS[:3])
        gallery.add(
            f"st_{number:04}{name[:4]}",
            STORIES[name],
            model=model,
            target=model,
            completion_id=f"chatcmpl-{number:04}",
            worker=chance.choice(("codex", "codex", "upstream")),
            key=chance.choice(("obsidian", "ci", "")),
        )
        if chance.random() < 0.04:
            gallery.refuse(number)
        gallery.clock.advance(chance.uniform(20, 160))
    gallery.close()


def many(directory: Path, streams: int) -> None:
    """Write a segment of many short streams, three seconds from one to the next.

    They are made once of each kind, by today's machine, and then written again and again with
    other ids and times: to play ten thousand takes longer than any test of them. The time that is
    in their bytes stays the first one's, so their digests do not fit.
    """
    short = {"good": (*texts(3, pace_ms=60), *whole()), "spent": STORIES["spent"]}
    made: dict[tuple[str, str], list[bytes]] = {}
    with tempfile.TemporaryDirectory() as name:
        own = Path(name)
        gallery = Gallery(own)
        for kind, model in itertools.product(short, MODELS[:3]):
            gallery.add(_TEMPLATE, short[kind], model=model, target=model)
            lines = [record.raw for record in segments.read(own)]
            made[kind, model] = lines[sum(map(len, made.values())) :]
        gallery.close()
    with (directory / segments.segment_name(1)).open("wb") as file:
        places = itertools.count()
        for number in range(streams):
            kind = "spent" if number % 17 == 3 else "good"
            lines = made[kind, MODELS[number % 3]]
            shift = START_US + number * 3_000_000 - _time_of(lines[0])
            for line in lines:
                file.write(_moved(line, b"%06d" % number, next(places), shift))


_TEMPLATE: Final = "st_000000"

_PLACE: Final = re.compile(rb'"seg":\d+,"t":(\d+)')


def _time_of(line: bytes) -> int:
    found = _PLACE.search(line)
    assert found
    return int(found[1])


def _moved(line: bytes, digits: bytes, place: int, shift: int) -> bytes:
    """A record of the template as another stream's, elsewhere and microseconds later."""
    body = line[: -sealed.SEAL_BYTES].replace(_TEMPLATE[3:].encode(), digits)
    moved = b'"seg":%d,"t":%d' % (place, _time_of(line) + shift)
    return sealed.seal(_PLACE.sub(moved, body, count=1))
