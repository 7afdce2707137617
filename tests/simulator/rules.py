"""The rules that are checked when a run is over: what clients got, what the log says of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.log import event_log as eventlog, replay
from engine.log.content import digest
from engine.log.read import segments
from engine.log.settings import LogSettings
from machines import events
from machines.stream import machine as stream
from server import renderers
from tests.simulator import answers, client, plan, victims
from tests.simulator.points import Effect

if TYPE_CHECKING:
    from tests.simulator import world

Broken = answers.Broken

WHOLE = ("completed", "truncated")
"""Kinds of a stream whose client is told that its answer is whole."""


def check_noise(data: bytes) -> None:
    """Whatever a client sends, it gets responses."""
    for answer in answers.read(data, ended=True):
        if not 200 <= answer.status < 600:
            raise Broken(f"status {answer.status}")


def check(of: "world.World") -> None:
    """Check everything, and put what is wrong on the run's list."""
    of.wrong += of.backend.wrong
    logs = of.plan.weather.config["event_log"] != "off"
    ends: dict[str, events.Terminal] = {}
    if logs:
        try:
            ends = _read_log(of)
        except Broken as broken:
            of.wrong.append(f"log: {broken}")
    of.ends = dict(ends)
    for number, visitor in of.visitors.items():
        try:
            _check_visit(of, visitor)
        except Broken as broken:
            of.wrong.append(f"step {number}: {broken}")
    if logs:
        try:
            _check_log(of, ends)
        except Broken as broken:
            of.wrong.append(f"log: {broken}")


# Clients.


def _check_visit(of: "world.World", visitor: client.Visitor) -> None:
    if visitor.broken is not None:
        raise Broken(visitor.broken)
    if visitor.waited_in_vain:
        raise Broken(f"no answer within {client.WAIT_S} seconds")
    if visitor.refused and not of.plan.of(plan.Drain):
        raise Broken("the connection was refused")
    served = list(zip(visitor.requests, visitor.answers, strict=False))
    if len(visitor.answers) > len(visitor.requests):
        raise Broken("an answer that nobody asked for")
    for index, (request, answer) in enumerate(served):
        told = answer.headers.get("x-request-id")
        hurt = victims.is_hurt(of, request.request_id)
        if request.sent and told != request.request_id and not hurt:
            raise Broken(f"the answer of {told} came to {request.request_id}")
        heard = visitor.heard(index)
        if hurt:
            victims.check_answer(of, request.request_id, heard, answer.whole)
        else:
            _check_answer(request, heard, answer)
            of.backend.check_answer(of, visitor, index, heard, answer)
    if not any(victims.is_hurt(of, request.request_id) for request in visitor.requests):
        _check_all_served(of, visitor, len(served))


def _check_all_served(of: "world.World", visitor: client.Visitor, served: int) -> None:
    """Who asked and waited, and read what came, has answers."""
    patient = not visitor.left and visitor.step.reading.room is None and not visitor.refused
    asked = sum(request.sent for request in visitor.requests)
    if patient and served < asked and not of.plan.of(plan.Drain):
        raise Broken(f"{served} answers to {asked} requests")
    if patient and any(not answer.whole for answer in visitor.answers):
        raise Broken("an answer was cut off")


def _check_answer(request: client.Request, heard: answers.Heard, answer: answers.Answer) -> None:
    """What is so of every answer, whatever it was made of."""
    if not request.ask.keepalive and heard.comments:
        raise Broken("a comment for a client that takes none")
    if answer.status == 500:
        raise Broken(f"an internal error: {answer.body!r}")
    if not answer.streams and request.ask.stream and answer.status == 200:
        raise Broken("a body where a stream was asked for")
    for choice in heard.choices:
        calls = [call_id for call_id, _, _ in choice.calls]
        if not request.ask.legacy and (len(set(calls)) < len(calls) or "" in calls):
            raise Broken(f"call ids {calls}")
        if answer.whole and not heard.done and choice.finish is not None and request.ask.n == 1:
            raise Broken("a finish without [DONE]")
    if heard.usage is not None:
        total = heard.usage["prompt_tokens"] + heard.usage["completion_tokens"]
        if heard.usage["total_tokens"] != total:
            raise Broken(f"usage does not add up: {heard.usage}")


# The log.


def _read_log(of: "world.World") -> dict[str, events.Terminal]:
    """The last record of each stream, by its request; there is one."""
    directory = of.directory / "log"
    lost = of.server._log.counts.records_lost
    reading = segments.read(directory)
    opened: dict[str, events.Opened] = {}
    ends: dict[str, list[events.Terminal]] = {}
    for record in reading:
        event = record.load()
        if isinstance(event, events.Opened):
            opened[record.stream] = event
        elif isinstance(event, events.Terminal):
            ends.setdefault(record.stream, []).append(event)
    if reading.problems:
        raise Broken(str(reading.problems[0]))
    left_open = [each for each in reading.open if not _may_be_open(of, opened.get(each))]
    if left_open and not lost:
        raise Broken(f"without an end: {left_open}")
    for stream_id, terminals in ends.items():
        if len(terminals) > 1:
            raise Broken(f"{stream_id} ends {len(terminals)} times")
    of.logs_all = not lost
    return {opened[each].request_id: ends[each][0] for each in opened if each in ends}


def _check_log(of: "world.World", ends: dict[str, events.Terminal]) -> None:
    _replay(of.directory / "log")
    _compare(of, ends, not of.logs_all)
    if of.snapshot is not None:
        _check_snapshot(of, of.directory / "left", of.snapshot)


def _may_be_open(of: "world.World", opened: events.Opened | None) -> bool:
    """Whether a stream's log may have been cut by a bug; without a beginning it is a process's."""
    if opened is None:
        return any(point == "process.changed" for point in of.plan.planted)
    return Effect.UNLOGGED in of.planter.hit(opened.request_id)


def _replay(directory: Path) -> None:
    replayed = replay.Replay(renderers.reply)
    replayed.run(segments.read(directory))
    if replayed.divergence is not None:
        rows = "\n".join(f"    {row}" for row in replayed.divergence.rows)
        raise Broken(f"the replay parts at {replayed.divergence.where}:\n{rows}")


def _compare(of: "world.World", ends: dict[str, events.Terminal], lost: bool) -> None:
    """What clients got is what the log says they got."""
    for visitor in of.visitors.values():
        for index, request in enumerate(visitor.requests):
            terminal = ends.pop(request.request_id, None)
            answer = visitor.answers[index] if index < len(visitor.answers) else None
            if victims.is_blurred(of, request.request_id):
                if not lost:
                    victims.check_end(of, request.request_id, terminal)
            elif terminal is None:
                if answer is not None and "x-turntape-stream" in answer.headers and not lost:
                    raise Broken(f"{request.request_id} is not in the log")
            elif answer is not None and answer.whole:
                _compare_whole(of, visitor.heard(index), answer, terminal)
            elif not visitor.left and answer is None and terminal.kind == "completed":
                _check_stalled(visitor)
    if ends:
        raise Broken(f"nobody asked for {list(ends)}")


def _check_stalled(visitor: client.Visitor) -> None:
    if visitor.step.reading.room is None:
        raise Broken(f"step {visitor.number} was answered, and heard nothing")


def _compare_whole(
    of: "world.World", heard: answers.Heard, answer: answers.Answer, terminal: events.Terminal
) -> None:
    hashed = digest.BodyDigest(of.server._context.hash_key)
    hashed.update(answer.body)
    # A failure before the head is a body of its own, which is no data frame.
    frames = terminal.frames if answer.streams or heard.done else heard.frames
    got = (answer.status, len(answer.body), heard.frames, hashed.hexdigest())
    said = (terminal.status, terminal.body_bytes, frames, terminal.body_hash)
    if got != said:
        raise Broken(f"a client got {got}, the log says {said}")
    if heard.done != (terminal.kind in WHOLE):
        raise Broken(f"{terminal.kind}, and the client was told done={heard.done}")
    if heard.error is not None and terminal.code != (heard.error or "invalid_request"):
        raise Broken(f"the client was told {heard.error}, the log {terminal.code}")


# A kill.


def _check_snapshot(of: "world.World", left: Path, received: dict[int, int]) -> None:
    """What a client had when the process was killed is in the log; a start closes every stream."""
    partial = _Partial()
    for record in segments.read(left):
        partial.take(record)
    for number, count in received.items():
        visitor = of.visitors[number]
        assert visitor.wire is not None
        had = answers.read(bytes(visitor.wire.received[:count]), ended=False)
        for request, answer in zip(visitor.requests, had, strict=False):
            if "x-turntape-stream" in answer.headers and answer.streams:
                logged = partial.body(request.request_id)
                if logged is None or victims.is_blurred(of, request.request_id):
                    continue
                if not logged.startswith(answer.body):
                    raise Broken(f"{request.request_id} had bytes that a kill would lose")
    settings = LogSettings(left, fsync="none")
    recovered = eventlog.EventLog(settings, of.loop.wall_us)
    found = recovered.open()
    recovered.close()
    after = segments.read(left)
    ends = sum(record.event in ("terminal", "request_rejected") for record in after)
    if after.open or after.problems:
        raise Broken(f"after a kill: {list(after.open)} {after.problems}")
    if ends != len(partial.streams):
        raise Broken(f"{ends} ends of {len(partial.streams)} streams after a kill: {found}")


class _Partial:
    """Folds the records of a log that was left in the middle."""

    def __init__(self) -> None:
        self.streams: dict[str, Any] = {}
        self._bodies: dict[str, bytes] = {}

    def body(self, request_id: str) -> bytes | None:
        """The bytes that a request's records lead to; None where they hold no content."""
        return self._bodies.get(request_id)

    def take(self, record: segments.Record) -> None:
        event = record.load()
        if isinstance(event, events.Opened):
            self.streams[record.stream] = (event, stream.Stream(event), renderers.reply(event))
            if event.content == "full":
                self._bodies[event.request_id] = b""
            return
        if record.stream not in self.streams:
            self.streams[record.stream] = None
        folded = self.streams[record.stream]
        if folded is None or isinstance(event, events.Terminal | events.WorkerChanged):
            return
        opened, machine, renderer = folded
        if opened.content == "full":
            for output in machine.step(event).outputs:
                self._bodies[opened.request_id] += renderer.render(output, record.t)
