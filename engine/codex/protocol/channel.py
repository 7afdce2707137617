"""JSON-RPC with one worker process: requests out, replies matched, the rest handed on.

Requests keep the order they were made in. At most `IN_FLIGHT` are unanswered at once: the
app-server's queue holds 128, refuses what is beyond it, and from 500 on answers some never.
"""

import asyncio
import collections
import functools
import time
from collections.abc import Callable, Container
from typing import Any, Final, Protocol

import msgspec
import structlog

from engine import containment, lateness, rpcfigures
from engine.codex.protocol import appserver, largelines
from engine.containment import Boundary
from machines import errors
from machines.wire import jsonrpc

IN_FLIGHT: Final = 64
"""Unanswered requests at most; `docs/codex.md` has the measurement."""

OVERLOADED: Final = -32001
"""The app-server's error code for a full queue."""

METHOD_NOT_FOUND: Final = -32601
"""JSON-RPC's own code: what a worker's request is answered with, whatever it asks."""

TEXT_DELTA_LINE: Final = b'{"method":"item/agentMessage/delta",'
"""How the app-server begins the line of a token: it is decoded in one pass, not in two."""

_log = structlog.get_logger(component="channel")


class RpcError(Exception):
    """Raised for a request the worker refused."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class UnreadableReply(RpcError):
    """Raised for a reply that is none of its method."""


class RpcTimedOut(Exception):
    """Raised for a request the worker left unanswered: it drops what it cannot read."""


class ChannelClosed(Exception):
    """Raised for a request to a process that has gone."""


class Call(msgspec.Struct, eq=False):
    """One request: its line, where its reply goes, and the deadline it has.

    Attributes:
        sent: when it was, by `time.perf_counter`.
    """

    rpc_id: int
    method: str
    line: bytes
    reply: asyncio.Future[Any]
    deadline: lateness.Deadline | None = None
    sent: float = 0.0

    def unawaited(self) -> asyncio.Future[Any]:
        """Have a bug of ours that is met in the reply reported, since nobody waits for it."""
        self.reply.add_done_callback(self._report_bug)
        return self.reply

    def _report_bug(self, reply: asyncio.Future[Any]) -> None:
        error = None if reply.cancelled() else reply.exception()
        if not isinstance(error, RpcError | RpcTimedOut | ChannelClosed | None):
            containment.report(Boundary.CALLBACK, error, method=self.method)


_FAILURES: Final[dict[type, rpcfigures.RpcFailure]] = {
    RpcError: "refused",
    RpcTimedOut: "timed_out",
    ChannelClosed: "process_lost",
}


class Listener(Protocol):
    """Takes what the worker sends by itself, and raises DecodeError for what cannot be read.

    Attributes:
        turns: those that run, by thread.
    """

    @property
    def turns(self) -> Container[str]:
        """The turns that run, by thread."""

    def text_delta(self, line: bytes) -> None:
        """Take a whole line that begins as `TEXT_DELTA_LINE` does."""

    def notification(self, method: str, raw: msgspec.Raw) -> None:
        """Take any other notification."""

    def request(self, rpc_id: jsonrpc.Id, method: str, raw: msgspec.Raw) -> bool:
        """Take a request; False where it shall be refused."""

    def unreadable(self, line: bytes) -> None:
        """Take the loss of a line."""

    def broke(self, line: bytes, error: Exception) -> None:
        """Take the loss of a line that a bug of ours was met in; never raises."""

    def too_large(self, thread: str) -> None:
        """Take the loss of a line of a thread, which was over the limit."""


class Channel:
    """The connection to one process.

    Args:
        write: takes a whole line for the worker's input.
        timeout: seconds a reply may take.
        figures: told of every reply; None: nobody is.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        listener: Listener,
        timeout: float,
        figures: rpcfigures.RpcFigures | None = None,
    ) -> None:
        self._figures = figures or rpcfigures.RpcFigures()
        self._write: Callable[[bytes], None] | None = write
        self._listener = listener
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._lines = jsonrpc.LineSplitter()
        self._last_id = 0
        self._waiting: collections.deque[Call] = collections.deque()
        self._pending: dict[int, Call] = {}
        self._unfinished = 0
        self._large = largelines.LargeLines(
            lambda line: self._take_lines([line]), listener.turns, listener.too_large
        )

    def feed(self, data: bytes) -> None:
        """Take bytes of the worker's output; drop them once the connection is closed.

        A line that cannot be read, or that breaks something, costs no other line.

        Raises:
            TooLarge: a line is longer than is read at all, and all that follows is lost.
        """
        if self._write is None:
            return
        lines = self._lines.feed(data)
        longest = self._unfinished + len(data)
        end = data.rfind(b"\n")
        self._unfinished = longest if end < 0 else len(data) - end - 1
        if longest > largelines.LARGE_BYTES or self._large.waiting:
            lines = self._large.divert(lines)
        self._take_lines(lines)

    def _take_lines(self, lines: list[bytes]) -> None:
        text_delta = self._listener.text_delta
        for line in lines:
            try:
                if line.startswith(TEXT_DELTA_LINE):
                    text_delta(line)
                else:
                    self._take(jsonrpc.decode(line))
            except errors.DecodeError:
                self._listener.unreadable(line)
            except Exception as error:
                self._listener.broke(line, error)

    def send(
        self,
        method: str,
        params: msgspec.Struct,
        timeout: float | None = None,
        levels: int | None = None,
    ) -> Call:
        """Make a request; `await call.reply` for its result.

        Args:
            timeout: seconds its reply may take, where that is not the channel's own.
            levels: as `jsonrpc.encode_request` has it.

        The reply raises RpcError, RpcTimedOut or ChannelClosed.

        Raises:
            TooLarge: no line can hold these params; nothing was sent.
        """
        self._last_id += 1
        line = jsonrpc.encode_request(self._last_id, method, params, levels)
        call = Call(self._last_id, method, line, self._loop.create_future())
        # A reply that nobody waits for any more must not be reported as never retrieved.
        call.reply.add_done_callback(_retrieved)
        if self._write is None:
            self._conclude(call, ChannelClosed())
            return call
        seconds = self._timeout if timeout is None else timeout
        overdue = functools.partial(self._overdue, call)
        call.deadline = lateness.Deadline(self._loop, seconds, overdue)
        self._waiting.append(call)
        self._send_waiting()
        return call

    def notify(self, method: str) -> None:
        """Send a notification without params."""
        self._put(jsonrpc.encode_notification(method, None))

    def answer(self, rpc_id: jsonrpc.Id, result: msgspec.Struct) -> None:
        """Reply to a request of the worker's."""
        self._put(jsonrpc.encode_result(rpc_id, result))

    @property
    def closed(self) -> bool:
        """Whether the process has gone."""
        return self._write is None

    def finish_lines(self) -> None:
        """Take every line that waits: no more bytes will come."""
        self._large.finish()

    def close(self) -> None:
        """Refuse all requests, those that wait too: the process has gone."""
        self._write = None
        calls = [*self._pending.values(), *self._waiting]
        self._pending.clear()
        self._waiting.clear()
        closed = ChannelClosed()
        for call in calls:
            self._conclude(call, closed)

    def _take(self, message: jsonrpc.Message) -> None:
        match message:
            case jsonrpc.Notification(method, params):
                self._listener.notification(method, params)
            case jsonrpc.Request(rpc_id, method, params):
                if not self._listener.request(rpc_id, method, params):
                    # With approvals off none should come; a worker left waiting hangs.
                    _log.warning("worker_request_refused", method=method)
                    error = "This client does not answer such requests."
                    self._put(jsonrpc.encode_error(rpc_id, METHOD_NOT_FOUND, error))
            case jsonrpc.Response(rpc_id, result):
                self._replied(rpc_id, result)
            case jsonrpc.ErrorResponse(refused_id, code, text):
                self._replied(refused_id, RpcError(code, text))

    def _replied(self, rpc_id: int | str | None, answer: msgspec.Raw | Exception) -> None:
        call = self._pending.pop(rpc_id, None) if isinstance(rpc_id, int) else None
        if call is None:
            _log.warning("reply_to_nothing", rpc_id=rpc_id)
            return
        if not isinstance(answer, Exception):
            try:
                answer = jsonrpc.decode_body(answer, _result_decoder(call.method))
            except errors.DecodeError as error:
                answer = UnreadableReply(0, f"{call.method}: {error}")
        self._conclude(call, answer)
        self._send_waiting()

    def _overdue(self, call: Call) -> None:
        """Time a request out; a bug of ours that is met then goes to whoever waits."""
        try:
            self._timed_out(call)
        except Exception as error:
            self._forget(call)
            self._failed(call, error)

    def _timed_out(self, call: Call) -> None:
        self._forget(call)
        self._conclude(call, RpcTimedOut(call.method))
        self._send_waiting()

    def _forget(self, call: Call) -> None:
        self._pending.pop(call.rpc_id, None)
        if call in self._waiting:
            self._waiting.remove(call)

    def _conclude(self, call: Call, answer: object) -> None:
        """Resolve a call. A bug of ours goes to whoever waits, who knows whose turn it hit."""
        if call.deadline is not None:
            call.deadline.cancel()
        try:
            self._resolve(call, answer)
            self._count(call, answer)
        except Exception as error:
            self._failed(call, error)

    def _count(self, call: Call, answer: object) -> None:
        if not isinstance(answer, RpcTimedOut | ChannelClosed):
            self._figures.replied(call.method, time.perf_counter() - call.sent)
        if isinstance(answer, Exception):
            self._figures.failed(call.method, _FAILURES.get(type(answer), "unreadable"))

    def _failed(self, call: Call, error: Exception) -> None:
        if call.reply.done():
            containment.report(Boundary.CALLBACK, error, method=call.method)
        else:
            call.reply.set_exception(error)

    def _resolve(self, call: Call, answer: object) -> None:
        if call.reply.done():
            return
        if isinstance(answer, Exception):
            call.reply.set_exception(answer)
        else:
            call.reply.set_result(answer)

    def _send_waiting(self) -> None:
        while self._waiting and len(self._pending) < IN_FLIGHT:
            call = self._waiting.popleft()
            self._pending[call.rpc_id] = call
            call.sent = time.perf_counter()  # a loop's time is of its round, and coarse
            self._put(call.line)

    def _put(self, line: bytes) -> None:
        if self._write is not None:
            self._write(line)


@functools.cache  # a decoder takes longer to make than most results to decode
def _result_decoder(method: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(appserver.METHODS[method][1])


def _retrieved(reply: asyncio.Future[Any]) -> None:
    if not reply.cancelled():
        reply.exception()
