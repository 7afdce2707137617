"""The page of failures says what happens: each is played again and compared."""

import itertools

import pytest

from tests.support.client import httpwire
from tests.tools import failurepage, failurescenes

PAGE = failurepage.PAGE.read_text(encoding="utf-8")


def changes(played: dict[str, str]) -> list[str]:
    return list(failurepage.difference(PAGE, failurepage.put(PAGE, played)))


def test_every_failure_before_an_upstream_is_on_the_page_as_it_happens() -> None:
    played = failurepage.play(failurescenes.upstream_failures())
    assert list(played) == list(failurescenes.UPSTREAM)
    assert changes(played) == [], "out of date: run `python -m tests.tools.failurepage`"


@pytest.mark.codex
def test_every_failure_on_codex_is_on_the_page_as_it_happens() -> None:
    played = failurepage.play(failurescenes.codex_failures())
    assert list(played) == list(failurescenes.CODEX)
    assert changes(played) == [], "out of date: run `python -m tests.tools.failurepage`"


def test_the_page_has_every_failure_once() -> None:
    everything = itertools.chain(failurescenes.UPSTREAM, failurescenes.CODEX)
    assert sorted(failurepage.names(PAGE)) == sorted(everything)


def test_what_is_no_longer_so_is_a_change() -> None:
    assert "+another thing" in changes({"client_left": "another thing"})


def test_what_differs_from_run_to_run_is_left_out() -> None:
    record = {"stream": "st_" + "0" * 24, "t": 1, "event": "terminal", "crc": "00000000"}
    shown = failurepage.folded(record)
    assert shown == '{"stream": "st_…", "t": …, "event": "terminal", "crc": …}'


def test_a_long_object_is_folded_between_its_members() -> None:
    shown = failurepage.folded({"a": "x" * 80, "b": "y" * 80, "c": 1})
    assert shown == f'{{"a": "{"x" * 80}",\n "b": "{"y" * 80}", "c": 1}}'


def test_of_a_long_stream_the_last_frames_are_shown() -> None:
    body = b"".join(b"data: %d\n\n" % number for number in range(4))
    answer = httpwire.Response(200, {"date": "now"}, body, whole=False)
    frames = ["HTTP/1.1 200", "…", "data: 2", "data: 3", "(the client left)"]
    assert failurepage.client_view(answer) == "\n\n".join(frames)
