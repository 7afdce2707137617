"""The models that a binary comes with, and what a catalog says of them."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from engine.codex.child import bundled as codexmodels, home as codexhome
from engine.codex.protocol import appserver
from tests.support.process import machinetime

URL = "http://127.0.0.1:1/v1"

ROW: dict[str, Any] = {
    "slug": "gpt-7",
    "display_name": "GPT-7",
    "supported_reasoning_levels": [{"effort": "low", "description": "d"}, {"effort": "ultra"}],
    "visibility": "list",
    "priority": 2,
    "use_responses_lite": True,
    "context_window": 500_000,
    "input_modalities": ["text", "image"],
    "base_instructions": "You are Codex.",
}

GPT_7 = codexmodels.KnownModel(
    "gpt-7", "GPT-7", ("low", "ultra"), lite=True, listed=True, context_window=500_000
)


def listing(*rows: Any) -> str:
    return json.dumps({"models": rows})


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


def test_the_table_is_of_the_tested_version() -> None:
    assert codexmodels.BUNDLED_WITH == appserver.SCHEMA_PIN


def test_a_bad_row_costs_only_itself_and_the_order_is_that_of_priority() -> None:
    first = {**ROW, "slug": "gpt-8", "priority": 1}
    found = codexmodels.read(listing(ROW, 5, {**ROW, "slug": None}, {}, first).encode())
    assert [model.slug for model in found] == ["gpt-8", "gpt-7"]
    assert found[1] == GPT_7


@pytest.mark.parametrize("text", ["", "null", "[]", '{"models":5}', listing(), listing({}, 5)])
def test_a_listing_without_models_is_none(text: str) -> None:
    with pytest.raises(codexmodels.NoListing):
        codexmodels.read(text.encode())


def program(directory: Path, script: str) -> Path:
    """A program in the place of Codex, in a package as pip's and npm's are."""
    path = directory / "package" / "bin" / "codex"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def asked(
    binary: Path, directory: Path
) -> tuple[tuple[codexmodels.KnownModel, ...], list[dict[str, Any]]]:
    """Its models, and what the diagnostics say; nothing of its home is left."""
    data = directory / "data"
    data.mkdir()
    environment = {"PATH": os.environ["PATH"]}
    with structlog.testing.capture_logs() as lines:
        found = asyncio.run(codexmodels.models_of(binary, data, environment))
    assert list(data.iterdir()) == []
    return found, [dict(line) for line in lines]


def test_another_binary_is_asked_in_an_empty_home(tmp_path: Path) -> None:
    script = f"""
[ "$*" = "debug models --bundled" ] && [ -z "$(ls -A "$CODEX_HOME")" ] || exit 1
touch "$CODEX_HOME/state"
echo WARNING: an alias >&2
echo '{listing(ROW)}'"""
    assert asked(program(tmp_path, script), tmp_path) == ((GPT_7,), [])


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 3", "truncated"),
        ("echo usage: codex", "malformed"),
        (f"echo '{listing()}'", "no models"),
        ("while echo 0123456789; do :; done", "more than 1000 bytes"),
        ("exec sleep 1000", "TimeoutError"),
        ("sleep 1000 & sleep 1000", "TimeoutError"),
    ],
)
def test_one_that_does_not_say_has_the_models_of_the_table_and_a_warning(
    script: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codexmodels, "LISTING_BYTES", 1000)
    if "sleep" in script:
        monkeypatch.setattr(codexmodels, "ASK_LIMIT_S", 0.2)
    with machinetime.within(5):
        found, (line,) = asked(program(tmp_path, script), tmp_path)
    assert found == codexmodels.KNOWN
    assert (line["event"], line["log_level"]) == ("codex_models_unknown", "warning")
    assert problem in line["problem"]
    assert line["used"] == codexmodels.BUNDLED_WITH


def test_a_program_that_cannot_be_run_is_told_of(tmp_path: Path) -> None:
    found, (line,) = asked(tmp_path / "missing", tmp_path)
    assert (found, line["event"]) == (codexmodels.KNOWN, "codex_models_unknown")


@pytest.mark.parametrize("version", [codexmodels.BUNDLED_WITH, "0.171.0"])
def test_the_tested_version_is_not_run(version: str, tmp_path: Path) -> None:
    binary = program(tmp_path, f"touch {tmp_path}/ran; echo '{listing(ROW)}'")
    link = tmp_path / "codex"
    link.symlink_to(binary)
    package = tmp_path / "package" / "codex-package.json"
    package.write_text(json.dumps({"layoutVersion": 1, "version": version}))
    found, _ = asked(link, tmp_path)
    is_tested = version == codexmodels.BUNDLED_WITH
    assert (tmp_path / "ran").exists() is not is_tested
    assert found == (codexmodels.KNOWN if is_tested else (GPT_7,))


@pytest.mark.codex
def test_the_installed_binary_is_the_tested_one(tmp_path: Path) -> None:
    assert codexmodels.is_tested(codexhome.find_binary(None))
