"""The HTTP request that a stream was asked with, as far as the log has it.

The log keeps no headers: which key was shown, and to which host the request went, is not in it. A
placeholder stands in the place of the key. A large request is kept as an outline, and of a masked
log its texts are masked: what is missing is said beside it.
"""

from typing import Final

import msgspec

from engine.log.find import stories
from engine.log.timeline import fold, timeline
from machines import events, parse

BASE_URL: Final = "http://127.0.0.1:11435/v1"
"""Where a server listens unless it is told otherwise."""

KEY: Final = "$OPENAI_API_KEY"
"""In the place of the client's key; also the variable that OpenAI's own programs read."""

PATHS: Final = {
    events.CHAT: "/chat/completions",
    events.RESPONSES: "/responses",
    events.COMPLETIONS: "/completions",
}
"""The path of each endpoint, below the base URL."""


class Asked(msgspec.Struct, frozen=True):
    """A request.

    Attributes:
        path: below the base URL.
        body: its JSON; None where it is not in the log.
        missing: what of it is otherwise than it was sent, a sentence each.
    """

    told: timeline.Timeline
    method: str
    path: str
    body: bytes | None
    missing: tuple[str, ...]


def asked(story: stories.Story) -> Asked | None:
    """Return the request of a stream, or of a refusal; None of what nobody asked for."""
    told = fold.fold(story)
    first = story.records[0]
    if first.event == "request_rejected":
        event = first.load()
        assert isinstance(event, events.RequestRejected)
        path = (event.route or event.path).removeprefix("/v1")
        missing = ("The body of a refused request is not in the log.",)
        return Asked(told, event.method or "POST", path, None, missing)
    if first.event != "opened":
        return None
    raw = told.request.body
    body = bytes(raw) if raw is not None and bytes(raw) != b"null" else None
    path = PATHS.get(told.request.endpoint, "/" + told.request.endpoint)
    return Asked(told, "POST", path, body, tuple(_missing(told, body)))


def _missing(told: timeline.Timeline, body: bytes | None) -> list[str]:
    found = []
    if body is None:
        found.append("The request is not in the log.")
    elif told.request.content == "masked":
        found.append("The texts of the request are masked.")
    if body is not None and _is_outline(body):
        found.append("The request was large: members of it are left out.")
    return found


def _is_outline(body: bytes) -> bool:
    """Whether a member of a request is only said to be of some size (`keptrequest.Omitted`)."""
    try:
        members = parse.value(body)
    except parse.ParseError:
        return True
    found = members.values() if isinstance(members, dict) else ()
    return any(isinstance(each, dict) and {"bytes", "digest"} <= each.keys() for each in found)
