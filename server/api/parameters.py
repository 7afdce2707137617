"""The numbers by which a request steers the model, as its span tells them."""

from collections.abc import Mapping
from typing import Final

import msgspec

from engine import containment
from server.access.entry import Entry

PARAMETERS: Final = {
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}
"""The attribute of each member of a request; of several for one attribute the first counts."""

WHOLE: Final = frozenset(("gen_ai.request.max_tokens", "gen_ai.request.seed"))
"""Attributes that are whole numbers."""

LONGEST: Final = 32
"""Bytes of a number that is read."""

LARGEST: Final = 2**63 - 1
"""Largest whole number that a span holds (OTLP's `int_value`)."""

_number: Final = msgspec.json.Decoder(int | float)


def of(members: Mapping[str, msgspec.Raw]) -> dict[str, int | float]:
    """Return the parameters of a request; what is no number is left out."""
    found: dict[str, int | float] = {}
    for member, name in PARAMETERS.items():
        raw = members.get(member)
        if raw is None or name in found or memoryview(raw).nbytes > LONGEST:
            continue
        try:
            value = _number.decode(raw)
        except ValueError:
            continue
        if name not in WHOLE:
            found[name] = float(value)
        elif isinstance(value, int) and abs(value) <= LARGEST:
            found[name] = value
    return found


def note(entry: Entry, members: Mapping[str, msgspec.Raw]) -> None:
    """Keep what a request's span tells of it; a span that lacks them costs no answer."""
    try:
        if entry.is_traced:
            entry.asked = of(members)
    except Exception as error:
        where = containment.Boundary.PROJECTION
        containment.report(where, error, req_id=entry.request_id)
