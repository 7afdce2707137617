"""Every method of the official Python SDK, and what it does here: the table of `docs/api.md`."""

import collections
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

from openai import OpenAI
from openai._resource import SyncAPIResource

OFFERED: Final = {
    "chat.completions.create": "answers",
    "chat.completions.parse": "answers",
    "chat.completions.stream": "answers",
    "chat.completions.list": "405: nothing is stored of a chat",
    "completions.create": "[answers](#legacy-completions)",
    "models.list": "the names that the key may ask for",
    "models.retrieve": "one of them",
    "models.delete": "405: a model is the operator's",
    "responses.create": "answers",
    "responses.parse": "answers",
    "responses.stream": "answers",
    "responses.connect": "[a WebSocket](responses.md#over-a-websocket)",
    "responses.retrieve": "what was kept",
    "responses.delete": "deletes what was kept",
    "responses.cancel": "stops a response that is made in the background",
    "responses.input_items.list": "the items that it was asked with",
    "responses.input_tokens.count": "an estimate: UTF-8 bytes over 4, as `x-turntape-usage` says",
    "responses.compact": "400 `unsupported_operation`: no worker gives a summary away",
}
"""What is done by the methods that ask for something that is here."""

LOCAL: Final = ("webhooks.unwrap", "webhooks.verify_signature")
"""Methods that ask no server."""


def methods(client: OpenAI) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Each method of every resource, by its dotted name."""
    for name in sorted(dir(type(client))):
        if not name.startswith("_") and not name.startswith("with_"):
            found = getattr(client, name)
            if isinstance(found, SyncAPIResource):
                yield from _below(found, name)


def _below(resource: SyncAPIResource, path: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in sorted(dir(type(resource))):
        if name.startswith(("_", "with_")):
            continue
        found = getattr(resource, name)
        if isinstance(found, SyncAPIResource):
            yield from _below(found, f"{path}.{name}")
        elif inspect.ismethod(found):
            yield f"{path}.{name}", found


def alias(name: str) -> str:
    """Return the method that one of `beta` is, where it asks for what is offered."""
    plain = name.removeprefix("beta.")
    return plain if plain.startswith(("responses.", "chat.completions.")) else name


def table() -> str:
    """The table: what is here, method by method; the rest by resource."""
    with OpenAI(api_key="unused", admin_api_key="unused") as client:
        names = [name for name, _ in methods(client)]
    lines = ["| method | here |", "| --- | --- |"]
    lines += [f"| `{name}` | {OFFERED[name]} |" for name in names if name in OFFERED]
    lines += [f"| `{name}` | asks no server |" for name in names if name in LOCAL]
    lines += [f"| `beta.{name}` | as `{name}` |" for name in ("chat.completions", "responses")]
    others = collections.defaultdict(list)
    for name in names:
        if alias(name) not in OFFERED and name not in LOCAL:
            resource, _, method = name.rpartition(".")
            others[resource].append(method)
    lines += [
        f"| `{resource}`: {', '.join(f'`{each}`' for each in found)} | 404 |"
        for resource, found in sorted(others.items())
    ]
    return "\n".join(lines)
