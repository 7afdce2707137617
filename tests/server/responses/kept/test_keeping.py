"""A response is kept before its client hears of its end, and given where it cannot be kept."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import responseswire
from tests.support.client.responsesclient import Client, LiveResponse
from tests.support.logs import fulldisk
from tests.support.process import machinetime, serving
from tests.support.providers import scripted, upstreams
from tests.support.providers.upstreams import DONE, LAST, STREAM_HEAD, chunk, counted, framed, sse

pytestmark = pytest.mark.slow


KILLS = 6
"""How often a server is killed in the moment in which it says that a response is whole."""


STREAMS = 8
"""How many it makes in that moment."""


HEL = STREAM_HEAD + framed(sse(chunk("Hel")))


REST = framed(sse(chunk("lo"), chunk(finish="stop"), counted(7, 2)) + DONE) + LAST
"""The two parts of what an upstream says."""


@pytest.fixture
def source() -> Iterator[upstreams.Hosted]:
    with upstreams.Hosted() as hosted:
        yield hosted


def test_a_response_is_kept_before_its_client_hears_of_its_end(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    settings = {"PROXY_UPSTREAM_URL": source.url, "PROXY_EVENT_LOG": "off"}
    told: list[responseswire.Event] = []
    for _ in range(KILLS):
        gate = scripted.Gate()
        prompt = source.prompt([HEL, gate, REST])
        with (
            serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server,
            contextlib.ExitStack() as stack,
        ):
            client = Client(server)
            streams = [stack.enter_context(client.creating(prompt)) for _ in range(STREAMS)]
            for each in streams:
                each.until(b'"delta":"Hel"')
            gate.open()
            told.append(streams[0].event("response.completed")["response"])
            server.process.send_signal(signal.SIGKILL)
            told += [response for each in streams[1:] for response in heard(each)]
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        kept = {each["id"]: Client(server).get(each["id"]).body for each in told}
    assert kept == {each["id"]: each for each in told}


def heard(live: LiveResponse) -> list[responseswire.Event]:
    """The whole response that a client of a killed server heard of, if it did."""
    with contextlib.suppress(AssertionError, ConnectionError):
        return [dict(live.event("response.completed")["response"])]
    return []


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(tmp_path: Path) -> None:
    assert fulldisk.in_namespace("full-disk-of-responses", tmp_path) == {
        "kept_when_there_was_room": 200,
        "stream": ["response.completed", 404],
        "whole": ["completed", 404],
        "background": [503, "store_unavailable"],
        "goes_on_from_what_was_kept": "completed",
        "begun_when_there_was_room": "completed",
        "said": ["response_not_kept", "response_store_failing"],
        "kept_again": 200,
    }


def test_the_head_of_an_answer_does_not_wait_for_the_store(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    prompt = source.prompt([HEL, "stall"])
    with (
        serving.running(
            "--worker", "upstream", data_dir=tmp_path, PROXY_UPSTREAM_URL=source.url
        ) as server,
        Client(server).creating(prompt) as live,
    ):
        live.until(b'"delta":"Hel"')
        assert Client(server).get(live.response_id).status == 404
    machinetime.until(source.request_for(prompt).left.is_set)
