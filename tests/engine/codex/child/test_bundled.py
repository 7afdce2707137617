"""The models that the binary comes with, and what a catalog says of them."""

from pathlib import Path

from engine.codex.child import bundled as codexmodels, home as codexhome

URL = "http://127.0.0.1:1/v1"


def test_every_known_model_is_in_the_catalog_as_a_plain_one(tmp_path: Path) -> None:
    setup = codexhome.Setup(data_dir=tmp_path, model="mine", extra_models=("yours", "gpt-5.5"))
    models = codexhome.catalog(setup)["models"]
    slugs = [model["slug"] for model in models]
    assert slugs == [*(model.slug for model in codexmodels.KNOWN), "mine", "yours"]
    for model in models:
        assert (model["shell_type"], model["base_instructions"]) == ("disabled", "")
        assert not {"tool_mode", "multi_agent_version", "apply_patch_tool_type"} & set(model)


def test_only_openai_is_sent_the_lite_form(tmp_path: Path) -> None:
    openai = codexhome.catalog(codexhome.Setup(data_dir=tmp_path))["models"]
    other = codexhome.catalog(codexhome.Setup(data_dir=tmp_path, base_url=URL))["models"]
    lite = {model["slug"] for model in openai if model["use_responses_lite"]}
    assert "gpt-6.1-sol" in lite
    assert "gpt-5.5" not in lite
    assert not any(model["use_responses_lite"] for model in other)
