"""The renderer of a stream, found by its first record: what a replay needs."""

from machines import events
from server import chat
from server.responses import rendering
from server.sinks import Renderer


def renderer(opened: events.Opened) -> Renderer:
    """What turns the stream's outputs into bytes, with what the log kept of its request."""
    if opened.endpoint == events.RESPONSES:
        return rendering.renderer(opened)
    return chat.renderer(opened)
