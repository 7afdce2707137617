"""The stand-in for Codex: its frames are the real ones', its faults those they are named for.

The client here is a plain pipe, so that nothing of ours hides what the stand-in does.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import standin
from engine.codex.protocol import appserver, notifications
from tests.support.process import serving

FRAMES = Path(__file__).parents[1] / "engine" / "frames"
"""Frames of the real binary."""

Frame = dict[str, Any]


class Client:
    """Talks to one process of an installed stand-in."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert isinstance(process.stdout, io.BufferedReader)
        self.process = process
        self._stdout = process.stdout
        self._last_id = 0

    def send(self, method: str, **params: Any) -> int:
        """Make a request, and give its id."""
        self._last_id += 1
        line = json.dumps({"id": self._last_id, "method": method, "params": params})
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self._last_id

    def line(self) -> bytes:
        """The next line, empty at the end."""
        return self._stdout.readline()

    def piece(self) -> bytes:
        """What can be read now, of however many lines."""
        return self._stdout.read1()

    def until(self, method: str) -> list[Frame]:
        """The frames up to the first of a method."""
        frames = [json.loads(self.line())]
        while frames[-1].get("method") != method:
            frames.append(json.loads(self.line()))
        return frames

    def ask(self, method: str, **params: Any) -> Frame:
        """Make a request and give the reply, where that is what comes next."""
        rpc_id = self.send(method, **params)
        reply: Frame = json.loads(self.line())
        assert reply["id"] == rpc_id
        return reply

    def thread(self) -> str:
        """Start a thread, and give its id."""
        started = self.ask("thread/start", cwd="/")
        return str(started["result"]["thread"]["id"])

    def begin(self, prompt: str = "hi") -> str:
        """Begin a turn on a new thread, and give the thread's id."""
        thread_id = self.thread()
        item = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": prompt}],
        }
        self.ask("thread/inject_items", threadId=thread_id, items=[item])
        self.ask("turn/start", threadId=thread_id, input=[])
        return thread_id


@contextlib.contextmanager
def connected(directory: Path, *scenarios: standin.Scenario) -> Iterator[Client]:
    """A client of a stand-in's first process, which has been introduced."""
    program = standin.install(directory, *scenarios)
    with spawned(program) as client:
        client.ask("initialize")
        yield client


@contextlib.contextmanager
def spawned(program: Path) -> Iterator[Client]:
    """A client of a stand-in's next process."""
    with subprocess.Popen(
        (program, "app-server"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    ) as process:
        try:
            yield Client(process)
        finally:
            process.kill()


def texts_of(frames: list[Frame]) -> list[str]:
    """The deltas among frames."""
    return [
        frame["params"]["delta"]
        for frame in frames
        if frame.get("method") == "item/agentMessage/delta"
    ]


def one_turn(**turn: Any) -> standin.Scenario:
    """A scenario of one kind of turn."""
    return standin.Scenario(turn=standin.Turn(**turn))


def shape_of(value: Any) -> Any:
    """The names in a frame, at every depth."""
    if isinstance(value, dict):
        return {name: shape_of(item) for name, item in value.items()}
    return [shape_of(item) for item in value[:1]] if isinstance(value, list) else None


def is_within(shape: Any, whole: Any) -> bool:
    """Whether every name of a shape is one of the other's, in the same place."""
    if isinstance(shape, dict) and isinstance(whole, dict):
        return all(name in whole and is_within(shape[name], whole[name]) for name in shape)
    if isinstance(shape, list) and isinstance(whole, list):
        return not (shape and whole) or is_within(shape[0], whole[0])
    return True


def recorded(**wanted: str) -> list[Any]:
    """Shapes of the real binary's frames of a method: notifications, or replies to it."""
    found = []
    for path in FRAMES.glob("*.jsonl"):
        asked = {}
        for line in path.read_text().splitlines():
            frame = json.loads(line)
            if "id" in frame and "method" in frame:
                asked[frame["id"]] = frame["method"]
            elif frame.get("method", asked.get(frame.get("id"))) == wanted["method"]:
                found.append(shape_of(frame))
    return found


def test_its_frames_have_the_names_of_the_real_ones(tmp_path: Path) -> None:
    with connected(tmp_path) as client:
        replies = {
            "model/list": client.ask("model/list"),
            "account/login/start": client.ask("account/login/start", type="apiKey", apiKey="k"),
        }
        said = client.until("account/updated")
        replies["account/read"] = client.ask("account/read")
        replies["thread/start"] = client.ask("thread/start", cwd="/")
        thread_id = client.begin()
        said += client.until("turn/completed")
        replies["thread/unsubscribe"] = client.ask("thread/unsubscribe", threadId=thread_id)
        said += client.until("thread/closed")
    for method, frame in replies.items():
        assert any(is_within(shape_of(frame), real) for real in recorded(method=method)), method
        msgspec.convert(frame["result"], appserver.METHODS[method][1])
    for frame in said:
        method = frame["method"]
        assert any(is_within(shape_of(frame), real) for real in recorded(method=method)), method
        if method in notifications.NOTIFICATIONS:
            msgspec.convert(frame["params"], notifications.NOTIFICATIONS[method])


def test_a_turn_says_its_texts_and_ends(tmp_path: Path) -> None:
    with connected(tmp_path, one_turn(deltas=5, texts=("é", '"\n'), burst=2)) as client:
        client.begin()
        frames = client.until("turn/completed")
    assert texts_of(frames) == ["é", '"\n', "é", '"\n', "é"]
    assert frames[-1]["params"]["turn"]["items"][0]["text"] == 'é"\né"\né'
    assert frames[-2]["params"]["tokenUsage"]["total"]["outputTokens"] == 5


def test_turns_go_as_their_prompts_say(tmp_path: Path) -> None:
    plan = standin.Scenario(turns={"short": standin.Turn(deltas=1)})
    with connected(tmp_path, plan) as client:
        client.begin("short")
        assert len(texts_of(client.until("turn/completed"))) == 1
        client.begin("else")
        assert len(texts_of(client.until("turn/completed"))) == plan.turn.deltas


def test_a_stamped_delta_tells_when_it_was_written_and_which_it_is(tmp_path: Path) -> None:
    with connected(tmp_path, one_turn(deltas=3, stamped=True, interval=0.02)) as client:
        asked_us = time.time_ns() // 1000
        client.begin()
        texts = [text.split() for text in texts_of(client.until("turn/completed"))]
        ended_us = time.time_ns() // 1000
    assert [number for _, number in texts] == ["0", "1", "2"]
    stamps = [int(stamp) for stamp, _ in texts]
    for number, stamp in enumerate(stamps):
        assert asked_us + number * 20_000 <= stamp <= ended_us, "late it may be, never early"


def test_two_turns_take_turns(tmp_path: Path) -> None:
    with connected(tmp_path, one_turn(deltas=2, interval=0.1)) as client:
        threads = [client.thread(), client.thread()]
        for thread_id in threads:
            client.send("turn/start", threadId=thread_id)
        frames = client.until("turn/completed") + client.until("turn/completed")
    owners = [
        frame["params"]["threadId"]
        for frame in frames
        if frame.get("method") == "item/agentMessage/delta"
    ]
    assert sorted(owners[:2]) == sorted(owners[2:]) == threads


def test_an_interrupted_turn_says_no_more(tmp_path: Path) -> None:
    with connected(tmp_path, one_turn(deltas=1, ending="silent")) as client:
        thread_id = client.begin()
        client.until("item/agentMessage/delta")
        client.ask("turn/interrupt", threadId=thread_id, turnId="")
        ended = client.until("turn/completed")[-1]
        assert ended["params"]["turn"]["status"] == "interrupted"
        again = client.ask("turn/interrupt", threadId=thread_id, turnId="")
        assert again["error"]["message"] == "no active turn to interrupt"


@pytest.mark.parametrize(
    ("ending", "last"),
    [
        ("exit", "item/agentMessage/delta"),
        ("exit_whole", "item/completed"),
    ],
)
def test_it_exits_within_a_turn(tmp_path: Path, ending: standin.Ending, last: str) -> None:
    with connected(tmp_path, one_turn(deltas=1, ending=ending)) as client:
        client.begin()
        client.until(last)
        assert client.line() == b""
        assert client.process.wait() == 1


def test_it_exits_in_the_middle_of_a_line(tmp_path: Path) -> None:
    with connected(tmp_path, one_turn(deltas=1, ending="exit_mid_line")) as client:
        client.begin()
        client.until("item/agentMessage/delta")
        assert client.line().startswith(b'{"method":"item/agentMessage/delta"')
        assert client.line() == b""


def test_an_endless_turn_has_a_whole_answer_and_no_end(tmp_path: Path) -> None:
    with connected(tmp_path, one_turn(deltas=1, ending="endless")) as client:
        client.begin()
        client.until("item/completed")
        assert "result" in client.ask("account/read")  # and no `turn/completed` before it


@pytest.mark.parametrize("length", [64 * 1024 + 1, 1 << 20])
def test_a_line_is_as_long_as_asked(tmp_path: Path, length: int) -> None:
    with connected(tmp_path, one_turn(deltas=1, line_bytes=length)) as client:
        client.begin()
        client.until("item/started")
        assert len(client.line().rstrip(b"\n")) == length


def test_a_cut_line_comes_in_pieces(tmp_path: Path) -> None:
    with connected(tmp_path, one_turn(deltas=1, cuts=(5, 9))) as client:
        client.begin()
        client.until("item/started")
        pieces = [client.piece() for _ in range(3)]
    assert pieces[:2] == [b'{"met', b'hod"']
    assert pieces[2].endswith(b"}\n")


def test_what_comes_before_a_turn_names_it(tmp_path: Path) -> None:
    plan = one_turn(before=(standin.GARBAGE, standin.APPROVAL, standin.ELICITATION))
    with connected(tmp_path, plan) as client:
        thread_id = client.begin()
        client.until("item/started")
        assert client.line() == standin.GARBAGE.encode() + b"\n"
        for method in ("item/commandExecution/requestApproval", "mcpServer/elicitation/request"):
            request = json.loads(client.line())
            assert (request["method"], request["params"]["threadId"]) == (method, thread_id)


def test_it_floods_stderr(tmp_path: Path) -> None:
    with connected(tmp_path, one_turn(stderr_lines=100)) as client:
        client.begin()
        client.until("turn/completed")
        assert client.process.stderr is not None
        lines = [client.process.stderr.readline() for _ in range(100)]
    assert {json.loads(line)["level"] for line in lines} == {"ERROR"}


def test_it_is_deaf_to_what_it_is_told_to_be(tmp_path: Path) -> None:
    with connected(tmp_path, standin.Scenario(deaf=("thread/start",))) as client:
        client.send("thread/start", cwd="/")
        assert "result" in client.ask("account/read")


def test_it_is_overloaded_as_often_as_asked(tmp_path: Path) -> None:
    with connected(tmp_path, standin.Scenario(overloads={"thread/start": 1})) as client:
        assert client.ask("thread/start", cwd="/")["error"]["code"] == -32001
        assert "result" in client.ask("thread/start", cwd="/")


def test_each_process_has_its_own_scenario(tmp_path: Path) -> None:
    program = standin.install(
        tmp_path,
        standin.Scenario(exits_at_once=3),
        standin.Scenario(version="0.162.9"),
    )
    with spawned(program) as client:
        assert client.process.wait() == 3
    for count in (2, 3):
        with spawned(program) as client:
            user_agent = client.ask("initialize")["result"]["userAgent"]
            assert appserver.version_of(user_agent) == (0, 162, 9)
            assert standin.starts(tmp_path)[-1] == client.process.pid
        assert len(standin.starts(tmp_path)) == count
    assert [line["method"] for line in standin.received(tmp_path)] == ["initialize"] * 2


def test_requests_out_of_order_are_refused(tmp_path: Path) -> None:
    with spawned(standin.install(tmp_path)) as client:
        assert client.ask("account/read")["error"]["message"] == "Not initialized"
        client.ask("initialize")
        assert client.ask("initialize")["error"]["message"] == "Already initialized"
        assert client.ask("thread/fork")["error"]["code"] == -32600
        lost = client.ask("turn/start", threadId="nobody")
        assert lost["error"]["message"] == "thread not found: nobody"


def test_its_ends_are_the_real_ones(tmp_path: Path) -> None:
    program = standin.install(tmp_path)
    with spawned(program) as client:
        client.ask("initialize")
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait() == 0
    with spawned(program) as client:
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert client.process.wait() == 0


def test_the_server_answers_with_it(tmp_path: Path) -> None:
    program = standin.install(tmp_path)
    with serving.running(CODEX_BIN=str(program)) as server:
        status, body = server.post(
            {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}
        )
    assert status == 200
    assert body["choices"][0]["message"]["content"] == "token " * 8
    assert body["usage"]["completion_tokens"] == 8
