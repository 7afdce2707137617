"""A server on each worker that plays the scenes, and the official Python SDK in front of it."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.clients import scenes
from tests.support.logs import serverlog
from tests.support.process import serving


@pytest.fixture(
    scope="module", params=[pytest.param("codex", marks=pytest.mark.codex), "upstream"]
)
def server(request: pytest.FixtureRequest) -> Iterator[serving.Serve]:
    with scenes.stage(request.param) as server:
        yield server
        serverlog.audit(server)


@pytest.fixture
def client(server: serving.Serve) -> Iterator[OpenAI]:
    with OpenAI(**scenes.options(server)) as client:
        yield client
