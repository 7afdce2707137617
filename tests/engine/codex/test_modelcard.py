"""The members of `/v1/models` for a model of Codex."""

import json
from typing import Any

from engine.codex import modelcard
from engine.codex.child import bundled as codexmodels
from server.chat import request as chatbodies


def members(slug: str) -> dict[str, Any]:
    card = modelcard.card(codexmodels.find(slug, codexmodels.KNOWN))
    assert (card.created, card.owned_by) == (None, None)
    found: dict[str, Any] = json.loads(card.members)
    return found


def test_a_known_model_has_its_window_efforts_and_modalities() -> None:
    assert members("gpt-6.1-sol") == {
        "name": "GPT-6.1-Sol",
        "context_length": 272_000,
        "max_model_len": 272_000,
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
        "reasoning_efforts": ["low", "medium", "high", "xhigh", "max"],
        "supported_parameters": list(modelcard.PARAMETERS),
    }
    assert members("gpt-5.5")["reasoning_efforts"] == ["low", "medium", "high", "xhigh"]


def test_nothing_is_made_up_of_a_model_that_only_a_provider_knows() -> None:
    assert members("mine") == {"supported_parameters": list(modelcard.PARAMETERS)}


def test_the_parameters_are_fields_that_are_honoured() -> None:
    honoured = set(chatbodies.ChatRequest.__struct_fields__) - set(chatbodies.IGNORED_FIELDS)
    assert set(modelcard.PARAMETERS) <= honoured
