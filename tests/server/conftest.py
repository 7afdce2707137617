"""Servers that several test modules of the server ask."""

from collections.abc import Iterator

import pytest

from tests.server.plain import KEY
from tests.support.process import serving


@pytest.fixture(scope="module")
def keyless() -> Iterator[serving.Serve]:
    """A server without a key."""
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        yield server


@pytest.fixture(scope="module")
def keyed() -> Iterator[serving.Serve]:
    """A server that asks for `KEY`, and lets two origins read."""
    with serving.running(
        "--worker",
        "scripted",
        PROXY_SCRIPTED_SPEED="0",
        PROXY_API_KEY=KEY,
        PROXY_PROTECT_MODELS="true",
        PROXY_CORS_ALLOWED_ORIGINS="app://obsidian.md,https://ok.example",
    ) as server:
        yield server
