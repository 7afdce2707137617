"""The input of a request as items that can be kept, and kept items as a worker's messages.

Nothing is flattened: every item stays an item, in its place, until a worker's messages are made of
them, and these have every role, call and result in the order of the items.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from engine import worker
from server import decoding
from server.errors import ApiError
from server.responses import bodies, inputitems

PREVIOUS: Final = "previous_response_id"
"""The field that earlier items come from."""

_PREFIXES: Final[dict[type, str]] = {
    inputitems.Message: "msg_",
    inputitems.FunctionCall: "fc_",
    inputitems.FunctionCallOutput: "fco_",
    inputitems.CustomCall: "ctc_",
    inputitems.CustomCallOutput: "ctco_",
    inputitems.Reasoning: "rs_",
    inputitems.Compaction: "cmp_",
}
"""How the API's ids of items begin."""

_raw_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def items_of(request: bodies.ResponsesRequest) -> tuple[msgspec.Raw, ...]:
    """The request's own input as the API lists items: each in full, and with an id."""
    return tuple(_kept(item) for item in request.items)


def references(items: Iterable[msgspec.Raw]) -> tuple[str, ...]:
    """The ids of items to look up, each once: what is only referred to, and thoughts whose
    encrypted form the client does not have."""
    found = (_referred(item) for item in _read(items))
    return tuple(dict.fromkeys(item_id for item_id in found if item_id is not None))


def resolve(
    items: Iterable[msgspec.Raw], found: Mapping[str, msgspec.Raw]
) -> tuple[msgspec.Raw, ...]:
    """The items, with those that were found in the places of what refers to them.

    Raises:
        ApiError: 404 for a reference to what was not found.
    """
    resolved = []
    items = tuple(items)
    for index, (raw, item) in enumerate(zip(items, _read(items), strict=True)):
        item_id = _referred(item)
        if isinstance(item, inputitems.ItemReference) and item.id not in found:
            message = f"Item with id '{item.id}' not found."
            raise ApiError("invalid_request", message, f"input[{index}]", status=404)
        resolved.append(raw if item_id is None else found.get(item_id, raw))
    return tuple(resolved)


def messages(
    items: Iterable[msgspec.Raw],
    prologue: Iterable[inputitems.AnyItem] = (),
    earlier: int = 0,
) -> tuple[worker.Message, ...]:
    """What a worker is told: the instructions of this request, then the items, in their order.

    Args:
        items: those of earlier responses, then the request's own; none of them a reference.
        prologue: the instructions, as they were read.
        earlier: how many of the items are of earlier responses.

    Raises:
        ApiError: for a result whose call is not before it.
    """
    told = _Messages()
    for index, item in enumerate(prologue):
        told.add(item, f"instructions[{index}]")
    for index, item in enumerate(_read(items)):
        told.add(item, PREVIOUS if index < earlier else f"input[{index - earlier}]")
    return told.all()


class _Messages:
    """Messages as items make them up, one by one."""

    def __init__(self) -> None:
        self._whole: list[worker.Message] = []
        self._step = worker.Message("assistant")
        self._called: set[str] = set()

    def all(self) -> tuple[worker.Message, ...]:
        """All that was said."""
        self._end_step()
        return tuple(self._whole)

    def add(self, item: inputitems.AnyItem, path: str) -> None:
        """Take one further item, which stands at `path` in the request."""
        match item:
            case inputitems.Message(role="assistant"):
                self._say(_parts(item.content, f"{path}.content"))
            case inputitems.Message(role, content):
                self._tell(worker.Message(role, _parts(content, f"{path}.content")))
            case inputitems.FunctionCall() | inputitems.CustomCall():
                self._call(item)
            case inputitems.FunctionCallOutput(call_id=None):
                parts = _parts(item.output, f"{path}.output")
                self._tell(worker.Message("developer", parts, item.name))
            case inputitems.FunctionCallOutput() | inputitems.CustomCallOutput():
                self._answer(item.call_id or "", _parts(item.output, f"{path}.output"), path)
            case inputitems.Reasoning(encrypted_content=str(content)) if content:
                self._think(item)
            case inputitems.Compaction():
                self._think(item)

    def _think(self, item: inputitems.Reasoning | inputitems.Compaction) -> None:
        if self._step.parts or self._step.calls:
            self._end_step()
        thought = _encrypted(item)
        self._step = msgspec.structs.replace(
            self._step, reasoning=(*self._step.reasoning, thought)
        )

    def _say(self, parts: tuple[worker.Part, ...]) -> None:
        if not parts:
            return
        if self._step.parts or self._step.calls:
            self._end_step()
        self._step = msgspec.structs.replace(self._step, parts=parts)

    def _call(self, item: inputitems.FunctionCall | inputitems.CustomCall) -> None:
        self._called.add(item.call_id)
        if isinstance(item, inputitems.FunctionCall):
            call = worker.Call(item.call_id, item.name, item.arguments)
        else:
            arguments = msgspec.json.encode({"input": item.input}).decode()
            call = worker.Call(item.call_id, item.name, arguments)
        self._step = msgspec.structs.replace(self._step, calls=(*self._step.calls, call))

    def _answer(self, call_id: str, parts: tuple[worker.Part, ...], path: str) -> None:
        if call_id not in self._called:
            message = f"No tool call found for function call output with call_id {call_id}."
            raise ApiError("invalid_request", message, path)
        self._tell(worker.Message("tool", parts, call_id=call_id))

    def _tell(self, message: worker.Message) -> None:
        self._end_step()
        self._whole.append(message)

    def _end_step(self) -> None:
        if self._step != worker.Message("assistant"):
            self._whole.append(self._step)
        self._step = worker.Message("assistant")


def _read(items: Iterable[msgspec.Raw]) -> tuple[inputitems.AnyItem, ...]:
    return tuple(inputitems.read(raw, f"input[{index}]") for index, raw in enumerate(items))


def _referred(item: inputitems.AnyItem) -> str | None:
    match item:
        case inputitems.ItemReference(item_id):
            return item_id
        case inputitems.Reasoning(id=item_id, encrypted_content=None):
            return item_id
    return None


def _encrypted(item: inputitems.Reasoning | inputitems.Compaction) -> msgspec.Raw:
    """What a provider takes back of its own item: the id is part of what it checks."""
    if isinstance(item, inputitems.Reasoning):
        item = inputitems.Reasoning(
            id=item.id, summary=item.summary or [], encrypted_content=item.encrypted_content
        )
    else:
        item = inputitems.Compaction(id=item.id, encrypted_content=item.encrypted_content)
    return _raw(item)


def _parts(content: str | list[inputitems.Part], path: str) -> tuple[worker.Part, ...]:
    if isinstance(content, str):
        return (worker.TextPart(content),) if content else ()
    found = (_part(part, f"{path}[{index}]") for index, part in enumerate(content))
    return tuple(part for part in found if part != worker.TextPart(""))


def _part(part: inputitems.Part, param: str) -> worker.Part:
    match part:
        case inputitems.Refusal(text):
            return worker.RefusalPart(text)
        case inputitems.InputImage(str(url), detail=detail):
            return worker.ImagePart(url, param, detail)
        case inputitems.InputImage():
            return worker.OtherPart("input_image by file_id", param)
        case inputitems.InputFile():
            return worker.OtherPart("input_file", param, _chat_file(part))
        case inputitems.InputAudio():
            return worker.OtherPart("input_audio", param, _raw(part))
        case _:
            return worker.TextPart(part.text)


def _chat_file(part: inputitems.InputFile) -> msgspec.Raw | None:
    """A file as Chat Completions has it, which knows none by its URL."""
    if part.file_url is not None:
        return None
    file = {"filename": part.filename, "file_data": part.file_data, "file_id": part.file_id}
    given = {name: value for name, value in file.items() if value is not None}
    return _raw({"type": "file", "file": given})


def _kept(item: inputitems.AnyItem) -> msgspec.Raw:
    """An item as the API lists it."""
    if isinstance(item, inputitems.ItemReference):
        return _raw(item)
    if isinstance(item, inputitems.Unshown):
        return _identified(item.item)
    item = msgspec.structs.replace(
        item, id=item.id or _new_id(_PREFIXES[type(item)]), status=item.status or "completed"
    )
    match item:
        case inputitems.Message():
            item.content = _listed(item.content, item.role)
        case inputitems.FunctionCallOutput() | inputitems.CustomCallOutput():
            if isinstance(item.output, list):
                item.output = _listed(item.output, "tool")
        case inputitems.Reasoning():
            item.summary = item.summary or []
    return _raw(item)


def _identified(raw: msgspec.Raw) -> msgspec.Raw:
    """An item that is kept as it came, but for the id that it may lack."""
    fields = decoding.decode(_raw_fields, raw)
    if decoding.is_active(fields.get("id", decoding.ABSENT)):
        return raw
    return _raw(fields | {"id": _new_id("item_")})


def _listed(content: str | list[inputitems.Part], role: str) -> list[inputitems.Part]:
    """Content as the API lists it: texts by who said them, images with their detail."""
    if isinstance(content, str):
        content = [inputitems.PlainText(content)]
    spoken = role == "assistant"
    return [_spoken(part) if spoken else _input(part) for part in content]


def _spoken(part: inputitems.Part) -> inputitems.Part:
    match part:
        case inputitems.OutputText(text, annotations):
            return inputitems.OutputText(text, annotations or [])
        case inputitems.InputText(text) | inputitems.PlainText(text):
            return inputitems.OutputText(text, [])
    return part


def _input(part: inputitems.Part) -> inputitems.Part:
    match part:
        case inputitems.OutputText(text) | inputitems.PlainText(text) | inputitems.Refusal(text):
            return inputitems.InputText(text)
        case inputitems.InputImage():
            return msgspec.structs.replace(part, detail=part.detail or "auto")
    return part


def _new_id(prefix: str) -> str:
    return f"{prefix}{secrets.token_hex(12)}"


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
