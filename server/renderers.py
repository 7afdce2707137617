"""The renderer of each endpoint and mode, found by a stream's first record."""

from machines import events
from server.fold import ChatBody
from server.sinks import Renderer
from server.sse import ChatChunks


def renderer(opened: events.Opened) -> Renderer:
    """What turns the stream's outputs into bytes, live and in a replay."""
    return ChatChunks(opened) if opened.streaming else ChatBody(opened)
