"""The renderer of a stream, found by its first record, and the reply that a replay compares."""

from machines import events
from server.api.reply import Renderer, Reply
from server.chat import endpoint as chat
from server.completions import endpoint as completions
from server.responses.render import rendering


def renderer(opened: events.Opened) -> Renderer:
    """Make the renderer of a stream's outputs, with what the log kept of its request."""
    if opened.endpoint == events.RESPONSES:
        return rendering.renderer(opened)
    if opened.endpoint == events.COMPLETIONS:
        return completions.renderer(opened)
    return chat.renderer(opened)


def reply(opened: events.Opened) -> Reply:
    """The HTTP response that the stream's outputs become: what a replay makes again."""
    return Reply(renderer(opened))
