"""SIGHUP: the configuration is read again, whole or not at all, by a real process."""

import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.config import keys_file
from tests.server import keyed, plain
from tests.support.client import chatclient
from tests.support.client.responsesclient import Client
from tests.support.process import heldloop, machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import STREAM_HEAD, chunk, framed, sse

pytestmark = pytest.mark.usefixtures("hangup_by_default")

Line = dict[str, Any]


class Deployment:
    """A server, and the files that its operator edits."""

    def __init__(self, directory: Path, url: str) -> None:
        self.env_file = directory / "env"
        self.keys_file = directory / "keys.json"
        self.models_file = directory / "models.toml"
        self.upstream = url
        self.env()
        self.models("")
        keyed.write(self.keys_file, alice=keyed.held("alice"), bob=keyed.held("bob"))

    def env(self, **given: str) -> None:
        """Write the env file."""
        settings = {
            "PROXY_UPSTREAM_URL": self.upstream,
            "PROXY_API_KEYS_FILE": str(self.keys_file),
            "PROXY_MODELS_FILE": str(self.models_file),
            **given,
        }
        self.env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def models(self, rules: str) -> None:
        """Write the models file."""
        self.models_file.write_text(f"[models]\n{rules}")

    def keys(self, **keys: keys_file.Key) -> None:
        """Write the keys file."""
        keyed.write(self.keys_file, **keys)

    @contextlib.contextmanager
    def running(self) -> Iterator["Running"]:
        """Its server."""
        arguments = ("--worker", "upstream", "--env-file", str(self.env_file))
        with serving.running(*arguments) as server:
            yield Running(server)


class Running:
    """A server that is told to read its configuration again."""

    def __init__(self, server: serving.Serve) -> None:
        self.server = server
        self._seen = 0

    def reload(self) -> list[Line]:
        """Send SIGHUP, and wait for the line with which the reload ends; all its lines."""
        begin = len(self.server.lines)
        self.server.process.send_signal(signal.SIGHUP)
        machinetime.until(lambda: any(map(ends_reload, self.server.lines[begin:])))
        return [line for line in self.server.lines[begin:] if line.get("component") == "config"]

    def status(self, name: str, generation: int = 1, model: str = "m") -> int:
        """What the holder of a key is answered."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        return plain.chat(self.server, body, **keyed.bearer(name, generation)).status


def ends_reload(line: Line) -> bool:
    return line.get("event") in ("config_reloaded", "config_reload_failed")


@pytest.fixture
def source() -> Iterator[upstreams.Hosted]:
    with upstreams.Hosted() as hosted:
        yield hosted


@pytest.fixture
def deployment(tmp_path: Path, source: upstreams.Hosted) -> Deployment:
    return Deployment(tmp_path, source.url)


def test_a_revoked_key_is_refused_at_once_and_its_stream_goes_on(
    deployment: Deployment, source: upstreams.Hosted
) -> None:
    gate = scripted.Gate()
    rest = [framed(sse(chunk(" world"), chunk(finish="stop"), "[DONE]")), upstreams.LAST]
    prompt = source.prompt([STREAM_HEAD, framed(sse(chunk("Hello"))), gate, *rest])
    with deployment.running() as running:
        live = chatclient.LiveChat(running.server, prompt, keyed.bearer("alice"), stream=True)
        live.until(b"Hello")
        deployment.keys(bob=keyed.held("bob"), carol=keyed.held("carol", models=["m"]))
        lines = running.reload()
        assert [running.status(name) for name in ("alice", "bob", "carol")] == [401, 200, 200]
        gate.open()
        answer = live.answer()
        assert (answer.status, answer.text) == (200, "Hello world")
        assert answer.outline[-1] == "done"
    told = {line["name"]: line for line in lines if line["event"] == "config_changed"}
    assert set(told) == {"keys.alice", "keys.carol"}
    assert told["keys.carol"]["after"] == "models m"
    assert "after" not in told["keys.alice"] or told["keys.alice"]["after"] is None
    assert lines[-1]["event"] == "config_reloaded"
    assert sorted(lines[-1]["changed"]) == ["keys.alice", "keys.carol"]


def test_a_replaced_key_takes_over_while_the_old_one_is_kept(deployment: Deployment) -> None:
    with deployment.running() as running:
        both = keys_file.Key(hashes=[*keyed.held("alice", 2).hashes, *keyed.held("alice").hashes])
        deployment.keys(alice=both)
        running.reload()
        assert [running.status("alice", generation) for generation in (1, 2)] == [200, 200]
        deployment.keys(alice=keyed.held("alice", 2))
        lines = running.reload()
        assert [running.status("alice", generation) for generation in (1, 2)] == [401, 200]
    assert not any(keyed.secret("alice", generation) in str(lines) for generation in (1, 2))
    assert "sha256:" not in str(lines)


def test_a_stream_keeps_the_limits_that_it_began_with(
    deployment: Deployment, source: upstreams.Hosted
) -> None:
    gate = scripted.Gate()
    prompt = source.prompt(
        [
            STREAM_HEAD,
            framed(sse(chunk("Hello"))),
            gate,
            framed(sse(chunk(finish="stop"), "[DONE]")),
        ]
    )
    deployment.env(PROXY_STREAM_IDLE_TIMEOUT_MS="0", PROXY_SSE_KEEPALIVE_MS="0")
    with deployment.running() as running:
        live = chatclient.LiveChat(running.server, prompt, keyed.bearer("alice"), stream=True)
        live.until(b"Hello")
        deployment.env(PROXY_STREAM_IDLE_TIMEOUT_MS="50", PROXY_SSE_KEEPALIVE_MS="0")
        running.reload()
        silent = source.prompt([STREAM_HEAD, framed(sse(chunk("Hi"))), scripted.Gate(), "close"])
        with chatclient.LiveChat(
            running.server, silent, keyed.bearer("alice"), stream=True
        ) as other:
            assert other.answer().error["code"] == "idle_timeout"
        gate.open()
        assert live.answer().finish_reason == "stop"


def pipe(path: Path) -> None:
    """Put a pipe in a file's place: to open it waits for a writer, and there is none."""
    path.unlink()
    os.mkfifo(path)


BROKEN: dict[str, Callable[[Deployment], object]] = {
    "keys": lambda each: each.keys_file.write_text("{"),
    "mode of keys": lambda each: each.keys_file.chmod(0o666),
    "no keys": lambda each: each.keys_file.unlink(),
    "models": lambda each: each.models("x = 1"),
    "models of no worker": lambda each: each.models("[models.a]\nworker = 'scripted'\n"),
    "fallback to nowhere": lambda each: each.models("[models.a]\nfallback = 'a'\n"),
    "env file": lambda each: each.env(PROXY_TIMEOUT_MS="soon"),
    "no env file": lambda each: each.env_file.unlink(),
    "a pipe for an env file": lambda each: pipe(each.env_file),
    "a pipe for a models file": lambda each: pipe(each.models_file),
    "an env file without its end": lambda each: each.env(PROXY_API_KEYS_FILE=""),
    "half an address": lambda each: each.env(PROXY_UPSTREAM_URL="ftp://x"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_changes_nothing(deployment: Deployment, broken: str) -> None:
    with deployment.running() as running:
        # Each change is right by itself; with it comes one that is not.
        deployment.keys(carol=keyed.held("carol"))
        deployment.models("[models.mine]\nmodel = 'm'\n")
        deployment.env(PROXY_MAX_CHAT_CHOICES="1")
        BROKEN[broken](deployment)
        lines = running.reload()
        assert lines[-1]["event"] == "config_reload_failed"
        assert lines[-1]["problem"]
        assert running.status("alice") == 200
        assert running.status("carol") == 401
        many = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "n": 2}
        assert plain.chat(running.server, many, **keyed.bearer("alice")).status == 200
        scrape = plain.ask(running.server, "GET", "/metrics").body.decode()
        assert "turntape_config_reload_failures_total 1.0" in scrape
        assert "turntape_config_last_reload_successful 0.0" in scrape
        for path in (deployment.env_file, deployment.models_file):
            path.unlink(missing_ok=True)
        deployment.env()
        deployment.models("[models.mine]\nmodel = 'm'\n")
        deployment.keys(carol=keyed.held("carol"))
        assert running.reload()[-1]["event"] == "config_reloaded"
        assert [running.status("alice"), running.status("carol")] == [401, 200]
        scrape = plain.ask(running.server, "GET", "/metrics").body.decode()
        assert "turntape_config_reloads_total 1.0" in scrape
        assert "turntape_config_last_reload_successful 1.0" in scrape


def test_what_needs_a_restart_is_named_and_waits(deployment: Deployment) -> None:
    with deployment.running() as running:
        deployment.env(
            PROXY_MAX_BODY_BYTES="100", PROXY_PROTECT_MODELS="true", PROXY_TEST_ENDPOINTS="true"
        )
        lines = running.reload()
        assert running.status("alice") == 200  # of more than 100 bytes
        assert plain.ask(running.server, "GET", "/v1/models").status == 401
        assert plain.ask(running.server, "GET", "/__test/conc").status == 200
        told = {line["name"]: line for line in lines if line["event"] == "config_changed"}
        assert told["PROXY_MAX_BODY_BYTES"]["effect"] == "restart"
        assert told["PROXY_MAX_BODY_BYTES"]["before"] == "16 MiB"
        assert told["PROXY_PROTECT_MODELS"]["effect"] == "now"
        assert lines[-1]["needs_restart"] == ["PROXY_MAX_BODY_BYTES"]
        assert running.reload()[-1]["needs_restart"] == ["PROXY_MAX_BODY_BYTES"]


def test_a_server_that_listens_far_never_loses_its_keys(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    env = tmp_path / "env"
    with_key = f"PROXY_UPSTREAM_URL={source.url}\nPROXY_HOST=0.0.0.0\nPROXY_API_KEY={plain.KEY}\n"
    env.write_text(with_key)
    with serving.running("--worker", "upstream", "--env-file", str(env)) as server:
        running = Running(server)
        env.write_text(f"PROXY_UPSTREAM_URL={source.url}\n")
        lines = running.reload()
        assert lines[-1]["event"] == "config_reload_failed"
        assert lines[-1]["name"] == "PROXY_API_KEY"
        assert lines[-1]["problem"] == "must be set to listen on '0.0.0.0'"
        assert plain.chat(server).status == 401
        other = "sk-client-0987654321"
        env.write_text(with_key.replace(plain.KEY, other))
        lines = running.reload()
        assert other not in str(lines)
        assert plain.chat(server, authorization=f"Bearer {plain.KEY}").status == 401
        assert plain.chat(server, authorization=f"Bearer {other}").status == 200


def test_models_come_change_and_go(deployment: Deployment) -> None:
    deployment.models("[models.mine]\nmodel = 'm'\n")
    with deployment.running() as running:
        deployment.models("[models.yours]\nmodel = 'm'\nfirst_chunk_timeout_ms = 5000\n")
        lines = running.reload()
        listed = plain.ask(running.server, "GET", "/v1/models").body
        assert b'"yours"' in listed
        assert b'"mine"' not in listed
        told = {line["name"]: line for line in lines if line["event"] == "config_changed"}
        assert told["models.yours"]["after"] == "upstream: m, first chunk 5000 ms"
        assert "models.mine" in told


def test_what_is_used_of_a_limit_outlives_a_reload(deployment: Deployment) -> None:
    deployment.keys(alice=keyed.held("alice", requests=2, window_s=3600))
    with deployment.running() as running:
        assert [running.status("alice") for _ in range(3)] == [200, 200, 429]
        deployment.keys(alice=keyed.held("alice", 2, requests=3, window_s=3600))
        running.reload()
        assert [running.status("alice", 2) for _ in range(2)] == [200, 429]


def test_many_hangups_are_no_more_than_the_last_state(deployment: Deployment) -> None:
    with deployment.running() as running:
        for number in range(20):
            deployment.keys(**{f"k{number}": keyed.held(f"k{number}")})
            running.server.process.send_signal(signal.SIGHUP)
        machinetime.until(lambda: running.status("k19") == 200)
        assert running.status("k18") == 401


def test_kept_responses_belong_to_the_name_of_a_key(deployment: Deployment) -> None:
    with deployment.running() as running:
        first = Client(running.server, keyed.secret("alice")).made("one")
        deployment.keys(alice=keyed.held("alice", 2), bob=keyed.held("bob"))
        running.reload()
        rotated = Client(running.server, keyed.secret("alice", 2))
        assert rotated.get(first["id"]).body == first
        assert rotated.made("two", previous_response_id=first["id"])
        assert Client(running.server, keyed.secret("bob")).get(first["id"]).status == 404


def test_where_nothing_has_changed_a_reload_changes_nothing(tmp_path: Path) -> None:
    with serving.running("--worker", "scripted", data_dir=tmp_path) as server:
        lines = Running(server).reload()
        assert lines[-1]["event"] == "config_reloaded"
        assert (lines[-1]["changed"], lines[-1]["needs_restart"]) == ([], [])
        assert server.stop() == 0


def test_thousands_of_changes_hold_up_no_stream(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keyed.write(keys, alice=keyed.held("alice"))
    variables = {"PROXY_API_KEYS_FILE": str(keys), "PROXY_DATA_DIR": str(tmp_path / "data")}
    with heldloop.running("--worker", "scripted", **variables) as server:
        running = Running(server)
        generations = itertools.count()

        def replace_all() -> None:
            each = f"k{next(generations)}-"
            keyed.write(keys, **{f"{each}{at}": keyed.held(f"{each}{at}") for at in range(10_000)})
            lines = running.reload()
            changed = [line for line in lines if line["event"] == "config_changed"]
            assert len(changed) == len(lines) - 1 > 10_000
            assert lines[-1]["changed"][-1] == f"and {len(changed) - 32} more"

        longest = server.least_of(replace_all)
        assert longest["longest_ms"] < heldloop.LIMIT_MS, longest
