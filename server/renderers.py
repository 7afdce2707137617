"""The renderer of each endpoint and mode, found by a stream's first record."""

from machines import events
from server.fold import ChatBody
from server.responses.echo import Echo
from server.responses.fold import ResponseBody
from server.responses.stream import ResponseEvents
from server.sinks import Renderer
from server.sse import ChatChunks

RESPONSES = "responses"
"""The endpoint of the Responses API, as the log names it."""


def renderer(opened: events.Opened, repeated: Echo | None = None) -> Renderer:
    """What turns the stream's outputs into bytes, live and in a replay.

    Args:
        repeated: what a response repeats of its request; None in a replay, which has what the log
            kept of that.
    """
    if opened.endpoint == RESPONSES:
        made = ResponseEvents if opened.streaming else ResponseBody
        return made(opened, repeated)
    return ChatChunks(opened) if opened.streaming else ChatBody(opened)
