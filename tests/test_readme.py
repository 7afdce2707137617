"""Every command of the README is run as it stands there: here, or by `.ci/run`.

Here the commands run in a directory that looks as after the first of them, with a home of their
own; only the port is another, for 11435 may be taken.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import machinetime, measured, readme
from tests.support.providers.provider import Provider

DEMO = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/turntape demo"
TESTS = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"
CODEX = ".venv/bin/pip install '.[codex]'"
LOGIN = ".venv/bin/turntape login"
SERVE = ".venv/bin/turntape serve"
WITH_KEY = "PROXY_CODEX_API_KEY=sk-your-key .venv/bin/turntape serve"
PROVIDER_URL = "http://127.0.0.1:8000/v1"
WITH_PROVIDER = f"PROXY_CODEX_BASE_URL={PROVIDER_URL} {WITH_KEY}"
SCRIPTED = ".venv/bin/turntape serve --worker scripted"
READY = "curl -fsS --retry 10 http://127.0.0.1:11435/readyz"
STREAM = (
    "curl -N http://127.0.0.1:11435/v1/chat/completions -H 'content-type: application/json' "
    '-d \'{"model": "codex-5", "stream": true, '
    '"messages": [{"role": "user", "content": "Hello"}]}\''
)
LIST = ".venv/bin/turntape log ~/.local/state/turntape/log"
REPLAY = ".venv/bin/turntape replay ~/.local/state/turntape/log"
CONFIG = ".venv/bin/turntape config"

RUN_BY_CI = {DEMO, TESTS, CODEX}
"""Commands that install."""

RUN_BY = {
    LOGIN: "test_login_shows_a_link",
    SERVE: "test_serve_without_a_worker_is_codex",
    WITH_KEY: "test_a_key_logs_codex_in",
    WITH_PROVIDER: "test_codex_answers_from_another_provider",
    SCRIPTED: "test_recorded_streams_answer_and_their_log_replays",
    READY: "test_recorded_streams_answer_and_their_log_replays",
    STREAM: "test_recorded_streams_answer_and_their_log_replays",
    LIST: "test_recorded_streams_answer_and_their_log_replays",
    REPLAY: "test_recorded_streams_answer_and_their_log_replays",
    CONFIG: "test_every_setting_is_shown",
}
"""All other commands, and the test that runs them."""


class Reader:
    """Somebody who has run the README's first command, in a directory and a home of their own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        launcher = directory / ".venv" / "bin" / "turntape"
        launcher.parent.mkdir(parents=True)
        launcher.write_text(
            f'#!/bin/sh\nPYTHONPATH="{readme.ROOT}" exec "{sys.executable}" -m server "$@"\n'
        )
        launcher.chmod(0o755)
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "PORT": "0",
            "PROXY_LOG_LEVEL": "error",
            **measured.VARIABLES,
        }

    def program(self, command: str) -> readme.Program:
        """A command that goes on until it is interrupted."""
        return readme.Program(command, self._directory, self._environment)

    @contextlib.contextmanager
    def serving(self, command: str) -> Iterator[str]:
        """A server that runs while the block lasts, and then ends well; gives its port."""
        with self.program(command) as program:
            found = re.search(r"on http://127\.0\.0\.1:(\d+)/v1$", program.wait_for(" on http"))
            assert found is not None
            yield found[1]
            assert program.interrupt() == 0

    def run(self, command: str) -> str:
        """What a command says that ends well."""
        done = subprocess.run(
            ("bash", "-c", command),
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """A reader."""
    return Reader(tmp_path)


def at(port: str, text: str) -> str:
    """A text of the README, for a server on another port."""
    assert "11435" in text
    return text.replace("11435", port)


def answer(body: str) -> str:
    """The text of a streamed answer that came to its end."""
    *frames, sentinel = body.removesuffix("\n\n").split("\n\n")
    assert sentinel == "data: [DONE]"
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


def printed(example: str) -> str:
    """What a Python example prints."""
    done = subprocess.run(
        (sys.executable, "-c", example), capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_every_command_is_run_by_somebody() -> None:
    assert set(readme.commands(readme.PAGE)) == RUN_BY_CI | set(RUN_BY)
    assert set(RUN_BY.values()) <= set(globals())


def test_ci_runs_the_commands_that_install() -> None:
    script = (readme.ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(command in script for command in RUN_BY_CI)


def test_the_demo_streams_replays_and_ends_with_ctrl_c(reader: Reader) -> None:
    with reader.program(DEMO.rpartition(" && ")[2]) as program:
        program.wait_for("Ctrl-C stops the server")
        example = re.search(r"^    from openai .*\n((    .*)?\n)+", program.output, re.MULTILINE)
        assert example is not None
        text = printed(textwrap.dedent(example[0]))
        assert program.interrupt() == 0
    assert text
    assert f"{text}\n\nReplayed its log" in program.output
    assert "records, the same steps and the same bytes." in program.output


def test_recorded_streams_answer_and_their_log_replays(reader: Reader) -> None:
    with reader.serving(SCRIPTED) as port:
        assert reader.run(at(port, READY)) == '{"status":"ready"}'
        streamed = answer(reader.run(at(port, STREAM)))
        assert streamed
        (example,) = readme.examples(readme.PAGE, "python")
        assert printed(at(port, example)) == streamed
    listed = reader.run(LIST).splitlines()
    assert len(listed) == 4
    assert all("completed" in line for line in listed[2:])
    assert "2 streams" in reader.run(REPLAY)


@pytest.mark.codex
def test_serve_without_a_worker_is_codex(reader: Reader) -> None:
    with reader.serving(SERVE) as port:
        asked = at(port, READY).replace("readyz", "healthz")
        state = '"worker":{"kind":"codex","state":"logged_out"}'
        machinetime.until(lambda: state in reader.run(asked), machinetime.HANG_S)
        assert "Run `turntape login`" in reader.run(at(port, STREAM))


@pytest.mark.codex
def test_a_key_logs_codex_in(reader: Reader) -> None:
    with reader.serving(WITH_KEY) as port:
        assert reader.run(at(port, READY)) == '{"status":"ready"}'


@pytest.mark.codex
def test_codex_answers_from_another_provider(reader: Reader) -> None:
    with Provider() as provider:
        command = WITH_PROVIDER.replace(PROVIDER_URL, provider.url)
        with reader.serving(command) as port:
            reader.run(at(port, READY))
            assert answer(reader.run(at(port, STREAM))) == "Hello world"
        assert [request.key for request in provider.requests] == ["sk-your-key"]
        assert provider.requests[0].prompt == "Hello"


@pytest.mark.codex
def test_login_shows_a_link(reader: Reader) -> None:
    with reader.program(LOGIN) as program:
        program.wait_for("https://auth.openai.com/")
        assert program.interrupt() == 130


def test_every_setting_is_shown(reader: Reader) -> None:
    shown = reader.run(CONFIG)
    assert re.search(r"^PORT +0 +\(env\)", shown, re.MULTILINE)
    assert re.search(r"^PROXY_WORKER +codex +\(default\)", shown, re.MULTILINE)
