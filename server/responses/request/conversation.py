"""The input of a request as items that can be kept, and kept items as a worker's messages.

Nothing is flattened: every item stays an item, in its place, until a worker's messages are made of
them, and these have every role, call and result in the order of the items. A conversation may have
tens of thousands of items, so each is worked on once, and what there is to do for one is a step.
"""

import itertools
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from engine import slices, worker
from engine.store import store as responsestore
from server.http import decoding
from server.http.errors import ApiError
from server.responses.request import earliercalls, input_items, offered as offers

PREVIOUS: Final = "previous_response_id"
"""The field that names the response which earlier items come from."""

NOTHING_OFFERED: Final = offers.OfferedTools()
"""The tools of a request that declares none."""

Items = Sequence[input_items.AnyItem]

_PREFIXES: Final[dict[type, str]] = {
    input_items.Message: "msg_",
    input_items.FunctionCall: "fc_",
    input_items.FunctionCallOutput: "fco_",
    input_items.CustomCall: "ctc_",
    input_items.CustomCallOutput: "ctco_",
    input_items.Reasoning: "rs_",
    input_items.Compaction: "cmp_",
    input_items.AdditionalTools: "at_",
}
"""The prefix of the API's id of each kind of item."""


_identified: Final = msgspec.json.Decoder(responsestore.Identified)
_raw_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Listed(msgspec.Struct, frozen=True, gc=False):
    """An item as the API lists it, in full and with an id: read, and as JSON."""

    item: input_items.AnyItem
    raw: msgspec.Raw


def listed(items: Items) -> slices.Steps[list[Listed]]:
    """Return the items of a request as the API lists them.

    Raises:
        ApiError: for an id that is none.
    """
    found = []
    for index, item in enumerate(items):
        found.append(_listed(item, f"input[{index}]"))
        yield
    return found


def references(items: Items) -> slices.Steps[tuple[str, ...]]:
    """Return the ids of items to look up, each once: of items that are only referred to, and of
    reasoning whose encrypted form the client does not have."""
    found: dict[str, None] = {}
    for item in items:
        item_id = _referred(item)
        if item_id is not None:
            found[item_id] = None
        yield
    return tuple(found)


def resolve(
    items: Iterable[Listed], found: Mapping[str, msgspec.Raw], limit: int
) -> slices.Steps[list[Listed]]:
    """Replace each reference by the item that was found for it.

    Raises:
        ApiError: 404 for a reference to what was not found.
    """
    resolved: list[Listed] = []
    for index, each in enumerate(items):
        path = f"input[{index}]"
        item_id = _referred(each.item)
        if item_id is not None and item_id in found:
            raw = found[item_id]
            each = Listed((yield from input_items.read(raw, path, limit)), raw)
        elif isinstance(each.item, input_items.ItemReference):
            message = f"Item with id '{each.item.id[:100]}' not found."
            raise ApiError("invalid_request", message, path, status=404)
        resolved.append(each)
        yield
    return resolved


def divided(
    items: Iterable[Listed],
) -> slices.Steps[tuple[list[input_items.AnyItem], tuple[msgspec.Raw, ...]]]:
    """Return the items as they were read, and as JSON."""
    read_items, raws = [], []
    for each in items:
        read_items.append(each.item)
        raws.append(each.raw)
        yield
    return read_items, tuple(raws)


def read(kept: Iterable[msgspec.Raw], limit: int) -> slices.Steps[list[input_items.AnyItem]]:
    """Read the kept items of earlier responses.

    Raises:
        ApiError: for one that cannot be read again.
    """
    found = []
    for raw in kept:
        found.append((yield from input_items.read(raw, PREVIOUS, limit)))
        yield
    return found


def messages(
    items: Items,
    prologue: Items = (),
    earlier: Items = (),
    offered: offers.OfferedTools = NOTHING_OFFERED,
) -> slices.Steps[tuple[worker.Message, ...]]:
    """Make a worker's messages: the instructions of this request, then the items, in their order.

    Args:
        items: the request's own; none of them a reference.
        prologue: the instructions.
        earlier: the items of earlier responses, which come before the request's own.
        offered: the tools of the request, by whose names calls are told.

    Raises:
        ApiError: for a result whose call is not before it.
    """
    told = _Messages()
    placed = itertools.chain(
        ((item, f"instructions[{index}]") for index, item in enumerate(prologue)),
        ((item, PREVIOUS) for item in earlier),
        ((item, f"input[{index}]") for index, item in enumerate(items)),
    )
    for item, path in placed:
        if isinstance(item, input_items.FunctionCall | input_items.CustomCall):
            told.call((yield from earliercalls.read(item, offered)))
        else:
            told.add(item, path)
        yield
    return told.all()


class _Step:
    """The thoughts, text and calls of one step of the model: one message."""

    def __init__(self) -> None:
        self.thoughts: list[msgspec.Raw] = []
        self.words: list[str] = []
        self.parts: tuple[worker.Part, ...] = ()
        self.phase: str | None = None
        self.calls: list[worker.Call] = []

    @property
    def speaks(self) -> bool:
        """Whether the step holds more than thoughts."""
        return bool(self.parts or self.calls)

    def message(self) -> worker.Message:
        """Return the step as one message."""
        return worker.Message(
            "assistant",
            self.parts,
            calls=tuple(self.calls),
            reasoning=tuple(self.thoughts),
            thought=worker.PARAGRAPH.join(self.words),
            phase=self.phase,
        )


class _Messages:
    """Collects the messages that items make up, one by one."""

    def __init__(self) -> None:
        self._whole: list[worker.Message] = []
        self._called: set[str] = set()
        self._step = _Step()

    def all(self) -> tuple[worker.Message, ...]:
        """Return all messages."""
        self._end_step()
        return tuple(self._whole)

    def call(self, call: worker.Call) -> None:
        """Add a call that the model made."""
        self._called.add(call.call_id)
        self._step.calls.append(call)

    def add(self, item: input_items.AnyItem, path: str) -> None:
        """Add one item that is no call, and stands at `path` in the request."""
        match item:
            case input_items.Message(role="assistant"):
                self._say(_parts(item.content, f"{path}.content"), item.phase)
            case input_items.Message(role, content):
                self._tell(worker.Message(role, _parts(content, f"{path}.content")))
            case input_items.FunctionCallOutput(call_id=None):
                parts = _parts(item.output, f"{path}.output")
                self._tell(worker.Message("developer", parts, item.name))
            case input_items.FunctionCallOutput() | input_items.CustomCallOutput():
                self._answer(item.call_id or "", _parts(item.output, f"{path}.output"), path)
            case input_items.Reasoning() | input_items.Compaction():
                self._think(item)

    def _think(self, item: input_items.Reasoning | input_items.Compaction) -> None:
        words = _words(item) if isinstance(item, input_items.Reasoning) else ""
        if not (item.encrypted_content or words):
            return
        if self._step.speaks:
            self._end_step()
        if item.encrypted_content:
            self._step.thoughts.append(_encrypted(item))
        if words:
            self._step.words.append(words)

    def _say(self, parts: tuple[worker.Part, ...], phase: str | None) -> None:
        if not parts:
            return
        if self._step.speaks:
            self._end_step()
        self._step.parts, self._step.phase = parts, phase

    def _answer(self, call_id: str, parts: tuple[worker.Part, ...], path: str) -> None:
        if call_id not in self._called:
            message = f"No tool call found for function call output with call_id {call_id[:100]}."
            raise ApiError("invalid_request", message, path)
        self._tell(worker.Message("tool", parts, call_id=call_id))

    def _tell(self, message: worker.Message) -> None:
        self._end_step()
        self._whole.append(message)

    def _end_step(self) -> None:
        if self._step.speaks or self._step.thoughts:
            self._whole.append(self._step.message())
        self._step = _Step()


def _referred(item: input_items.AnyItem) -> str | None:
    match item:
        case input_items.ItemReference(item_id):
            return item_id
        case input_items.Reasoning(id=item_id, encrypted_content=None):
            return item_id
    return None


def _words(item: input_items.Reasoning) -> str:
    """Return what a reasoning item says in words: the thinking itself, or else its summary."""
    parts = item.content or item.summary or ()
    return worker.PARAGRAPH.join(part.text for part in parts if part.text)


def _encrypted(item: input_items.Reasoning | input_items.Compaction) -> msgspec.Raw:
    """Return the item that a provider takes back as its own: the id is part of what it checks."""
    if isinstance(item, input_items.Reasoning):
        item = input_items.Reasoning(
            id=item.id, summary=item.summary or [], encrypted_content=item.encrypted_content
        )
    else:
        item = input_items.Compaction(id=item.id, encrypted_content=item.encrypted_content)
    return _raw(item)


def _parts(content: str | list[input_items.Part], path: str) -> tuple[worker.Part, ...]:
    if isinstance(content, str):
        return (worker.TextPart(content),) if content else ()
    found = (_part(part, f"{path}[{index}]") for index, part in enumerate(content))
    return tuple(part for part in found if part != worker.TextPart(""))


def _part(part: input_items.Part, param: str) -> worker.Part:
    match part:
        case input_items.Refusal(text):
            return worker.RefusalPart(text)
        case input_items.InputImage(str(url), detail=detail):
            return worker.ImagePart(url, param, detail)
        case input_items.InputImage():
            return worker.OtherPart("input_image by file_id", param)
        case input_items.InputFile():
            return worker.OtherPart("input_file", param, _chat_file(part))
        case input_items.InputAudio():
            return worker.OtherPart("input_audio", param, _raw(part))
        case _:
            return worker.TextPart(part.text)


def _chat_file(part: input_items.InputFile) -> msgspec.Raw | None:
    """Return a file as Chat Completions has it, which knows none by its URL."""
    if part.file_url is not None:
        return None
    file = {"filename": part.filename, "file_data": part.file_data, "file_id": part.file_id}
    given = {name: value for name, value in file.items() if value is not None}
    return _raw({"type": "file", "file": given})


def _listed(item: input_items.AnyItem, path: str) -> Listed:
    """Return an item as the API lists it."""
    if isinstance(item, input_items.ItemReference):
        return Listed(item, _raw(item))
    if isinstance(item, input_items.Unshown):
        return Listed(item, _with_id(item.item, path))
    if isinstance(item, input_items.AdditionalTools):
        item_id = item.id or _new_id(_PREFIXES[type(item)])
        item = msgspec.structs.replace(item, id=item_id, role=item.role or "developer")
        return Listed(item, _raw(item))
    item = msgspec.structs.replace(
        item, id=item.id or _new_id(_PREFIXES[type(item)]), status=item.status or "completed"
    )
    match item:
        case input_items.Message():
            item.content = _listed_parts(item.content, item.role)
        case input_items.FunctionCallOutput() | input_items.CustomCallOutput():
            if isinstance(item.output, list):
                item.output = _listed_parts(item.output, "tool")
        case input_items.Reasoning():
            item.summary = item.summary or []
    return Listed(item, _raw(item))


def _with_id(raw: msgspec.Raw, path: str) -> msgspec.Raw:
    """Return an item that is kept as it came, with an id where it lacks one."""
    fields = decoding.decode_outer(_raw_fields, raw)
    item_id = fields.get("id", decoding.ABSENT)
    if not decoding.is_active(item_id):
        return _raw(fields | {"id": _new_id("item_")})
    decoding.decode(_identified, _raw({"id": item_id}), path)
    return raw


def _listed_parts(content: str | list[input_items.Part], role: str) -> list[input_items.Part]:
    """Return content as the API lists it: texts by their author, images with their detail."""
    if isinstance(content, str):
        content = [input_items.PlainText(content)]
    spoken = role == "assistant"
    return [_spoken(part) if spoken else _input(part) for part in content]


def _spoken(part: input_items.Part) -> input_items.Part:
    match part:
        case input_items.OutputText(text, annotations):
            return input_items.OutputText(text, annotations or [])
        case input_items.InputText(text) | input_items.PlainText(text):
            return input_items.OutputText(text, [])
    return part


def _input(part: input_items.Part) -> input_items.Part:
    match part:
        case (
            input_items.OutputText(text) | input_items.PlainText(text) | input_items.Refusal(text)
        ):
            return input_items.InputText(text)
        case input_items.InputImage():
            return msgspec.structs.replace(part, detail=part.detail or "auto")
    return part


def _new_id(prefix: str) -> str:
    return f"{prefix}{secrets.token_hex(12)}"


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
