"""The lines about the spans of OpenTelemetry."""

from typing import Final

from server.logschema.declared import INFO, WARNING, Event

EVENTS: Final = (
    Event(
        "tracing_disabled",
        "server",
        WARNING,
        "by",
        "[tracing](tracing.md) is on, and a variable of OpenTelemetry's turns it off",
        "Unset it, or `PROXY_ENABLE_TRACING`.",
    ),
    Event(
        "tracing_protocol_unknown",
        "server",
        WARNING,
        "asked spoken",
        "spans go out by another protocol than the variables ask for",
    ),
    Event(
        "sdk_warning",
        "tracing",
        WARNING,
        "about said",
        "OpenTelemetry complains of one of its variables; values are left out",
    ),
    Event(
        "spans_not_exported",
        "tracing",
        WARNING,
        "spans",
        "the receiver of spans does not take them; told once, until it does",
        "Is `OTEL_EXPORTER_OTLP_ENDPOINT` right, and does somebody listen there?",
    ),
    Event(
        "spans_exported_again",
        "tracing",
        INFO,
        "failed",
        "it takes them again",
    ),
    Event(
        "spans_lost",
        "tracing",
        WARNING,
        "spans",
        "spans had not been taken when the server stopped",
    ),
)
"""Each kind of line, by subject."""
