"""`turntape play`: a recorded answer, to standard output or to a client of the API."""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from machines import events, outputs
from server.cli import command_line as cli
from tests.server.cli.log.formats import formatting
from tests.support.logs import corpus, logs
from tests.support.process import machinetime
from tests.tools import capture


def play(
    capfdbinary: pytest.CaptureFixture[bytes], *arguments: str | Path
) -> tuple[int, bytes, str]:
    """Exit status and output of the command."""
    status = cli.main(["play", *map(str, arguments)])
    sys.stdout.flush()
    said = capfdbinary.readouterr()
    return status, said.out, said.err.decode()


def transcript(name: str) -> tuple[str | Path, ...]:
    return name, "--log", capture.DIRECTORY / f"{name}.jsonl"


@pytest.mark.parametrize("name", ["text-short", "rate-limit", "responses-text"])
def test_the_clients_bytes_go_to_standard_output(
    capfdbinary: pytest.CaptureFixture[bytes], name: str
) -> None:
    status, out, err = play(capfdbinary, *transcript(name), "--speed", "0")
    assert (status, out, err) == (0, formatting.expected(name), "")


def test_they_come_at_the_recorded_speed(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """How much later than that depends on the machine; earlier would be wrong on any."""
    on_file = corpus.on_file("text-short")
    records = formatting.recorded("text-short").records
    recorded = (records[-2].t - records[0].t) / 1e6
    assert on_file.inputs
    for speed in (1, 4):
        began = time.monotonic()
        play(capfdbinary, *transcript("text-short"), "--speed", str(speed))
        assert time.monotonic() - began >= recorded / speed


def test_of_a_masked_log_it_is_said_what_is_played(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    formatting.masked(tmp_path)
    status, out, err = play(capfdbinary, "st_m", "--log", tmp_path, "--speed", "0")
    assert status == 0
    assert "the client's own bytes cannot be had" in err
    assert out.endswith(b"data: [DONE]\n\n")
    assert b'"content":"*****"' in out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("st_none",), 3, "nothing is called st_none"),
        (("wk_1",), 3, "wk_1: the life of a worker process has no answer"),
        (("wk_1", "--speed", "-1"), 2, "'-1' is not accepted; it takes a number of times"),
        (("wk_1", "--speed", "inf"), 2, "'inf' is not accepted"),
        (("wk_1", "--port", "65536"), 2, "it takes a whole number, 0 to 65535"),
        ((), 2, "required: ID"),
    ],
)
def test_what_cannot_be_played_is_said(
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    arguments: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    event_log = logs.open_log(tmp_path)
    life = event_log.stream("wk_1")
    life.append(events.WorkerChanged("codex", "started", {}), outputs.Step("ready", ()))
    event_log.close()
    found = play(capfdbinary, *arguments, "--log", tmp_path)
    assert found[:2] == (status, b"")
    assert said in found[2]


def test_a_stream_with_a_hole_is_played_up_to_it(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "log.jsonl"
    lines = (capture.DIRECTORY / "text-short.jsonl").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:13], *lines[14:]]))
    status, out, err = play(capfdbinary, "text-short", "--log", path, "--speed", "0")
    assert status == 2
    assert "record 13 is missing" in err
    assert formatting.expected("text-short").startswith(out)


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a recorded answer that is served."""
    command = (sys.executable, "-m", "server", "play", *map(str, transcript(request.param)))
    child = subprocess.Popen(
        (*command, "--port", "0", "--speed", "0"),
        stdout=subprocess.PIPE,
        text=True,
        env=logs.child_environment(),
    )
    assert child.stdout is not None
    yield child.stdout.readline().split()[-1]
    child.terminate()
    child.communicate(timeout=machinetime.HANG_S)
    assert child.returncode == 0


@pytest.mark.parametrize("served", ["text-short"], indirect=True)
def test_a_client_of_the_api_gets_the_same_answer(served: str) -> None:
    with openai.OpenAI(base_url=served, api_key="unused", max_retries=0) as client:
        for _ in range(2):
            chunks = client.chat.completions.create(model="any", messages=[], stream=True)
            text = "".join(each.choices[0].delta.content or "" for each in chunks)
            deltas = corpus.on_file("text-short").inputs
            said = (each.text for each in deltas if isinstance(each, events.TextDelta))
            assert text == "".join(said) != ""


@pytest.mark.parametrize("served", ["rate-limit"], indirect=True)
def test_a_failure_is_one_for_the_client_too(served: str) -> None:
    with (
        openai.OpenAI(base_url=served, api_key="unused", max_retries=0) as client,
        pytest.raises(openai.RateLimitError),
    ):
        client.chat.completions.create(model="any", messages=[], stream=True)


@pytest.mark.parametrize("served", ["client-gone"], indirect=True)
def test_an_answer_that_was_cut_is_cut_again(served: str) -> None:
    address, _, path = served.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=machinetime.HANG_S)
    connection.request("POST", f"/{path}/chat/completions", "{}")
    with pytest.raises(http.client.IncompleteRead) as cut:
        connection.getresponse().read()
    assert cut.value.partial == formatting.expected("client-gone")
    connection.close()


@pytest.mark.parametrize("served", ["text-short"], indirect=True)
@pytest.mark.parametrize("wrong", ["token", "host"])
def test_only_who_knows_the_url_is_answered_under_a_name_of_this_machine(
    served: str, wrong: str
) -> None:
    address, _, path = served.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=machinetime.HANG_S)
    host = "evil.example" if wrong == "host" else address
    path = path if wrong == "host" else "x" * len(path.split("/")[0]) + "/v1"
    connection.request("POST", f"/{path}/chat/completions", "{}", {"host": host})
    response = connection.getresponse()
    assert response.status == (404 if wrong == "token" else 403)
    assert b"data:" not in response.read()
    connection.close()
