"""Every kind of line, and the JSON Schema that each line keeps."""

from typing import Any, Final

from server.logschema import serving, storage, tracing, workers
from server.logschema.declared import Event, Shape
from server.logschema.fields import FIELDS

EVENTS: Final = (*serving.EVENTS, *workers.EVENTS, *storage.EVENTS, *tracing.EVENTS)
"""Every kind of line, by subject."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a line, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of Turntape's diagnostics",
        "type": "object",
        "required": ["timestamp", "severity", "component", "event"],
        "properties": {"event": {"enum": [event.name for event in EVENTS]}},
        "oneOf": [_schema_of(event) for event in EVENTS],
    }


def _schema_of(event: Event) -> dict[str, Any]:
    common: dict[str, Any] = {
        "timestamp": {
            "type": "string",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
        },
        "severity": {"enum": [each.value for each in event.severities]},
        "component": {"const": event.component},
        "event": {"const": event.name},
        **{name: {"type": "string"} for name in ("env", "req_id", "worker_state")},
    }
    own = {name: _shape(FIELDS[name].shape) for name in event.all_fields()}
    return {
        "title": event.name,
        "required": list(event.required()),
        "properties": common | own,
        "additionalProperties": False,
    }


def _shape(shape: Shape) -> dict[str, Any]:
    if shape is Shape.TEXTS:
        return {"type": "array", "items": {"type": ["string", "null"]}}
    words = list(shape.value)
    return {"type": words if len(words) > 1 else words[0]}
