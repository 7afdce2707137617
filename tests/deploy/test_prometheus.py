"""A real Prometheus, configured as `docs/metrics.md` shows it, knows what the log says."""

import collections
import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.server.plain import BODY, KEY
from tests.support.client import httpclient
from tests.support.process import machinetime, prometheus, readme, serving
from tests.support.process.prometheus import Samples
from tests.support.providers import upstreams
from tests.support.providers.upstreams import chunk, counted, framed, sse

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(prometheus.PROGRAM is None, reason="needs Debian's prometheus on PATH"),
]

PAGE: Final = serving.ROOT / "docs" / "metrics.md"
TOKEN: Final = "scrape-1234567890abcdef"
TARGET: Final = "127.0.0.1:11435"
TOKEN_FILE: Final = "/etc/prometheus/turntape-token"

CLOSED: Final = {
    "PROXY_API_KEY": KEY,
    "PROXY_METRICS_TOKEN": TOKEN,
    "PROXY_METRICS_ALLOW_LOOPBACK": "false",
}
"""A server that only the token opens."""

Counts = collections.Counter[tuple[str, ...]]

ANSWERS: Final[tuple[upstreams.Answer, ...]] = (
    upstreams.PLAIN,
    upstreams.stream(chunk("Hello"), chunk(finish="length"), counted(9, 4)),
    upstreams.stream(),
    [upstreams.STREAM_HEAD + framed(sse(chunk("Hello"))), "close"],
    upstreams.response(500, {"error": {"message": "No.", "code": "server_error"}}),
)


@contextlib.contextmanager
def scraping(server: serving.Serve, directory: Path) -> Iterator[str]:
    """The URL of a Prometheus that scrapes a server five times a second."""
    (example,) = readme.examples(PAGE, "yaml")
    (directory / "token").write_text(TOKEN)
    for shown, real in (
        (TARGET, server.base.removeprefix("http://")),
        (TOKEN_FILE, str(directory / "token")),
    ):
        assert example.count(shown) == 1
        example = example.replace(shown, real)
    often = "global: { scrape_interval: 200ms, scrape_timeout: 200ms }\n"
    with prometheus.running(often + example) as url:
        yield url


def play(stage: upstreams.Stage) -> None:
    """Ask for every answer, streamed and not, and for what is refused."""
    headers = {"authorization": f"Bearer {KEY}"}
    for answer in ANSWERS:
        for stream in (True, False):
            messages = [{"role": "user", "content": stage.upstream.prompt(answer)}]
            body = {"model": "upstream-model", "messages": messages, "stream": stream}
            url = stage.server.url
            with httpclient.begin(url, "POST", "/chat/completions", body, headers) as asked:
                asked.response_or_part()
    httpclient.ask(stage.server.url, "POST", "/chat/completions", BODY)  # without the key
    machinetime.until(lambda: len(stage.server.terminals()) % (2 * len(ANSWERS)) == 0)


def agree(found: Callable[[], Samples], expected: Samples) -> bool:
    """Whether Prometheus knows by now what it should."""
    return found() == expected


def test_promql_says_what_the_log_says(tmp_path: Path) -> None:
    with (
        upstreams.stage([upstreams.PLAIN], **CLOSED) as stage,
        scraping(stage.server, tmp_path) as url,
    ):
        play(stage)
        records = [each for each in stage.server.records() if each["event"] == "terminal"]
        kinds: Counts = collections.Counter((each["kind"],) for each in records)
        codes: Counts = collections.Counter((each["code"],) for each in records if "code" in each)
        codes["invalid_api_key",] += 1
        tokens = sum(each.get("usage", {}).get("prompt_tokens", 0) for each in records)
        asked: dict[str, tuple[tuple[str, ...], Samples]] = {
            "sum by (kind) (turntape_streams_total)": (("kind",), kinds),
            "sum by (code) (turntape_errors_total)": (("code",), codes),
            'sum(turntape_tokens_total{type="input"})': ((), {("",): tokens}),
            "sum(turntape_stream_duration_seconds_count)": ((), {("",): len(records)}),
        }
        for expression, (labels, expected) in asked.items():
            found = functools.partial(prometheus.query, url, expression, *labels)
            machinetime.until(functools.partial(agree, found, expected))
        assert set(kinds) == {("completed",), ("empty",), ("upstream_error",)}
