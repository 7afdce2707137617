"""The names that a request may have as its model, as `/v1/models` lists them."""

import json
from pathlib import Path
from typing import Any

from openai import OpenAI

from bench import appframes, standin
from tests.server.plain import BODY, ask, chat
from tests.support.process import serving
from tests.support.providers import upstreams


def test_models_are_listed_and_found_by_their_encoded_name(keyless: serving.Serve) -> None:
    listed = json.loads(ask(keyless, "GET", "/v1/models").body)
    assert listed["object"] == "list"
    names = [model["id"] for model in listed["data"]]
    assert {"text-short", "codex-5", "codex-5-high", "codev-5"} <= set(names)
    for model in listed["data"]:
        assert sorted(model) == ["created", "id", "object", "owned_by"]
    found = json.loads(ask(keyless, "GET", "/v1/models/codex%2D5").body)
    assert (found["id"], found["object"]) == ("codex-5", "model")
    missing = ask(keyless, "GET", "/v1/models/org%2Fm")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")
    assert "org/m" in missing.error["message"]


def test_an_unknown_model_is_a_404_of_its_own(keyless: serving.Serve) -> None:
    answer = chat(keyless, {**BODY, "model": "gpt-2"})
    assert (answer.status, answer.error["param"]) == (404, "model")


ROWS: list[Any] = [
    {"id": "plain"},
    7,
    {"name": "without an id"},
    {
        "id": "org/full",
        "object": "something",
        "created": 1_700_000_000,
        "owned_by": "org",
        "max_model_len": 32_768,
        "architecture": {"input_modalities": ["text", "image"]},
        "top_provider": {"max_completion_tokens": 4096},
        "permission": [{"id": "p"}],
    },
]
"""A listing as some servers have it."""


def test_an_upstreams_own_members_reach_the_sdk() -> None:
    with upstreams.Hosted() as source:
        source.server.models = upstreams.response(200, json.dumps(ROWS).encode())
        with serving.running("--worker", "upstream", PROXY_UPSTREAM_URL=source.url) as server:
            plain, full = OpenAI(base_url=server.url, api_key="none").models.list()
            found = server.get("/v1/models/org%2Ffull")[1]
    assert (plain.id, plain.object, plain.owned_by) == ("plain", "model", "openai")
    assert plain.created > 1_700_000_000
    assert plain.model_extra == {}
    assert found == {**ROWS[3], "object": "model"}
    assert full.to_dict() == found


def test_a_name_of_the_file_has_what_is_known_of_its_model(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text('[models.big]\nworker = "upstream"\nmodel = "org/full"\n')
    with upstreams.Hosted() as source:
        source.server.models = upstreams.response(200, {"data": ROWS})
        arguments = ("--worker", "upstream", "--models-file", str(file))
        with serving.running(*arguments, PROXY_UPSTREAM_URL=source.url) as server:
            big = server.get("/v1/models/big")[1]
    assert big == {**ROWS[3], "object": "model", "id": "big"}


def test_codexs_models_say_their_window_and_efforts(tmp_path: Path) -> None:
    program = standin.install(tmp_path)
    with serving.running(CODEX_BIN=str(program)) as server:
        client = OpenAI(base_url=server.url, api_key="none")
        rows: dict[str, Any] = {model.id: model.to_dict() for model in client.models.list()}
        assert client.models.retrieve("codex-5-high").to_dict() == rows["codex-5-high"]
    assert set(appframes.MODELS) <= set(rows)
    for name in (*appframes.MODELS, "codex-5", "codex-5-high"):
        assert rows[name]["context_length"] == rows[name]["max_model_len"] == 272_000
        assert rows[name]["reasoning_efforts"] == ["low", "high"]
        assert "tools" in rows[name]["supported_parameters"]
