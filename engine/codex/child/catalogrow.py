"""A model as Codex's catalog has it: one that takes plain function tools.

Codex's own catalog hides a client's tools in a script interpreter, shortens their results and
summarises long histories. What a row says here is what Codex then leaves undone.
"""

from typing import Any, Final

from engine.codex.child import bundled as codexmodels
from engine.routing import models

NO_TRUNCATION_BYTES: Final = 1 << 40
"""More than a context can hold, so that Codex shortens nothing."""

NO_COMPACTION_TOKENS: Final = 100_000_000
"""A context window beyond every real one: Codex would replace a long history by a summary."""


def of(model: codexmodels.KnownModel, priority: int, *, lite: bool) -> dict[str, Any]:
    """Return the row of a model.

    Args:
        priority: its place in the list.
        lite: whether its provider is sent the lite form of a request.
    """
    return {
        "slug": model.slug,
        "display_name": model.display_name,
        "supported_reasoning_levels": [
            {"effort": effort, "description": effort} for effort in model.efforts
        ],
        "shell_type": "disabled",
        "visibility": "list" if model.listed else "hide",
        "supported_in_api": True,
        "priority": priority,
        "support_verbosity": True,
        "service_tiers": [
            {"id": tier, "name": tier, "description": tier} for tier in models.SERVICE_TIERS
        ],
        "truncation_policy": {"mode": "bytes", "limit": NO_TRUNCATION_BYTES},
        "experimental_supported_tools": [],
        "base_instructions": "",
        "context_window": NO_COMPACTION_TOKENS,
        "max_context_window": NO_COMPACTION_TOKENS,
        "effective_context_window_percent": 100,
        "input_modalities": ["text", "image"],
        "supports_image_detail_original": True,
        "default_reasoning_summary": "none",
        "use_responses_lite": lite,
    }
