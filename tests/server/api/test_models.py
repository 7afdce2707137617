"""The names that a request may have as its model, as `/v1/models` lists them."""

import json

from tests.server.plain import BODY, ask, chat
from tests.support.process import serving


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
