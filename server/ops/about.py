"""Says what answers here: `GET /`, for whoever opens the address in a browser."""

from typing import Final

from server.access.entry import PROBES
from server.api.call import Call
from server.context import Context
from server.version import VERSION

DOCUMENTATION: Final = "docs/api.md"
"""The page that lists every route, in the source and beside the installed program."""


async def about(context: Context, call: Call) -> None:
    """Answer `GET /`: the name, the version, and where the API is."""
    routes = ["/v1/chat/completions", "/v1/completions", "/v1/models"]
    if context.config.enable_responses:
        routes.insert(1, "/v1/responses")
    body = {
        "name": "turntape",
        "version": VERSION,
        "description": "An OpenAI-compatible API. Clients take the address with /v1 as base_url.",
        "routes": routes,
        "health": PROBES,
        "documentation": DOCUMENTATION,
    }
    call.answer(200, body)
