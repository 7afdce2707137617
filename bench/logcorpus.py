"""Writes an event log of any size, for benchmarks: the log itself writes it, in virtual time.

    python -m bench.logcorpus DIRECTORY --mib 1024

Most streams are answers of some 300 tokens. The others are played from `transcripts/`: failures
before and after the first token, clients that left, tool calls, both APIs. Sixteen streams are
open at a time, so that their records stand between each other as those of a server do; a part of
the answers is scanned for stop sequences, whose decisions are then in the records.
"""

import argparse
import heapq
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from engine.log import event_log as eventlog, settings as logsettings
from engine.log.content import digest
from engine.log.read import segments
from engine.log.summary import settings as summarysettings
from engine.stream import sink, terminal, times
from machines import events
from machines.stream import machine as stream
from server import renderers

TRANSCRIPTS: Final = Path(__file__).parents[1] / "transcripts"
"""The recorded streams that are played beside the answers."""

OPEN: Final = 16
"""Streams that are open at a time."""

TOKEN_US: Final = 20_000
"""Time between two tokens of an answer, and between two wake-ups of the server."""

TOKENS: Final = 300
"""Tokens of an answer, on average; most have between a half and twice as many."""

TRANSCRIBED: Final = 0.12
"""Part of the streams that are played from a transcript."""

REFUSED: Final = 0.02
"""Requests that are refused before they are streams, for each stream."""

STOPPED: Final = 0.05
"""Part of the answers that are scanned for a stop sequence."""

BEGIN_US: Final = 1_767_225_600_000_000
"""When the log begins: 2026-01-01, as the transcripts do."""

HASH_KEY: Final = "00" * 16
"""Key of the bodies' hashes in a log with contents: as of the transcripts, no secret."""

_WORDS: Final = """the of and to in is that it as for was with on be by at this are or from had not
have but which one all were when there can an your what some other stream answer token weather city
reason because between, therefore: however; example. question? result 42 1,024 naïve 東京"""


Content = Literal["full", "masked"]
"""How a log keeps texts."""


class Script(NamedTuple):
    """A recorded stream: its first record, and what happened how long after it."""

    opened: events.Opened
    steps: tuple[tuple[int, events.StreamInput], ...]
    status: int


class Corpus:
    """A log in the making.

    Args:
        content: `full` or `masked`.
        seed: of everything that is random.

    Attributes:
        streams: written so far.
    """

    def __init__(
        self,
        directory: Path,
        content: Content = "masked",
        seed: int = 1,
        segment_bytes: int = 64 << 20,
    ) -> None:
        self.streams = 0
        self._content: Content = content
        self._random = random.Random(seed)
        self._now = BEGIN_US
        self._log = eventlog.EventLog(
            logsettings.LogSettings(
                directory,
                content=content,
                fsync="none",
                segment_bytes=segment_bytes,
                max_bytes=0,
                max_age_s=0,
                summaries=summarysettings.SummarySettings(max_age_s=0, max_bytes=0),
            ),
            lambda: self._now,
        )
        self._scripts = _scripts()
        self._words = _WORDS.split()
        self._long = self._scripts["text-short"]

    def write(self, size: int) -> None:
        """Write about so many bytes, and close the log."""
        self._log.open()
        waiting: list[tuple[int, int, Iterator[int]]] = []
        flushed = self._now
        while waiting or self._log.bytes_written < size:
            while len(waiting) < OPEN and self._log.bytes_written < size:
                begun = self._now + self._random.randrange(1_000_000)
                heapq.heappush(waiting, (begun, self.streams, self._stream()))
            at, number, running = waiting[0]
            self._now = max(self._now, at)
            due = next(running, None)
            if due is None:
                heapq.heappop(waiting)
            else:
                heapq.heapreplace(waiting, (self._now + due, number, running))
            if self._now - flushed >= TOKEN_US:
                self._log.flush()
                flushed = self._now
        self._log.flush()
        self._log.close()

    def _stream(self) -> Iterator[int]:
        """Play one stream: yields how long it is until it goes on."""
        self.streams += 1
        if self._random.random() < REFUSED:
            self._refuse()
        if self._random.random() < TRANSCRIBED:
            script = self._random.choice([*self._scripts.values()])
        else:
            script = self._answer()
        number = f"{self._random.getrandbits(96):024x}"
        script = script._replace(
            opened=msgspec.structs.replace(
                script.opened,
                request_id=f"req_{number}",
                completion_id=f"chatcmpl-{number}",
                created=self._now // 1_000_000,
                content=self._content,
                hash_key=HASH_KEY if self._content == "full" else None,
                key=self._random.choice(("", "team-a", "team-b")),
            )
        )
        return self._play(f"st_{number}", script)

    def _answer(self) -> Script:
        """Make an answer of some 300 tokens, begun and ended as a recorded one."""
        opened, recorded, status = self._long
        texts = [
            at for at, (_, event) in enumerate(recorded) if isinstance(event, events.TextDelta)
        ]
        first, last = texts[0], texts[-1]
        count = max(20, min(1500, round(self._random.gauss(TOKENS, TOKENS / 3))))
        tokens: list[tuple[int, events.StreamInput]] = [
            (TOKEN_US, events.TextDelta(f" {self._random.choice(self._words)}"))
            for _ in range(count)
        ]
        if self._random.random() < STOPPED:
            opened = msgspec.structs.replace(opened, stop=("\n\nUser:",))
        prompt = " ".join(self._random.choices(self._words, k=80))
        body = {"model": "codex-5", "messages": [{"role": "user", "content": prompt}]}
        opened = msgspec.structs.replace(
            opened, request=msgspec.Raw(msgspec.json.encode(body)), prompt_bytes=len(prompt)
        )
        return Script(opened, (*recorded[:first], *tokens, *recorded[last + 1 :]), status)

    def _play(self, stream_id: str, script: Script) -> Iterator[int]:
        opened = script.opened
        log, machine = self._log.stream(stream_id), stream.Stream(opened)
        renders, hashed = renderers.reply(opened), digest.BodyDigest(bytes.fromhex(HASH_KEY))
        at = times.Times(self._now, self._now, self._now)
        log.open(opened)
        for wait, event in script.steps:
            yield wait
            if machine.ended:
                break
            step = machine.step(event)
            log.append(event, step)
            at.saw(event, self._now)
            if at.token is None and isinstance(event, times.TOKENS):
                at.token = self._now
            if at.content is None and isinstance(event, times.CONTENTS):
                at.content = self._now
            for output in step.outputs:
                hashed.update(renders.render(output, self._now))
        summary = sink.Summary(
            renders.status or script.status, renders.frames, hashed.length, hashed.hexdigest()
        )
        log.close(terminal.terminal(machine, summary, at, self._now), machine.position)

    def _refuse(self) -> None:
        number = f"{self._random.getrandbits(96):024x}"
        refused = events.RequestRejected(
            request_id=f"req_{number}",
            code="invalid_api_key",
            status=401,
            message="Incorrect API key provided.",
            method="POST",
            route="/v1/chat/completions",
            client="127.0.0.1",
        )
        self._log.stream(f"rj_{number}").close(refused, "refused")


def _scripts() -> dict[str, Script]:
    """The recorded streams, by the names of their files."""
    return {path.stem: _script(path) for path in sorted(TRANSCRIPTS.glob("*.jsonl"))}


def _script(path: Path) -> Script:
    records = list(segments.read(path))
    opened, terminal = records[0].load(), records[-1].load()
    assert isinstance(opened, events.Opened)
    assert isinstance(terminal, events.Terminal)
    steps: list[tuple[int, events.StreamInput]] = []
    before = records[0].t
    for record in records[1:-1]:
        event = record.load()
        assert isinstance(event, events.StreamInput)
        steps.append((record.t - before, event))
        before = record.t
    return Script(opened, tuple(steps), terminal.status)


def main(arguments: list[str] | None = None) -> int:
    """Write one log."""
    parser = argparse.ArgumentParser(prog="python -m bench.logcorpus", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--content", choices=("full", "masked"), default="masked")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    options.directory.mkdir(parents=True, exist_ok=True)
    corpus = Corpus(options.directory, options.content, options.seed)
    corpus.write(options.mib << 20)
    print(f"{corpus.streams} streams in {options.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
