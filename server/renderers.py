"""The renderer of each endpoint and mode, found by a stream's first record."""

from machines import events
from server.fold import ChatBody
from server.responses.fold import ResponseBody
from server.responses.stream import ResponseEvents
from server.sinks import Renderer
from server.sse import ChatChunks

RESPONSES = "responses"
"""The endpoint of the Responses API, as the log names it."""


def renderer(opened: events.Opened) -> Renderer:
    """What turns the stream's outputs into bytes, live and in a replay."""
    if opened.endpoint == RESPONSES:
        return ResponseEvents(opened) if opened.streaming else ResponseBody(opened)
    return ChatChunks(opened) if opened.streaming else ChatBody(opened)
