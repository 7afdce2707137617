"""The account behind the real Codex, with a stand-in for ChatGPT: what is told of it, and how a
login beside a running server is taken."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import appframes, standin
from server.api import sinks
from tests.support.client import httpclient, httpwire
from tests.support.process import machinetime, measured, serving
from tests.support.providers import chatgpt
from tests.support.providers.replies import HttpError

BODY: dict[str, Any] = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}
SPENT: dict[str, Any] = {**BODY, "messages": [{"role": "user", "content": "spent"}]}
USAGE_LIMIT = HttpError(429, {"error": {"type": "usage_limit_reached", "message": "used up"}})
LINK = "https://intranet.example/login"

NOTICED_S = 5.0
"""Seconds within which a server takes what was done beside it."""


class Scene:
    """A server on the real Codex, whose ChatGPT is here."""

    def __init__(self, directory: Path, gpt: chatgpt.ChatGpt) -> None:
        self.gpt = gpt
        self.home = gpt.home(directory / "home")
        self.environ = {"CODEX_BIN": gpt.codex(directory), "CODEX_HOME": str(self.home)}
        self._directory = directory
        told = {"PROXY_AUTH_LOGIN_URL": LINK, "PROXY_EVENT_LOG": "full"}
        self.server = serving.Serve(directory / "data", (), {**self.environ, **told})

    def command(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command beside the server."""
        return subprocess.run(
            (sys.executable, "-m", "server", *arguments),
            cwd=serving.ROOT,
            env={
                "PATH": "/usr/bin:/bin",
                "PROXY_DATA_DIR": str(self._directory / "beside"),
                **self.environ,
                **measured.VARIABLES,
            },
            input=text,
            capture_output=True,
            text=True,
            timeout=machinetime.HANG_S,
        )

    def account(self) -> dict[str, Any]:
        """What the health page tells of it."""
        found: dict[str, Any] = self.server.get("/healthz")[1]["account"]
        return found

    def answered(self, body: dict[str, Any]) -> httpwire.Response:
        """The answer to a chat completion."""
        return httpclient.ask(self.server.url, "POST", "/chat/completions", body)

    def until_logged_out(self) -> None:
        """Wait until the server has no login."""
        machinetime.until(lambda: self.readiness() == (503, "logged_out"))

    def readiness(self) -> tuple[int, str]:
        """Status and worker of the readiness page."""
        status, body = self.server.get("/readyz")
        return status, body.get("worker", "")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A server that nobody is logged in to."""
    with chatgpt.ChatGpt({"spent": USAGE_LIMIT}) as gpt:
        made = Scene(tmp_path, gpt)
        try:
            made.until_logged_out()
            yield made
        finally:
            made.server.stop()


def noticed(what: Callable[[], bool]) -> None:
    """Wait for what is to be so within `NOTICED_S`."""
    machinetime.until(what, NOTICED_S)


def only_quota(scene: Scene) -> list[tuple[str, float]]:
    """Name and used part of each window."""
    return [(each["name"], each["used"]) for each in scene.account()["windows"]]


@pytest.mark.long
@pytest.mark.codex
@pytest.mark.slow
def test_a_login_and_a_logout_beside_a_server_are_noticed(scene: Scene) -> None:
    refused = scene.answered(BODY)
    assert refused.status == 401
    assert f"To log in, open {LINK}".encode() in refused.body
    scene.gpt.log_in(scene.home)
    noticed(lambda: scene.readiness()[0] == 200)
    assert scene.answered(BODY).status == 200
    machinetime.until(lambda: len(only_quota(scene)) == 2)
    assert (scene.account()["login"], scene.account()["plan"]) == ("chatgpt", "plus")
    assert only_quota(scene) == [("primary", 0.42), ("secondary", 0.84)]
    restarts = scene.server.get("/healthz")[1]["processes"][0]["restarts"]
    scene.gpt.log_in(scene.home)  # as Codex does, when it has fresh tokens
    scene.gpt.log_in(scene.home, "acc-2")
    noticed(lambda: scene.server.get("/healthz")[1]["processes"][0]["restarts"] > restarts)
    machinetime.until(lambda: scene.readiness()[0] == 200)
    done = scene.command("logout")
    assert (done.returncode, "Logged out." in done.stdout) == (0, True)
    noticed(lambda: scene.readiness() == (503, "logged_out"))
    assert scene.answered(BODY).status == 401
    assert scene.account()["login"] == "none"
    shown = f"{scene.server.lines}{scene.server.records()}{refused.body!r}"
    for secret in (chatgpt.EMAIL, chatgpt.TOKEN, "acc-1", "acc-2"):
        assert secret not in shown


@pytest.mark.codex
@pytest.mark.slow
def test_the_quota_and_another_model_are_told_with_an_answer(scene: Scene) -> None:
    scene.gpt.log_in(scene.home)
    machinetime.until(lambda: scene.readiness()[0] == 200)
    machinetime.until(lambda: len(only_quota(scene)) == 2)
    resets_at = int(time.time()) + 900
    scene.gpt.server.told = {
        "x-codex-primary-used-percent": "100",
        "x-codex-primary-window-minutes": "300",
        "x-codex-primary-reset-at": str(resets_at),
        "openai-model": "gpt-5.2",
    }
    answer = scene.answered({**BODY, "stream": True})
    assert (answer.status, answer.headers[sinks.REROUTED]) == (200, "gpt-5.2")
    (rerouted,) = (each for each in scene.server.records() if each["event"] == "model_rerouted")
    assert (rerouted["model"], rerouted["reason"]) == ("gpt-5.2", "highRiskCyberActivity")
    machinetime.until(lambda: only_quota(scene)[0] == ("primary", 1.0))
    spent = scene.answered(SPENT)
    assert (spent.status, spent.headers["x-should-retry"]) == (429, "false")
    assert 0 < int(spent.headers["retry-after"]) <= 900
    metrics = httpclient.ask(scene.server.base, "GET", "/metrics").body.decode()
    assert 'turntape_account_info{login="chatgpt",plan="plus",worker="codex"} 1.0' in metrics
    assert 'account_quota_used_ratio{window="primary",worker="codex"} 1.0' in metrics
    reset = re.search(r'quota_reset_timestamp_seconds{window="primary",[^}]*} (\S+)', metrics)
    assert reset is not None
    assert float(reset[1]) == resets_at
    assert chatgpt.EMAIL not in metrics


@pytest.mark.codex
@pytest.mark.slow
def test_a_login_by_a_code_is_shown_and_taken(scene: Scene) -> None:
    scene.gpt.server.is_granted = True
    done = scene.command("login", "--device")
    assert done.returncode == 0, done.stderr
    assert f"  {scene.gpt.base}/codex/device\n" in done.stdout
    assert f"  {chatgpt.CODE}\n" in done.stdout
    assert done.stdout.endswith("A server that runs on it takes it within 5 s.\n")
    noticed(lambda: scene.readiness()[0] == 200)
    status = scene.command("login", "--status")
    assert status.returncode == 0
    for line in ("Plan: plus.", "5 h quota 42 % used", "Credits: 0.", "Tokens: 123,456"):
        assert line in status.stdout
    assert chatgpt.EMAIL not in status.stdout


@pytest.mark.codex
@pytest.mark.slow
def test_a_key_from_standard_input_is_kept_and_shown_to_nobody(scene: Scene) -> None:
    done = scene.command("login", "--with-api-key", text="sk-of-standard-input\n")
    assert done.returncode == 0, done.stderr
    noticed(lambda: scene.readiness()[0] == 200)
    assert scene.account() == {
        "login": "api_key",
        "plan": "unknown",
        "windows": [],
        "credits": False,
    }
    assert scene.answered(BODY).status == 200
    assert scene.gpt.requests[-1].key == "sk-of-standard-input"
    assert "sk-of" not in f"{done.stdout}{done.stderr}{scene.server.lines}{scene.server.records()}"


def test_a_link_of_codex_s_is_in_the_error_where_the_operator_wants_it(tmp_path: Path) -> None:
    program = standin.install(tmp_path, standin.Scenario(logged_out=True))
    told = {"PROXY_AUTH_LOGIN_URL": "true", "PROXY_AUTH_LOGIN_URL_MODE": "code+message"}
    server = serving.Serve(tmp_path / "data", (), {"CODEX_BIN": str(program), **told})
    try:
        machinetime.until(lambda: server.get("/readyz")[1].get("worker") == "logged_out")
        answers = [server.post(BODY), server.post(BODY)]
        metrics = httpclient.ask(server.base, "GET", "/metrics").body.decode()
    finally:
        server.stop()
    for status, body in answers:
        assert status == 401
        assert body["error"]["message"].endswith(f"To log in, open {appframes.LOGIN_LINK}")
        code = f"worker_unauthorized | login_url={appframes.LOGIN_LINK}"
        assert (body["error"]["code"], body["error"]["type"]) == (code, "authentication_error")
    asked = [
        line for line in standin.received(tmp_path) if line["method"] == "account/login/start"
    ]
    assert len(asked) == 1
    assert "login_url" not in metrics
