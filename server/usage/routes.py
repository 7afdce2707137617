"""The route that a request came by, as its summary tells."""

from typing import Final

from engine.log.summary import rows
from machines import events

OF_ENDPOINTS: Final = {
    events.CHAT: "/v1/chat/completions",
    events.RESPONSES: "/v1/responses",
    events.COMPLETIONS: "/v1/completions",
}
"""The route of each endpoint that makes streams; one of a later version stands for itself."""


def route_of(row: rows.Summary) -> str:
    """Return the route of a request; empty where a path has none, or nobody knows."""
    return OF_ENDPOINTS.get(row.endpoint, row.endpoint) if row.endpoint else row.route


def method_of(row: rows.Summary) -> str:
    """Return the method of a request: every stream is begun by a POST."""
    return "POST" if row.endpoint else row.method
