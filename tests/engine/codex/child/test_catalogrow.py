"""Rows of Codex's model catalog; what the binary makes of them is in `tests/engine/codex`."""

from engine.codex.child import bundled as codexmodels, catalogrow
from engine.routing import models


def test_a_row_takes_nothing_away_from_a_request_and_adds_nothing() -> None:
    row = catalogrow.of(codexmodels.find("gpt-5.5", codexmodels.KNOWN), 3, lite=False)
    assert (row["slug"], row["priority"], row["use_responses_lite"]) == ("gpt-5.5", 3, False)
    assert (row["base_instructions"], row["experimental_supported_tools"]) == ("", [])
    assert row["shell_type"] == "disabled"
    assert not {"tool_mode", "default_verbosity", "default_service_tier"} & row.keys()
    assert row["context_window"] == row["max_context_window"] > 10_000_000


def test_a_row_has_every_tier_that_a_turn_may_name() -> None:
    row = catalogrow.of(codexmodels.find("own", ()), 1, lite=True)
    assert [tier["id"] for tier in row["service_tiers"]] == list(models.SERVICE_TIERS)
