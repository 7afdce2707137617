"""How an answer shows its tool calls: as the API's own JSON, or as Obsidian Copilot's XML too."""

from collections.abc import Iterable
from typing import Final, Literal, get_args

from engine import slices
from machines import tooloptions
from server.http.errors import ApiError
from server.http.exchange import Headers

MODES: Final[tuple[tooloptions.OutputMode, ...]] = get_args(tooloptions.OutputMode)
"""Every output mode."""

HEADER: Final = "x-proxy-output-mode"
"""The request header by which a client chooses the output mode."""

COPILOT_REFERER: Final = "https://obsidiancopilot.com"
COPILOT_TITLE: Final = "Obsidian Copilot"
"""The app title that Obsidian Copilot sends, with `COPILOT_REFERER`, to providers that list their
apps."""

COPILOT_TAGS: Final = ("<recent_conversations", "<saved_memories")
"""Tags that only the prompts of Obsidian Copilot have."""


Configured = Literal["auto"] | tooloptions.OutputMode
"""The values of `PROXY_OUTPUT_MODE`."""


def choose(
    headers: Headers,
    mentions: slices.Steps[bool],
    configured: Configured,
) -> slices.Steps[tooloptions.OutputMode]:
    """Choose the output mode: by the client's header, else by the operator's setting, else by what
    the client looks like.

    Args:
        mentions: looks whether any of the request's texts has one of `COPILOT_TAGS`; it is not
            begun where that does not matter.
        configured: `PROXY_OUTPUT_MODE`.

    Raises:
        ApiError: `invalid_request` for a mode in the header that does not exist.
    """
    asked = headers.get(HEADER)
    if asked is None:
        if configured != "auto":
            return configured
        copilot = _sent_by_copilot(headers) or (yield from mentions)
        return "obsidian-xml" if copilot else "openai-json"
    for mode in MODES:
        if asked.strip().lower() == mode:
            return mode
    message = f"Invalid value for the header '{HEADER}': it takes {' or '.join(MODES)}."
    raise ApiError("invalid_request", message, HEADER)


def has_tags(texts: Iterable[str]) -> slices.Steps[bool]:
    """Return whether any of the texts has one of `COPILOT_TAGS`."""
    for text in texts:
        if any(tag in text for tag in COPILOT_TAGS):
            return True
        yield
    return False


def _sent_by_copilot(headers: Headers) -> bool:
    return (
        headers.get("x-copilot-trace-id") is not None
        or (
            headers.get("http-referer") == COPILOT_REFERER
            and headers.get("x-title") == COPILOT_TITLE
        )
        or "obsidian/" in (headers.get("user-agent") or "").lower()
    )
