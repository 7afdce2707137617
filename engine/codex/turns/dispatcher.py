"""Finds the turn that a line of the app-server is about, and contains what fails in it.

`Dispatcher.text_delta` takes the line of a token; `docs/token-path.md` has the whole trip. Lines
are told apart by `threadId`: a turn has a thread of its own, and its notifications may come before
the reply to the request that began it. One read holds lines of many turns: what one of them cannot
take ends that turn, and the others never know.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from engine import containment, failures
from engine.codex.protocol import appserver, largelines, notifications
from engine.codex.turns.reader import TurnReader
from engine.containment import Boundary
from machines import errors, parse
from machines.wire import jsonrpc

_log = structlog.get_logger(component="codex")


class _TextDeltaLine(msgspec.Struct, gc=False):
    params: notifications.ItemDelta


_READS: Final[dict[str, Callable[[TurnReader, Any], None]]] = {
    "item/reasoning/summaryTextDelta": lambda turn, its: turn.reasoning_delta(
        f"{its.item_id}/summary/{its.summary_index}", its.delta
    ),
    "item/reasoning/textDelta": lambda turn, its: turn.reasoning_delta(
        f"{its.item_id}/text/{its.content_index}", its.delta, "text"
    ),
    "item/agentMessage/delta": lambda turn, its: turn.text_delta(its.item_id, its.delta),
    "item/started": lambda turn, its: turn.item_started(its.item),
    "item/completed": lambda turn, its: turn.item_completed(its.item),
    "rawResponseItem/completed": lambda turn, its: turn.raw_item(its),
    "rawResponse/completed": lambda turn, its: turn.response_completed(its),
    "thread/tokenUsage/updated": lambda turn, its: turn.tokens_counted(its.token_usage.total),
    "turn/completed": lambda turn, its: turn.completed(its.turn),
    "model/rerouted": lambda turn, its: turn.rerouted(its.to_model, its.reason),
}
"""The method of a turn for each notification; all others are of no use to it."""

_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    method: msgspec.json.Decoder(params) for method, params in notifications.NOTIFICATIONS.items()
}
_text_delta_line: Final = msgspec.json.Decoder(_TextDeltaLine)
_tool_call: Final = msgspec.json.Decoder(appserver.ToolCallParams)


class Dispatcher:
    """The turns of one process.

    Args:
        on_other: takes the params of a notification that is about no turn.

    Attributes:
        turns: who reads for each thread.
        idle: threads without a turn; each is told if the process goes.
    """

    def __init__(self, on_other: Callable[[Any], None]) -> None:
        self.turns: dict[str, TurnReader] = {}
        self.idle: dict[str, Callable[[], None]] = {}
        self._on_other = on_other

    def text_delta(self, line: bytes) -> None:
        """Take the whole line of a token: where the hot path enters.

        Raises:
            ParseError: it is not such a line.
        """
        try:
            delta = _text_delta_line.decode(line).params
        except Exception:  # parsed once more, slowly, for a ParseError that says what is wrong
            delta = parse.parse(line, _text_delta_line).params
        turn = self.turns.get(delta.thread_id)
        if turn is None or delta.turn_id in turn.past:
            return
        try:
            turn.text_delta(delta.item_id, delta.delta)
        except Exception as error:
            _break_off(turn, error)

    def notification(self, method: str, raw: msgspec.Raw) -> None:
        """Take one notification.

        Raises:
            ParseError: its params are not of its method.
        """
        decoder = _DECODERS.get(method)
        if decoder is None:
            return
        try:
            params = parse.parse(raw, decoder)
        except errors.DecodeError:
            if method not in notifications.ASIDE:
                raise
            _log.warning("notification_unreadable", method=method)
            return
        turn = self.turns.get(getattr(params, "thread_id", None) or "")
        if turn is None:
            self._on_other(params)
            return
        read = _READS.get(method)
        if read is None or _turn_id(params) in turn.past:
            return
        try:
            read(turn, params)
        except Exception as error:
            _break_off(turn, error)

    def request(self, rpc_id: jsonrpc.Id, method: str, raw: msgspec.Raw) -> bool:
        """Take one request of the worker's; False where it shall be refused.

        Raises:
            ParseError: its params are not of its method.
        """
        if method not in appserver.SERVER_REQUESTS:
            return False
        params = parse.parse(raw, _tool_call)
        turn = self.turns.get(params.thread_id)
        if turn is None or turn.tools is None:
            return False
        try:
            turn.result_requested(rpc_id, params.call_id)
        except Exception as error:
            _break_off(turn, error)
        return True

    def unreadable(self, line: bytes) -> None:
        """Take the loss of a line. A turn that it was of has a hole and cannot end well."""
        thread = largelines.thread_of(line)
        turn = self.turns.get(thread or "")
        _log.warning("undecodable_line", length=len(line), thread=thread)
        if turn is not None:
            _contained(turn, lambda its: its.unreadable(line))

    def broke(self, line: bytes, error: Exception) -> None:
        """Take a bug of ours that was met in a line. A turn that the line was of ends with it."""
        turn = self.turns.get(largelines.thread_of(line) or "")
        if turn is not None:
            _break_off(turn, error)
        else:
            containment.report(Boundary.WORKER_LINE, error, length=len(line))

    def too_large(self, thread: str) -> None:
        """Fail the turn of a line that is longer than is read at all."""
        _contained(self.turns[thread], lambda its: its.fail(failures.TOO_LARGE))

    def lost(self) -> None:
        """End every turn: the process has gone."""
        readers, idle = list(self.turns.values()), list(self.idle.values())
        self.turns.clear()
        self.idle.clear()
        for reader in readers:
            _contained(reader, lambda its: its.lost())
        containment.each(Boundary.PROCESS, lambda told: told(), idle)


def _turn_id(params: Any) -> str:
    """Return the id of the turn that a notification is about."""
    ends = isinstance(params, notifications.TurnNotification)
    turn_id: str = params.turn.id if ends else params.turn_id
    return turn_id


def _contained(turn: TurnReader, action: Callable[[TurnReader], None]) -> None:
    """Do something with a turn; a bug of ours that is met there ends this turn alone."""
    try:
        action(turn)
    except Exception as error:
        _break_off(turn, error)


def _break_off(turn: TurnReader, error: Exception) -> None:
    """End a turn that a bug of ours was met in."""
    containment.report(Boundary.TURN, error, **turn.ids)
    containment.each(Boundary.TURN, TurnReader.break_off, (turn,))
