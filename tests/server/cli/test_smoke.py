"""What an operator sees of `turntape smoke`, against real servers: a line a trial, a status."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.cli import smoke
from tests.support.process import measured, serving
from tests.support.providers import replies
from tests.support.providers.provider import Provider

KEY = "a-key-of-enough-characters"

Check = dict[str, Any]


def turntape(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """One `turntape smoke`, with no settings but the given ones."""
    return turntape_in(serving.ROOT, *arguments, **environ)


def turntape_in(cwd: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The same, in a directory where it may leave a file."""
    return subprocess.run(
        (sys.executable, "-m", "server", "smoke", *arguments),
        cwd=cwd,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(serving.ROOT),
            **measured.VARIABLES,
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def checks(done: subprocess.CompletedProcess[str]) -> dict[str, Check]:
    """The checks of `--json` by their name."""
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def statuses(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The status of each check."""
    return {name: check["status"] for name, check in checks(done).items()}


@pytest.mark.slow
def test_recorded_streams_pass() -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        done = turntape(server.url)
        ids = {record.get("request_id") for record in server.records()}
    assert done.returncode == 0, done.stdout
    first, *lines, empty, summary = done.stdout.splitlines()
    assert first == f"asking {server.url}"
    assert (empty, summary) == ("", "6 well, 2 skipped, 0 failed")
    heads = [line.split() for line in lines if not line.startswith(" ")]
    assert [head[1] for head in heads] == ["models", *smoke.TRIALS]
    assert {head[4] for head in heads if head[1].startswith(("chat", "responses"))} <= ids
    assert max(map(len, lines)) <= 100


@pytest.mark.slow
def test_the_server_here_is_asked_as_it_is_configured(tmp_path: Path) -> None:
    given = {"PROXY_API_KEY": KEY, "PROXY_PROTECT_MODELS": "true", "PROXY_SCRIPTED_SPEED": "0"}
    with serving.running("--worker", "scripted", data_dir=tmp_path, **given) as server:
        port = server.base.rpartition(":")[2]
        here = turntape("--json", PORT=port, PROXY_DATA_DIR=str(tmp_path), **given)
        keyless = turntape("--json", server.url, HOME=str(tmp_path))
        by_variable = turntape("--json", server.url, OPENAI_API_KEY=KEY, HOME=str(tmp_path))
        wrong = turntape("--json", server.url, "--key", "sk-wrong", HOME=str(tmp_path))
    assert here.returncode == by_variable.returncode == 0, here.stdout
    assert statuses(here)["wrong_key"] == statuses(by_variable)["wrong_key"] == "ok"
    assert KEY not in here.stdout + by_variable.stdout
    for refused, why in ((keyless, "a key is needed"), (wrong, "the key is refused")):
        assert refused.returncode == 1
        assert list(checks(refused)) == ["models"]
        assert checks(refused)["models"]["found"].startswith(why)


@pytest.mark.slow
def test_the_records_of_a_failure_are_kept(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with serving.running("--worker", "scripted", data_dir=tmp_path) as server:
        failing = ("--json", "--model", "provider-error-after-first-token", server.url)
        server.post({"model": "text-short", "messages": [{"role": "user", "content": "Hi"}]})
        done = turntape_in(tmp_path, *failing, PROXY_DATA_DIR=str(tmp_path))
        elsewhere = turntape_in(tmp_path, *failing, PROXY_DATA_DIR=str(tmp_path / "other"))
        (found,) = tmp_path.glob("smoke-*.jsonl")
        failed = [each for each in checks(done).values() if each["status"] == "fail"]
        wanted = {one for each in failed for one in each["request_ids"]}
    assert done.returncode == elsewhere.returncode == 1
    assert json.loads(done.stdout)["kept"] == str(found)
    assert json.loads(elsewhere.stdout)["kept"] is None
    assert found.stat().st_mode & 0o777 == 0o600
    records = [json.loads(line) for line in found.read_bytes().splitlines()]
    kept = {each["request_id"] for each in records if each["event"] == "opened"}
    assert wanted == kept
    assert sum(each["event"] == "terminal" for each in records) == len(kept)
    shown = serving.command("inspect", str(found), "--request", min(kept))
    assert "turn_failed" in shown.stdout


@pytest.mark.slow
def test_a_server_that_is_not_there_is_one_failure(tmp_path: Path) -> None:
    done = turntape(f"http://127.0.0.1:{serving.free_port()}/v1", HOME=str(tmp_path))
    assert done.returncode == 1
    assert "no answer: Connection refused" in done.stdout
    assert "0 well, 0 skipped, 1 failed, 7 not tried" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("ftp://host",), "URL: 'ftp://host' is no http(s) URL"),
        (("http://host:x/v1",), "URL: 'http://host:x/v1' is no http(s) URL"),
        (("http://host", "--timeout", "soon"), "--timeout: 'soon' is no number of seconds"),
        (("http://host", "--timeout", "0"), "--timeout: '0' is no number of seconds"),
        (("http://host", "--key", "a\nb"), "--key: takes visible ASCII"),
        (("--port", "x"), "--port: 'x' is not accepted"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(
    tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    done = turntape(*arguments, HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"turntape: {why}")


@pytest.mark.slow
def test_settings_of_another_server_do_not_matter_to_a_url(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        assert turntape(server.url, PORT="eighty").returncode == 0


@pytest.mark.codex
def test_the_real_codex_passes_with_its_calls() -> None:
    def answer(request: Any) -> replies.Stream:
        if "get_weather" in str(request.body.get("tools")) and not _has_result(request.body):
            call = replies.FunctionCall("call_1", "get_weather", ('{"city":', '"Paris"}'))
            return replies.Stream((call,))
        return replies.Stream((replies.Message(("Hello", " world")),))

    with Provider(answer) as provider, serving.codex(provider.url) as server:
        done = turntape("--json", server.url)
    found = statuses(done)
    assert done.returncode == 0, done.stdout
    assert found.pop("wrong_key") == "skipped"
    assert set(found.values()) == {"ok"}, done.stdout


def _has_result(body: dict[str, Any]) -> bool:
    return any(item.get("type") == "function_call_output" for item in body["input"])
