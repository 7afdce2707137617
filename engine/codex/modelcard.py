"""The members of `/v1/models` for a model of Codex.

They are those that OpenRouter's listing and vLLM's have, which clients read: the window as
`context_length` and `max_model_len`, `architecture.input_modalities`, and `supported_parameters`
for what a request may ask for. The efforts have no common name.
"""

from typing import Any, Final

import msgspec

from engine import worker
from engine.codex.child import bundled as codexmodels

PARAMETERS: Final = (
    "max_completion_tokens",
    "max_tokens",
    "n",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "service_tier",
    "stop",
    "tool_choice",
    "tools",
    "verbosity",
)
"""The fields of a chat request that have an effect on Codex."""

CODEX_ONLY: Final = frozenset({"ultra"})
"""Efforts that are for Codex's own clients, as work for several agents: no request to a model
names them, and Codex sends another word."""


def card(model: codexmodels.KnownModel) -> worker.ModelCard:
    """Return what is known of a model; of one that only a custom provider knows, what Codex
    does."""
    members: dict[str, Any] = {}
    if model.display_name != model.slug:
        members["name"] = model.display_name
    if model.context_window is not None:
        members["context_length"] = members["max_model_len"] = model.context_window
    if model.modalities:
        modalities = {"input_modalities": model.modalities, "output_modalities": ("text",)}
        members["architecture"] = modalities
        efforts = [effort for effort in model.efforts if effort not in CODEX_ONLY]
        members["reasoning_efforts"] = efforts
    members["supported_parameters"] = PARAMETERS
    return worker.ModelCard(members=msgspec.json.encode(members))
