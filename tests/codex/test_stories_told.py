"""From the time alone to the cause: 300 good streams and 20 bad ones of ten kinds.

On the real Codex binary, and a masked log, as a server keeps by default. Somebody says when an
answer went wrong and nothing else; the first screen of `turntape show` has the cause.
"""

import concurrent.futures
import contextlib
import datetime
import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from engine.log.find import catalog
from engine.log.summary import rows
from tests.support.client import chatclient, httpclient
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider, Request
from tests.support.providers.replies import (
    Answer,
    Cut,
    Failed,
    Held,
    HttpError,
    Message,
    Stream,
)
from tests.support.providers.scripted import Gate

pytestmark = [pytest.mark.codex, pytest.mark.slow]

GOOD: Final = 300
"""Streams that nothing goes wrong with."""

EACH: Final = 2
"""Bad streams of each kind."""

ROWS, COLUMNS = 24, 80
"""The first screen."""

LARGE: Final = "x" * 40_000
"""A text that is over the limit of the body."""

REFUSAL: Final = {"type": "invalid_request_error", "code": "invalid_image", "message": "No."}


class Kind(NamedTuple):
    """A way to go wrong.

    Attributes:
        answers: makes what the provider answers.
        told: words that the first screen must have.
        ends: what the client does with its answer; returns when it was over.
    """

    answers: Callable[[], Answer]
    told: tuple[str, ...]
    ends: Callable[["Played", str], None]


class Played(NamedTuple):
    """The server, and when each bad stream was seen to go wrong."""

    server: serving.Serve
    seen: dict[str, list[float]]


def wait(played: Played, text: str) -> None:
    """Read the answer to its end."""
    with contextlib.suppress(httpclient.CutOff):
        chatclient.ask(played.server, text, stream=True)


def leave(played: Played, text: str) -> None:
    """Close the connection behind the first words."""
    with chatclient.LiveChat(played.server, text, stream=True) as live:
        live.until(b"Hel")


def kill(played: Played, text: str) -> None:
    """Kill Codex behind the first words, and wait for what the client is told."""
    with chatclient.LiveChat(played.server, text, stream=True) as live:
        live.until(b"Hel")
        lines = [each for each in played.server.lines if "pid" in each]
        os.kill(lines[-1]["pid"], signal.SIGKILL)
        live.answer()
    played.server.wait_ready()


def ask_for_too_much(played: Played, text: str) -> None:
    """Send a body over the limit."""
    assert chatclient.ask(played.server, text + LARGE).status == 413


def said(*pieces: str | Cut | Gate) -> Stream:
    """An answer of these pieces."""
    return Stream((Message(pieces),))


KINDS: Final = {
    "provider_500": Kind(
        lambda: HttpError(500),
        ("The model's provider failed to answer", "3 attempts were made", "502"),
        wait,
    ),
    "connection_cut": Kind(
        lambda: said("Hel", "lo", Cut()),
        ("connection broke off before the answer was complete", "by the provider"),
        wait,
    ),
    "request_refused": Kind(
        lambda: HttpError(400, {"error": REFUSAL}),
        ("The provider refused the request itself, with `invalid_image`", "400", "by the client"),
        wait,
    ),
    "quota_spent": Kind(
        lambda: HttpError(429, {"error": {"type": "usage_limit_reached", "message": "No."}}),
        ("at the provider", "429", "by the provider"),
        wait,
    ),
    "prompt_too_long": Kind(
        lambda: Stream((), Failed("context_length_exceeded")),
        ("The prompt is too long for the model", "by the client"),
        wait,
    ),
    "stalled": Kind(
        lambda: said("Hel", "lo", Gate()),
        ("The model stopped sending in the middle", "it was silent for", "nothing came"),
        wait,
    ),
    "never_began": Kind(
        lambda: Held(Gate()),
        ("no output within the time limit", "PROXY_FIRST_CHUNK_TIMEOUT_MS"),
        wait,
    ),
    "client_left": Kind(
        lambda: said("Hel", "lo", Gate()),
        ("The client closed its connection", "while its answer was coming", "by the client"),
        leave,
    ),
    "too_large": Kind(
        lambda: said("never asked"),
        ("The request is too large", "PROXY_MAX_BODY_BYTES", "413"),
        ask_for_too_much,
    ),
    "worker_killed": Kind(
        lambda: said("Hel", "lo", Gate()),
        ("The worker's process ended in the middle", "was killed by signal 9", "by the worker"),
        kill,
    ),
}
"""The ten kinds; the last one takes other answers with it, so it is played alone."""

ALONE: Final = "worker_killed"


def script(request: Request) -> Answer:
    """The answer to `KIND NUMBER`, and a short one to everything else."""
    name = request.prompt.partition(" ")[0]
    return KINDS[name].answers() if name in KINDS else said("Hello", " world")


def good(played: Played, number: int) -> None:
    answer = chatclient.ask(played.server, f"good {number}", stream=True)
    assert (answer.status, answer.text) == (200, "Hello world"), answer


def play(played: Played, name: str, number: int) -> None:
    """Have one stream go wrong, and note when that was seen."""
    KINDS[name].ends(played, f"{name} {number}")
    played.seen[name].append(time.time())
    machinetime.until(lambda: len(bad_rows(played)) == sum(map(len, played.seen.values())))


def bad_rows(played: Played) -> list[rows.Summary]:
    """What did not end well, as the list of a log has it."""
    found = catalog.Catalog(played.server.log_dir).ended_rows()
    return [row for row in found if row.kind != "completed" and not row.is_life]


def failed_at(played: Played, seen: float) -> str:
    """Id of the stream that `turntape log` lists as failed about then; of several the nearest."""
    moment = datetime.datetime.fromtimestamp(seen, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    span = ("--around", moment, "--within", "10s", "--utc")
    listed = serving.command("log", str(played.server.log_dir), *span, "--failed", "--json")
    assert listed.returncode == 0, listed.stderr
    found: list[dict[str, Any]] = [json.loads(line) for line in listed.stdout.splitlines()]
    nearest = min(found, key=lambda row: abs(row["t"] - seen * 1e6))
    return str(nearest["stream"])


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    settings = {
        "PROXY_EVENT_LOG": "masked",
        "PROXY_STREAM_IDLE_TIMEOUT_MS": "1500",
        "PROXY_FIRST_CHUNK_TIMEOUT_MS": "6000",
        "PROXY_MAX_BODY_BYTES": "20000",
        "WORKER_BACKOFF_INITIAL_MS": "50",
    }
    with (
        Provider(script) as provider,
        serving.codex(provider.url, **settings) as server,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        played = Played(server, {name: [] for name in KINDS})
        asked = [pool.submit(good, played, number) for number in range(GOOD)]
        for number, name in itertools.product(range(EACH), KINDS):
            if name != ALONE:
                play(played, name, number)
        for each in asked:
            each.result()
        for number in range(EACH):
            play(played, ALONE, number)
        yield played


@pytest.fixture(autouse=True)
def a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has commands print what fits a terminal."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))


@pytest.mark.long
@pytest.mark.parametrize("number", range(EACH))
@pytest.mark.parametrize("name", KINDS)
def test_the_first_screen_has_the_cause(played: Played, name: str, number: int) -> None:
    found = failed_at(played, played.seen[name][number])
    shown = serving.command("show", "--log", str(played.server.log_dir), found)
    assert (shown.returncode, shown.stderr) == (0, "")
    screen = shown.stdout.splitlines()[:ROWS]
    assert max(map(len, screen)) <= COLUMNS
    text = " ".join(" ".join(screen).split())
    for words in KINDS[name].told:
        assert words in text, "\n".join(screen)


def test_all_others_were_whole(played: Played) -> None:
    found = list(catalog.Catalog(played.server.log_dir).ended_rows())
    assert sum(row.kind == "completed" for row in found) == GOOD
    assert len(bad_rows(played)) == EACH * len(KINDS)


def test_a_bad_one_is_compared_with_the_nearest_good_one(played: Played) -> None:
    log: Path = played.server.log_dir
    shown = serving.command(
        "diff", "--log", str(log), failed_at(played, played.seen["stalled"][0])
    )
    assert shown.returncode == 1
    text = " ".join(shown.stdout.split())
    assert "The good one was chosen" in text
    assert "longest silence, worker" in text
    assert max(map(len, shown.stdout.splitlines())) <= COLUMNS
