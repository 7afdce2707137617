"""A program that stands in for `codex app-server`: its frames, as fast or as badly as asked.

    python -m bench.appserver app-server

speaks the protocol subset of `engine.codex.protocol.appserver` on its standard streams.
`bench.standin.install` makes a program of it that can be given to `CODEX_BIN`, and says there what
it shall do.

It is one thread that waits for a line or for the next delta, whichever comes first. A turn's
lines are made when it begins; a flood writes many of them at once.
"""

import argparse
import collections
import fcntl
import itertools
import os
import select
import signal
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bench import appframes, pacing, standin

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2

STDERR_LINE: Final = (
    b'{"timestamp":"2026-01-01T00:00:00Z","level":"ERROR",'
    b'"fields":{"message":"stand-in is worried"},"target":"codex_core"}\n'
)
"""A line of stderr as `LOG_FORMAT=json` has it."""

PIPE_POLL_S: Final = 0.0002
"""How often it is looked whether the client has read a piece of a line."""


class Call(msgspec.Struct):
    """A line from the client: a request, a notification or a reply."""

    method: str | None = None
    id: int | str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")


class Text(msgspec.Struct):
    """A part of a message."""

    text: str = ""


class Item(msgspec.Struct):
    """An item of a history."""

    content: list[Text] | str | None = None

    @property
    def text(self) -> str:
        """Its text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class Params(msgspec.Struct, rename="camel"):
    """The members that are read of any request's params."""

    thread_id: str = ""
    model: str | None = None
    cwd: str = ""
    type: str = ""
    items: list[Item] = []


class Thread(msgspec.Struct, eq=False):
    """A thread of the client's; `prompt` is the text of its last item."""

    id: str
    prompt: str = ""
    turn: "Turn | None" = None
    subscribed: bool = True


class Refused(Exception):
    """Raised for a request that is answered with an error."""

    def __init__(self, message: str, code: int = appframes.INVALID_REQUEST) -> None:
        super().__init__(message)
        self.code = code


class Turn:
    """A turn in motion.

    Attributes:
        said: the texts of its deltas so far.
    """

    def __init__(self, thread: Thread, plan: standin.Turn, number: int) -> None:
        self.thread = thread
        self.plan = plan
        self.frames = appframes.TurnFrames(thread.id, number)
        self.said: list[str] = []
        self._left = plan.deltas
        texts = _padded(plan, self.frames)
        self._cycle = itertools.cycle(zip(texts, self.frames.deltas(texts), strict=True))

    def beginning(self) -> bytes:
        """Return the notifications that come before the first delta."""
        lines = (self._about(line.encode() + b"\n") for line in self.plan.before)
        return b"".join((self.frames.started(), *lines))

    def _about(self, line: bytes) -> bytes:
        """A line of the plan's as it is about this turn."""
        line = line.replace(b"{thread}", self.thread.id.encode())
        return line.replace(b"{turn}", self.frames.turn_id.encode())

    @property
    def is_told(self) -> bool:
        """Whether its last delta is out."""
        return self._left == 0

    def next_deltas(self) -> list[bytes]:
        """The lines that are due: one, or in a flood a burst of them."""
        count = min(self._left, 1 if self.plan.interval else self.plan.burst)
        self._left -= count
        if self.plan.stamped:
            texts = [pacing.stamp(len(self.said) + number) for number in range(count)]
            self.said += texts
            return self.frames.deltas(texts)
        lines = []
        for text, line in itertools.islice(self._cycle, count):
            odd = self.plan.instead.get(len(self.said))
            lines.append(line if odd is None else self._about(odd))
            self.said.append(text)
        return lines


def _padded(plan: standin.Turn, frames: appframes.TurnFrames) -> list[str]:
    """The plan's texts, as long as its lines shall be."""
    if not plan.line_bytes:
        return list(plan.texts)
    lengths = [len(line) - 1 for line in frames.deltas(plan.texts)]
    return [
        text + "x" * (plan.line_bytes - length)
        for text, length in zip(plan.texts, lengths, strict=True)
    ]


class StandIn:
    """One process."""

    def __init__(self, plan: standin.Scenario, journal: Path | None) -> None:
        self._plan = plan
        self._journal = journal
        self._schedule: pacing.Schedule[Turn] = pacing.Schedule()
        self._threads: dict[str, Thread] = {}
        self._numbers = itertools.count(1)
        self._in_step: list[Turn] = []
        self._overloads = collections.Counter(plan.overloads)
        self._introduced = False
        self._has_key = False
        self._held = b""
        self._out: list[bytes] = []
        self._answers: dict[str, Callable[[Params], object]] = {
            "initialize": self._initialize,
            "model/list": lambda _: appframes.models(),
            "server/diagnostics": lambda _: appframes.diagnostics(os.getpid()),
            "account/read": lambda _: appframes.account(self._has_key, plan.logged_out),
            "account/login/start": self._log_in,
            "thread/start": self._start_thread,
            "thread/inject_items": self._inject,
            "turn/start": self._start_turn,
            "turn/interrupt": self._interrupt,
            "thread/unsubscribe": self._unsubscribe,
        }

    def run(self) -> None:
        """Serve until the input ends."""
        while True:
            readable, _, _ = select.select([STDIN], [], [], self._schedule.wait())
            if readable:
                data = os.read(STDIN, 1 << 16)
                if not data:
                    return
                for line in self._lines(data):
                    self._take(line)
            for due, turn in self._schedule.take():
                self._advance(turn, due)
            self._flush()

    def _lines(self, data: bytes) -> list[bytes]:
        *lines, self._held = (self._held + data).split(b"\n")
        if self._journal is not None and lines:
            with self._journal.open("ab") as journal:
                journal.write(b"".join(line + b"\n" for line in lines))
        return lines

    def _take(self, line: bytes) -> None:
        call = msgspec.json.decode(line, type=Call)
        deaf = self._plan.deaf
        if call.method is None or call.id is None:
            return
        if standin.EVERYTHING in deaf or call.method in deaf:
            return
        # What an answer brings about is written after it.
        before, self._out = self._out, []
        try:
            answer = appframes.reply(call.id, self._answer(call.method, call.params))
        except Refused as refused:
            answer = appframes.refusal(call.id, refused.code, str(refused))
        self._out = [*before, answer, *self._out]

    def _answer(self, method: str, params: msgspec.Raw) -> object:
        if not self._introduced and method != "initialize":
            raise Refused("Not initialized")
        answer = self._answers.get(method)
        if answer is None:
            known = ", ".join(f"`{name}`" for name in self._answers)
            raise Refused(f"Invalid request: unknown variant `{method}`, expected one of {known}")
        if self._overloads[method]:
            self._overloads[method] -= 1
            raise Refused("Server overloaded; retry later.", appframes.OVERLOADED)
        return answer(msgspec.json.decode(params, type=Params))

    def _initialize(self, _: Params) -> object:
        if self._introduced:
            raise Refused("Already initialized")
        time.sleep(self._plan.handshake_delay)
        self._introduced = True
        return appframes.introduction(self._plan.version)

    def _log_in(self, params: Params) -> object:
        if params.type == "chatgpt":
            return appframes.login_link()
        self._has_key = True
        self._out.append(appframes.logged_in())
        return {"type": params.type}

    def _start_thread(self, params: Params) -> object:
        thread_id = f"00000000-0000-7000-8000-{next(self._numbers):012}"
        self._threads[thread_id] = Thread(thread_id)
        return appframes.thread(thread_id, params.model or appframes.MODELS[0], params.cwd)

    def _thread(self, params: Params) -> Thread:
        thread = self._threads.get(params.thread_id)
        if thread is None:
            raise Refused(f"thread not found: {params.thread_id}")
        return thread

    def _inject(self, params: Params) -> object:
        self._thread(params).prompt = params.items[-1].text
        return {}

    def _start_turn(self, params: Params) -> object:
        thread = self._thread(params)
        plan = self._plan.turns.get(thread.prompt, self._plan.turn)
        turn = thread.turn = Turn(thread, plan, next(self._numbers))
        self._out.append(turn.beginning())
        if plan.stderr_lines:
            _write(STDERR, STDERR_LINE * plan.stderr_lines)
        if plan.in_step:
            self._join(turn)
        else:
            self._schedule.add(turn, plan.interval)
        return turn.frames.begun()

    def _join(self, turn: Turn) -> None:
        """Have a turn begin with others that go in step: they are all due in the same moments."""
        self._in_step.append(turn)
        if len(self._in_step) == turn.plan.in_step:
            now = time.monotonic()
            for each in self._in_step:
                self._schedule.again(each, now, each.plan.interval)
            self._in_step.clear()

    def _interrupt(self, params: Params) -> object:
        thread = self._thread(params)
        turn, thread.turn = thread.turn, None
        if turn is None:
            raise Refused("no active turn to interrupt")
        self._out.append(turn.frames.interrupted())
        return {}

    def _unsubscribe(self, params: Params) -> object:
        thread = self._thread(params)
        thread.subscribed = False
        if thread.turn is None:
            self._close(thread)
        return {"status": "unsubscribed"}

    def _close(self, thread: Thread) -> None:
        del self._threads[thread.id]
        self._out.append(appframes.notification("thread/closed", {"threadId": thread.id}))

    def _advance(self, turn: Turn, due: float) -> None:
        """Write what is due of a turn, and its end after its last delta."""
        if turn.thread.turn is not turn:
            return  # it was interrupted
        lines = turn.next_deltas()
        if turn.thread.subscribed:
            for line in lines:
                self._say(line, turn.plan.cuts)
        if turn.is_told:
            self._end(turn)
        else:
            self._schedule.again(turn, due, turn.plan.interval)

    def _say(self, line: bytes, cuts: tuple[int, ...]) -> None:
        if not cuts:
            self._out.append(line)
            return
        for start, end in itertools.pairwise((0, *cuts, len(line))):
            self._out.append(line[start:end])
            self._flush()
            _wait_until_read()

    def _end(self, turn: Turn) -> None:
        ending = turn.plan.ending
        if ending == "silent":
            return
        if ending == "exit_mid_line":
            self._out.append(turn.frames.deltas(("cut off",))[0][:-20])
        if ending in ("exit", "exit_mid_line"):
            self._exit()
        text = "".join(turn.said)
        if turn.thread.subscribed:
            self._out.append(turn.frames.item_completed(text))
        if ending == "endless":
            return
        if ending == "exit_whole":
            self._exit()
        turn.thread.turn = None
        if turn.thread.subscribed:
            self._out.append(turn.frames.completed(text, len(turn.said)))
        else:
            self._close(turn.thread)

    def _exit(self) -> None:
        self._flush()
        raise SystemExit(1)

    def _flush(self) -> None:
        if self._out:
            _write(STDOUT, b"".join(self._out))
            self._out.clear()


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _wait_until_read() -> None:
    """Until the pipe is empty, so that two pieces are never read as one."""
    while any(fcntl.ioctl(STDOUT, termios.FIONREAD, bytes(4))):
        time.sleep(PIPE_POLL_S)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.appserver")
    parser.add_argument("--from", type=Path, dest="directory", help="where it is installed")
    parser.add_argument("command", choices=["app-server"])
    parser.add_argument("-c", action="append", help="settings of Codex, which mean nothing here")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run one process."""
    directory = _parse(arguments).directory
    plan = standin.Scenario()
    if directory is not None:
        plan = standin.next_scenario(directory, os.getpid())
    if plan.exits_at_once is not None:
        raise SystemExit(plan.exits_at_once)
    # As the real one: its end is at once, and a good one.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    journal = directory / standin.RECEIVED if directory is not None else None
    StandIn(plan, journal).run()


if __name__ == "__main__":
    main(sys.argv[1:])
