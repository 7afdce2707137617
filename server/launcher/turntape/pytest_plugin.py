"""The fixture `turntape_mock` for pytest: recorded streams for the tests of other projects.

pytest loads this module in every run of every project that has Turntape installed. So it imports
nothing, and there is no hook behind a test, before the first one asks for the fixture: what does
the work is `turntape.mocking`.
"""

from __future__ import annotations

import typing

import pytest

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from turntape import mocking

OPTIONS = (
    ("on_miss", "what becomes of a request without a recording: fail, passthrough, record"),
    ("upstream", "URL of the provider that is asked then, such as https://api.openai.com/v1"),
    ("speed", "times the recorded speed; 0: without pauses"),
)
"""Options of the command line and of the ini file."""

SETTINGS = (
    ("match", "what of a request has to be the same: body, message, model, sequence"),
    ("recordings", "directory of recordings, from the test's file (recordings)"),
    ("upstream_key_env", "name of the variable that has the provider's key (OPENAI_API_KEY)"),
)
"""Options that only the ini file has."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("turntape", "recorded streams (fixture turntape_mock)")
    for name, meaning in OPTIONS:
        group.addoption(
            f"--turntape-{name.replace('_', '-')}", dest=f"turntape_{name}", help=meaning
        )
    for name, meaning in (*OPTIONS, *SETTINGS):
        parser.addini(f"turntape_{name}", meaning)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "turntape(transcripts=..., transcript=..., match=..., on_miss=..., speed=..., fault=...): "
        "how the requests to turntape_mock are answered",
    )


@pytest.fixture(scope="session")
def _turntape_process(request: pytest.FixtureRequest) -> Iterator[mocking.Process]:
    from turntape import mocking

    with mocking.Process(mocking.Settings.of(request.config)) as process:
        request.config.pluginmanager.register(mocking.Reporter(), "turntape-reporter")
        yield process


@pytest.fixture
def turntape_mock(
    request: pytest.FixtureRequest, _turntape_process: mocking.Process
) -> Iterator[mocking.Mock]:
    """An OpenAI-compatible server that answers this test's requests from its recordings."""
    from turntape import mocking

    with mocking.of_test(request.node, _turntape_process) as mock:
        yield mock
