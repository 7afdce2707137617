"""The Responses endpoint's part of the fault matrix: how it is asked, and its streams' bytes."""

from typing import Any, Final

from tests.faults import scene
from tests.support.providers import responsescript as script

Json = dict[str, Any]

MEMBERS: Final[Json] = {"created_at": 1, "model": scene.MODEL, "store": True}
"""What every response has that `scene.Answer.body` shows."""

BEGUN: Final = tuple(script.begun(**MEMBERS))
"""The events that every stream begins with."""

HEARTBEAT: Final = BEGUN[1]
"""What is told while there is nothing to tell."""


class Asked(scene.Asked):
    """One request for a response."""

    path = "/responses"

    @staticmethod
    def prompt(text: str) -> Json:
        """The field of a prompt."""
        return {"input": text}


class Stage(scene.Stage):
    """A server that is asked for responses."""

    asks = Asked


def so_far(*texts: str) -> bytes:
    """The first bytes of a stream that has told these texts."""
    return script.stream(*BEGUN, *script.begun_message(0, *texts), done=False)


def completed(*texts: str, usage: Json | None = None, heartbeats: int = 0) -> bytes:
    """A whole stream of one message.

    Args:
        usage: None where nobody knows.
        heartbeats: how many come before it.
    """
    counts = script.usage(0, 0) if usage is None else usage
    items = [script.said(0, "".join(texts))]
    return script.stream(
        *BEGUN,
        *[HEARTBEAT] * heartbeats,
        *script.message(0, *texts),
        *([script.COUNTS_UNKNOWN] if usage is None else []),
        script.ended("completed", items, usage=counts, completed_at=1, **MEMBERS),
    )


def broken(
    code: str, message: str, *texts: str, kind: str = "server_error", heartbeats: int = 0
) -> bytes:
    """A stream that breaks off after some texts.

    Args:
        heartbeats: how many come after the texts.
    """
    items = [script.said(0, "".join(texts), "incomplete")] if texts else []
    return script.stream(
        *BEGUN,
        *(script.begun_message(0, *texts) if texts else []),
        *[HEARTBEAT] * heartbeats,
        *script.failed(code, message, items, kind, **MEMBERS),
    )
