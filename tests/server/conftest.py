"""Servers that several test modules of the server ask."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from tests.server.plain import KEY
from tests.support.process import serving


@pytest.fixture
def diagnostics_as_before() -> Iterator[None]:
    """Takes back what is done to the diagnostics of this process: other tests listen to them."""
    handlers = list(logging.getLogger().handlers)
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers = handlers


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
