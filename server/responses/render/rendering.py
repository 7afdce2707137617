"""The renderers of the Responses API: a stream is told in events, or as one body."""

from machines import events
from server.responses.render.echo import Echo
from server.responses.render.fold import ResponseBody
from server.responses.render.stream import ResponseEvents


def renderer(opened: events.Opened, repeated: Echo | None = None) -> ResponseEvents | ResponseBody:
    """Make the renderer of one stream, as events or as one body.

    Args:
        repeated: what the answer repeats of its request; None in a replay, which has what the log
            kept of that.
    """
    made = ResponseEvents if opened.streaming else ResponseBody
    return made(opened, repeated)
