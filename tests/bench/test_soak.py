"""A short soak of the real server, and what its client and its verdict find wrong."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import compare, logtail, pacing, sampling, soak, soakclient
from engine.log.read import segments

SHORT = soak.Options(
    worker="upstream", streams=8, rate=100.0, seconds=4.0, chunks=40, slope_limit=1e6
)
"""Some dozens of streams. Memory is not judged: nothing is warm after seconds."""


@pytest.mark.long(usual=("upstream",))
@pytest.mark.parametrize("worker", ["codex", "upstream"])
def test_a_short_soak_finds_nothing(worker: str) -> None:
    report = soak.run(msgspec.structs.replace(SHORT, worker=worker))
    assert soak.faults(report) == []
    outcomes = list(report.asked.values())
    whole, left = outcomes.count("whole"), outcomes.count("left")
    assert whole + left == len(outcomes)
    assert whole >= 2 * SHORT.streams
    assert left > 0
    assert report.chunks >= whole * SHORT.chunks
    assert report.log_bytes > 100 * report.chunks
    assert len(report.samples) >= 1
    assert min(report.answers_us) > 0
    assert soak.table(report).count("\n") == len(soak.figures(report)) + 1


def chunk(delta: dict[str, Any], finish: str | None = None, **members: Any) -> bytes:
    """A frame of a stream."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
        **members,
    }
    return b"data: %b\n\n" % json.dumps(body).encode()


ROLE = chunk({"role": "assistant", "content": ""})
SAID = [chunk({"content": pacing.stamp(number)}) for number in range(3)]
FINISH = chunk({}, "stop")
USAGE = chunk({}, choices=[], usage={})
DONE = b"data: [DONE]\n\n"
WHOLE = [ROLE, *SAID, FINISH, USAGE, DONE]


@pytest.mark.parametrize("cut", [1, 7, 10**6])
def test_a_whole_stream_is_read_however_it_is_cut(cut: int) -> None:
    body = b"".join([ROLE, b": a heartbeat\n\n", *SAID, FINISH, USAGE, DONE])
    frames = soakclient.Frames(3)
    for at in range(0, len(body), cut):
        assert not frames.is_whole
        frames.feed(body[at : at + cut])
    assert frames.is_whole
    assert frames.counted == len(frames.delays) == 3


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([ROLE, SAID[0], SAID[2]], "chunk '2 ' where 1 was due"),
        ([ROLE, SAID[0], SAID[0]], "chunk '0 ' where 1 was due"),
        ([ROLE, SAID[1], SAID[0]], "chunk '1 ' where 0 was due"),
        ([ROLE, *SAID[:2], FINISH], "the end after 2 chunks of 3"),
        ([ROLE, *SAID, SAID[0]], "chunk '0 ' where 3 was due"),
        ([ROLE, ROLE], "role after role"),
        ([ROLE, *SAID, DONE], "done after content"),
        ([ROLE, *SAID, FINISH, FINISH], "finish after finish"),
        ([*WHOLE, DONE], "done after done"),
        ([ROLE, SAID[0], SAID[1].replace(b"chatcmpl-1", b"chatcmpl-2")], "a frame of chatcmpl-2"),
        ([ROLE, b'data: {"error":{}}\n\n'], "unknown field `error`"),
        ([ROLE, b"event: x\n\n"], "no frame"),
    ],
)
def test_what_is_not_a_whole_stream_is_found(said: list[bytes], why: str) -> None:
    frames = soakclient.Frames(3)
    with pytest.raises(soakclient.Wrong, match=why):
        frames.feed(b"".join(said))


def test_a_slope_is_how_much_y_grows_with_x() -> None:
    assert sampling.slope([(0, 5), (1, 7), (2, 9)]) == 2.0
    assert sampling.slope([(0, 5), (1, 5), (2, 5)]) == 0.0
    assert sampling.slope([(0, 0), (1, 3), (2, 0)]) == 0.0
    assert sampling.slope([]) == 0.0


def sample(minute: float, rss_kib: int = 1000, fds: int = 20, threads: int = 4) -> sampling.Sample:
    """A sample of a server."""
    second = minute * 60
    return sampling.Sample(
        second=second, rss_kib=rss_kib, threads=threads, fds=fds, cpu=second / 4
    )


def report(**members: Any) -> soak.Report:
    """The report of a run in which all was well, but for some members."""
    values: dict[str, Any] = {
        "options": soak.Options(worker="codex", slope_limit=64.0),
        "samples": [sample(minute) for minute in range(10)],
        "idle": (sample(0, fds=9), sample(10, fds=9)),
        "asked": {"a": "whole", "b": "left"},
        "ends": {"a": ["completed"], "b": ["client_gone"]},
        "wrong": [],
        "chunks": 1200,
        "chunk_rate": 20.0,
        "answers_us": [1000, 2000],
        "lateness_us": [10, 20],
        "loop_lag": sampling.Lag(3.0, 9.5),
        "delays_ms": {1: 90, 7: 10},
        "client_cpu": 0.1,
        "log_bytes": 1 << 20,
        "machine_load": 0.5,
    }
    return soak.Report(**values | members)


def test_a_run_in_which_all_is_well_has_no_fault() -> None:
    assert soak.faults(report()) == []


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"wrong": ["a: cut after 3 chunks"]}, "a: cut after 3 chunks"),
        ({"ends": {"a": ["completed"]}}, "b: left for its client, [] in the log"),
        (
            {"ends": {"a": ["completed"] * 2, "b": ["client_gone"]}},
            "a: whole for its client, ['completed', 'completed'] in the log",
        ),
        (
            {"ends": {"a": ["completed"], "b": ["completed"]}},
            "b: left for its client, ['completed'] in the log",
        ),
        ({"asked": {"a": "whole"}}, "b: in the log, and nobody asked"),
        (
            {"samples": [sample(minute, 1000 + 65 * minute) for minute in range(10)]},
            "memory grows by 65.0 KiB a minute",
        ),
        (
            {"samples": [sample(minute, fds=20 + 2 * minute) for minute in range(10)]},
            "fds go from 24 to 34",
        ),
        (
            {"idle": (sample(0, threads=4), sample(10, threads=13))},
            "threads do not go: 13 are left",
        ),
    ],
)
def test_each_fault_of_a_run_is_told(members: dict[str, Any], fault: str) -> None:
    assert soak.faults(report(**members)) == [fault]


def test_the_log_is_followed_while_its_segments_come_and_go(tmp_path: Path) -> None:
    opened = b'{"stream":"%b","event":"opened","request_id":"req-%b"}\n'
    ended = b'{"stream":"%b","event":"terminal","kind":"%b"}\n'
    first, second = (tmp_path / segments.segment_name(number) for number in (1, 2))
    tail = logtail.LogTail(tmp_path)
    first.write_bytes(opened % (b"a", b"a") + (opened % (b"b", b"b"))[:-1])
    tail.read()
    assert tail.ends == {"req-a": []}
    with first.open("ab") as segment:
        segment.write(b"\n" + ended % (b"a", b"completed"))
    tail.read()
    first.unlink()
    second.write_bytes(ended % (b"b", b"client_gone") + ended % (b"wk_1", b"shutdown"))
    tail.read()
    assert tail.ends == {"req-a": ["completed"], "req-b": ["client_gone"]}


def test_the_page_has_a_place_for_the_results() -> None:
    page = compare.PAGE.read_text("utf-8")
    for worker in ("codex", "upstream"):
        assert [page.count(mark) for mark in soak.marks(worker)] == [1, 1]
