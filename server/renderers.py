"""The renderer of a stream, found by its first record: what a replay needs."""

from machines import events
from server.api.sinks import Renderer
from server.chat import endpoint as chat
from server.responses import rendering


def renderer(opened: events.Opened) -> Renderer:
    """What turns the stream's outputs into bytes, with what the log kept of its request."""
    if opened.endpoint == events.RESPONSES:
        return rendering.renderer(opened)
    return chat.renderer(opened)
