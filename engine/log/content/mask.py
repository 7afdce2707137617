"""Decides what of a client's and a model's words the event log keeps.

`masked` replaces every letter, digit and mark of every script by one character and keeps white
space and punctuation, so a text keeps its number of code points and the cuts between its deltas.
`full` keeps the words. Names of fields, roles, tools and models stay in both, keys and tokens in
neither.

A worker's codes, ids and names are not contents, but nothing keeps a worker from putting a
sentence where a code belongs. So they stay only where they are spelled as one: `mask_code` and
`mask_name`. `docs/events.md` lists them.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from engine import jsonstrings, redaction
from machines import events, outputs, parse

Content = Literal["off", "masked", "full"]
"""The values of `PROXY_EVENT_LOG`: nothing is kept, all but the words, or the words too."""

STAND_IN: Final = "*"
"""In place of a masked character; neither letter nor digit, so a masked text has none."""

LONG_TEXT: Final = 1 << 16
"""Code points above which a text is masked as a whole, punctuation and all: 40 ns for each that is
not ASCII would hold the loop for most of a second at 16 MiB."""

MEMO_SIZE: Final = 1 << 14
"""Code points whose stand-in is remembered, about 1.5 MiB of them: more than a language uses."""


class _StandIns(dict[int, str]):
    """A table for `str.translate` that asks Unicode once for each code point it meets.

    Beyond ASCII it keeps white space and punctuation only: among the symbols are letters in
    circles and squares, among the format characters whole hidden alphabets, and what is not
    assigned today may be a letter tomorrow.
    """

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        category = unicodedata.category(character)
        kept = "PSZ" if code_point < 128 else "PZ"
        stand_in = character if category[0] in kept or category == "Cc" else STAND_IN
        if len(self) < MEMO_SIZE:
            self[code_point] = stand_in
        return stand_in


_STAND_INS: Final = _StandIns()


def mask_text(text: str) -> str:
    """The text with a stand-in for each of its letters, digits and marks: as many code points.

    Of one that is longer than `LONG_TEXT` every character is replaced.
    """
    return STAND_IN * len(text) if len(text) > LONG_TEXT else text.translate(_STAND_INS)


_ASCII_STAND_INS: Final = bytes(
    ord(_STAND_INS[byte]) if byte < 128 else byte for byte in range(256)
)
_encode: Final = msgspec.json.Encoder().encode
_MEMBERS: Final = msgspec.json.Decoder(dict[str, Any])


def join_masked(texts: list[str], separator: bytes) -> bytes:
    """The masked texts as `jsonstrings.join` has them: most are ASCII, with nothing to escape."""
    encoded = _encode(texts)
    special = b"\\" in encoded or "," in texts or not encoded.isascii()
    if special or (len(encoded) > LONG_TEXT and max(map(len, texts)) > LONG_TEXT):
        return jsonstrings.join([mask_text(text) for text in texts], separator)
    return jsonstrings.between(encoded.translate(_ASCII_STAND_INS), separator)


_CODE: Final = re.compile(
    r"(?:[a-z]{1,24}[0-9]{0,2}|[0-9]{1,4})(?:[][_.-]{1,2}(?:[a-z]{1,24}[0-9]{0,2}|[0-9]{1,4}))*]?",
    re.ASCII | re.IGNORECASE,
)
"""Words and numbers with `_`, `.`, `-` or brackets between them; no key is spelled like that."""

CODE_LENGTH: Final = 64
"""Characters of a code, a reason or the path of a parameter that are kept: the longest that
OpenAI's API is known to have has 41."""

_Fields = dict[type[events.StreamEvent], tuple[str, ...]]

_CODES: Final[_Fields] = {
    events.TurnFinished: ("reason",),
    events.TurnFailed: ("code", "param", "word"),
    events.ItemStarted: ("item",),
    events.ModelRerouted: ("reason",),
    events.RetryScheduled: ("code",),
    events.FallbackTaken: ("code",),
    events.FallbackSkipped: ("code",),
    events.RequestRejected: ("param",),
    events.Terminal: ("code", "finish_words"),
}
"""Fields that hold a worker's codes."""

_NAMES: Final[_Fields] = {
    events.Opened: ("model", "target", "effort"),
    events.ToolCalled: ("call_id", "name"),
    events.ToolCallDropped: ("call_id", "name"),
    events.ToolCallDelta: ("call_id", "name"),
    events.TurnStarted: ("thread_id", "turn_id"),
    events.TurnResumed: ("thread_id",),
    events.ThreadReused: ("thread_id",),
    events.ThreadForked: ("thread_id",),
    events.ThreadChanged: ("thread_id",),
    events.ModelRerouted: ("model",),
    events.FallbackTaken: ("model",),
    events.FallbackSkipped: ("model",),
    events.RequestRejected: ("path", "model"),
    events.MembersDropped: ("names",),
}
"""Fields that hold ids, paths, and the names of models and of the functions that these call."""

_FOREIGN: Final[_Fields] = {
    events.Opened: ("request_id", "model", "target", "effort", "stop"),
    events.TurnFinished: ("reason",),
    events.TurnFailed: ("code", "message", "param", "word", "detail"),
    events.ItemStarted: ("item",),
    events.ModelRerouted: ("model", "reason"),
    events.UpstreamGarbled: ("data",),
    events.MembersDropped: ("names",),
    events.RpcReplied: ("error",),
    events.RetryScheduled: ("code", "detail"),
    events.FallbackTaken: ("model", "code"),
    events.FallbackSkipped: ("model", "code"),
    events.WorkerChanged: ("detail",),
    events.RequestRejected: ("request_id", "message", "param", "path", "client", "model"),
    events.Terminal: ("code", "finish_words"),
}
"""Fields where foreign words stand that are no content: no secret of the server's is kept there.
Nothing that comes once a token is among these events."""

_WORDED: Final = frozenset({*_CODES, *_NAMES, *_FOREIGN})
"""Events with words that are no content; most are none of these."""

_SHAPING: Final = frozenset({"stop", "tools"})
"""Fields of `opened` that the machine decides by."""


def mask_code(code: str) -> str:
    """A worker's code as it is, and masked where it is not spelled as a code."""
    return code if len(code) <= CODE_LENGTH and is_code(code) else mask_text(code)


def is_code(text: str) -> bool:
    """Return whether a text is spelled as a code, however long."""
    return _CODE.fullmatch(text) is not None


def mask_name(name: str) -> str:
    """An id or the name of a function as it is, and masked where it is not spelled as one."""
    return name if SPELLING.fullmatch(name) else mask_text(name)


def mask_decision(decision: outputs.Decision) -> outputs.Decision:
    """Mask the decisions of scanners: the name of a block that is no call is a part of the
    text."""
    return msgspec.structs.replace(
        decision,
        pieces=decision.pieces and tuple(map(_mask_piece, decision.pieces)),
        joined=tuple(outputs.Joined(each.index, mask_name(each.name)) for each in decision.joined),
    )


def _mask_piece(piece: outputs.Piece) -> outputs.Piece:
    word = mask_text(piece.word) if piece.kind == "verbatim" else mask_name(piece.word)
    return outputs.Piece(piece.kind, piece.length, word)


def masker(known: redaction.Redaction) -> Callable[[events.StreamEvent], events.StreamEvent]:
    """Make the function that masks an event for a masked log, and takes the server's own secrets
    out."""

    def masked(event: events.StreamEvent) -> events.StreamEvent:
        kind = type(event)
        if kind in _WORDED:
            event = _mask_words(event, known)
        mask_texts = _TEXTS.get(kind)
        return event if mask_texts is None else mask_texts(event)

    return masked


def _mask_words(event: events.StreamEvent, known: redaction.Redaction) -> events.StreamEvent:
    kind = type(event)
    if kind in _FOREIGN:
        event = _without(event, known)
    masked: dict[str, Any] = {}
    for change, fields in ((mask_code, _CODES), (mask_name, _NAMES)):
        for name in fields.get(kind, ()):
            before = getattr(event, name)
            after = _each(change, before)
            if after != before:  # most are spelled as they should be
                masked[name] = after
    return msgspec.structs.replace(event, **masked) if masked else event


def _each(change: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(word and change(word) for word in value)
    return value and change(value)


def _mask_opened(event: events.Opened) -> events.Opened:
    return msgspec.structs.replace(
        event,
        schema=events.SCHEMA_VERSION,
        content="masked",
        stop=tuple(mask_text(sequence) for sequence in event.stop),
        hash_key=None,
    )


def _mask_field(*names: str) -> Callable[[Any], Any]:
    """Make the function that masks texts of an event, where it has them."""

    def masked(event: Any) -> Any:
        texts = {name: getattr(event, name) for name in names}
        found = {name: mask_text(text) for name, text in texts.items() if text is not None}
        return msgspec.structs.replace(event, **found) if found else event

    return masked


def mask_members(members: msgspec.Raw) -> msgspec.Raw:
    """The names of members, a stand-in for each character of those that are texts, and null for
    the others: how many there are, and what is in them, may be content too."""
    masked = {
        mask_name(name): mask_text(value) if isinstance(value, str) else None
        for name, value in parse.parse_outer(members, _MEMBERS).items()
    }
    return msgspec.Raw(_encode(masked))


def _with_members(mask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that masks the members of an event, besides what another one does."""

    def masked(event: Any) -> Any:
        found = mask(event)
        if found.members == events.NO_MEMBERS:
            return found
        return msgspec.structs.replace(found, members=mask_members(found.members))

    return masked


def _mask_worker(event: events.WorkerChanged) -> events.WorkerChanged:
    return msgspec.structs.replace(event, detail=_mask_detail(event.detail))


_TEXTS: Final[dict[type[events.StreamEvent], Callable[[Any], Any]]] = {
    events.TextDelta: _mask_field("text"),
    events.ReasoningDelta: _mask_field("text"),
    events.RefusalDelta: _mask_field("text"),
    events.ReasoningCompleted: _mask_field("encrypted_content"),
    events.ToolCalled: _mask_field("arguments"),
    events.ToolCallDelta: _with_members(_mask_field("arguments")),
    events.ExtraMembers: _with_members(_mask_field()),
    events.TurnFailed: _with_members(_mask_field("message", "detail")),
    events.RetryScheduled: _mask_field("detail"),
    events.UpstreamGarbled: _mask_field("data"),
    events.RpcReplied: _mask_field("error"),
    events.RequestRejected: _mask_field("message"),
    events.WorkerChanged: _mask_worker,
    events.Opened: _mask_opened,
}
"""The function that masks the texts of an event; an event that is not here has none. Looked up by
type: most events of a short answer have no text, and should pay for no more than that."""


def _mask_detail(detail: dict[str, str | int]) -> dict[str, str | int]:
    return {
        name: mask_text(value) if isinstance(value, str) and name != "version" else value
        for name, value in detail.items()
    }


def keeper(known: redaction.Redaction) -> Callable[[events.StreamEvent], events.StreamEvent]:
    """Make the function that prepares an event for a full log, and takes the server's own secrets
    out.

    A stream that cannot be decided again without one is marked `masked`: so a replay goes by what
    was decided.
    """

    def kept(event: events.StreamEvent) -> events.StreamEvent:
        if type(event) not in _FOREIGN:
            return event
        freed = _without(event, known)
        if not isinstance(freed, events.Opened):
            return freed
        is_whole = all(getattr(freed, name) == getattr(event, name) for name in _SHAPING)
        content = "full" if is_whole else "masked"
        return msgspec.structs.replace(freed, schema=events.SCHEMA_VERSION, content=content)

    return kept


mask_event: Final = masker(redaction.NONE)
"""An event as a masked log keeps it."""

keep_event: Final = keeper(redaction.NONE)
"""An event as a full log keeps it."""


def _without(event: events.StreamEvent, known: redaction.Redaction) -> events.StreamEvent:
    freed = known.hide_fields(event, _FOREIGN.get(type(event), ()))
    if isinstance(event, events.Opened):
        names = known.hide_fields(event.tools, ("names",))
        if known.may_be_in(msgspec.json.encode(event.tools.shapes)):
            names["shapes"] = {}
        if names:
            freed["tools"] = msgspec.structs.replace(event.tools, **names)
        if freed.keys() - {"request_id"}:  # the bytes of the answer cannot be made again
            freed["hash_key"] = None
    return msgspec.structs.replace(event, **freed) if freed else event


SPELLING: Final = re.compile(r"[\w.:/#$+-]{1,128}", re.ASCII)
"""How ids and names are spelled."""
