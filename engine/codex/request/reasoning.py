"""Reasoning items as clients carry them from one answer to the next request.

What a provider encrypts is bound to the id that it gave the item. Clients know the item by
another id, because it has one before the provider's is known; so the provider's goes with what
is encrypted.
"""

from typing import Any, Final

import msgspec

from engine.codex.protocol import notifications

MARK: Final = ":"
"""Stands between the provider's id and what it encrypted; neither has one."""

_fields: Final = msgspec.json.Decoder(dict[str, Any])


def carried(item: notifications.ResponseItem) -> str:
    """Return the form of a provider's reasoning item that a client is given; empty where nothing
    is encrypted."""
    if not item.encrypted_content or item.id is None:
        return item.encrypted_content or ""
    return f"{item.id}{MARK}{item.encrypted_content}"


def summary(item: notifications.ResponseItem) -> tuple[str, ...]:
    """Return the parts of a reasoning item's summary."""
    parts = item.summary if isinstance(item.summary, list) else ()
    return tuple(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def restored(raw: msgspec.Raw) -> msgspec.Raw:
    """A client's reasoning item as its provider made it."""
    item = _fields.decode(raw)
    item_id, mark, content = str(item.get("encrypted_content")).partition(MARK)
    if not mark:
        return raw
    return msgspec.Raw(msgspec.json.encode(item | {"id": item_id, "encrypted_content": content}))
