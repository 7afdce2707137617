"""`turntape mock` as another project's CI has it: a process, and the exact bytes of each fault."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from server.mock import faults
from tests.server.mock import running
from tests.support.client import chatclient, httpclient
from tests.support.process import readme, serving
from tests.tools import redraw

pytestmark = pytest.mark.slow

PAGE = redraw.DOCS / "mock.md"

NAME = "text-short"

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]

BODY = {"model": NAME, "messages": HELLO}

SILENCE_S = 0.3
"""How long a client listens to a stall before it believes it."""

ERROR = (
    b'{"error":{"message":"The mock was asked for an error.","type":"server_error",'
    b'"param":null,"code":"mock_fault"}}'
)


class Mock(running.Mock):
    """A running `turntape mock`, stopped where its `with` block ends."""

    def __init__(self, *flags: str, port: str = "0", **environ: str) -> None:
        super().__init__(*flags, port=port, **environ)
        self.host, number = self.address.removeprefix("http://").rsplit(":", 1)
        self.port = int(number)

    def __enter__(self) -> "Mock":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()  # one that is killed leaves its directory to the next
        self.process.communicate()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; exit status, and what was said since the first line."""
        self.process.send_signal(number)
        said, complained = self.process.communicate(timeout=20)
        return self.process.returncode, said, complained

    def client(self, **options: Any) -> openai.OpenAI:
        """An SDK client that asks once, and does not wait for long."""
        settings = {"api_key": "unused", "max_retries": 0, "timeout": 2.0, **options}
        return openai.OpenAI(base_url=self.url, **settings)

    def get(self, path: str) -> Any:
        """Status and JSON of a GET."""
        response = httpclient.ask(f"http://{self.host}:{self.port}", "GET", path)
        return response.status, json.loads(response.body)


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    """A mock without faults of its own."""
    with Mock() as running:
        yield running


End = Literal["closed", "reset", "open"]


class Got(NamedTuple):
    """What a client got, ids and times made even.

    Attributes:
        body: with its HTTP framing.
        end: what the connection came to; a client that lists no further request is closed.
    """

    head: bytes
    body: bytes
    end: End


EVEN = (
    (rb"chatcmpl-\w+", b"chatcmpl-" + b"0" * 24),
    (rb'"created":\d+', b'"created":1700000000'),
    (rb"(?<=x-request-id: )\S+", b"1"),
    (rb"(?<=x-turntape-stream: )\S+", b"1"),
    (rb"(?<=x-turntape-overhead-ms: )\S+", b"1"),
    (rb"(?<=date: )[^\r]+", b"1"),
)
"""What differs from answer to answer, and in the transcripts; as long as it is in answers."""


def even(data: bytes) -> bytes:
    for pattern, fixed in EVEN:
        data = re.sub(pattern, fixed, data)
    return data


def sent(fields: dict[str, Any], *headers: str) -> bytes:
    """A request, after which the connection shall be closed."""
    body = json.dumps({**BODY, **fields}).encode()
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        "host: localhost",
        "connection: close",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + body


def received(mock: Mock, fault: str | None, fields: dict[str, Any]) -> tuple[bytes, End]:
    """Everything that comes for a request, to the connection's end or to a silence."""
    headers = [] if fault is None else [f"x-turntape-fault: {fault}"]
    data = b""
    end: End = "closed"
    with socket.create_connection((mock.host, mock.port), timeout=10) as client:
        client.sendall(sent(fields, *headers))
        if fault is not None and "stall" in fault:
            client.settimeout(SILENCE_S)
        try:
            while piece := client.recv(1 << 16):
                data += piece
        except ConnectionResetError:
            end = "reset"
        except TimeoutError:
            end = "open"
    return data, end


def ask(mock: Mock, fault: str | None = None, **fields: Any) -> Got:
    """What comes for a request."""
    data, end = received(mock, fault, fields)
    head, _, body = data.partition(b"\r\n\r\n")
    return Got(even(head), even(body), end)


def stream(mock: Mock, fault: str | None = None, **fields: Any) -> Got:
    return ask(mock, fault, stream=True, **fields)


def raw_stream(mock: Mock, fault: str) -> bytes:
    """The body of a stream, nothing made even: an id may lie across two chunks."""
    return received(mock, fault, {"stream": True})[0].partition(b"\r\n\r\n")[2]


def frames(name: str = NAME) -> list[bytes]:
    """The events of a transcript as they are on file."""
    body = even((serving.ROOT / "transcripts" / f"{name}.sse").read_bytes())
    model = json.loads(body[6 : body.index(b"\n")])["model"]
    return re.findall(rb".+?\n\n", body.replace(model.encode(), name.encode()), re.DOTALL)


FRAMES = frames()


def chunks(*pieces: bytes) -> bytes:
    """Pieces of a body, framed."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


LAST = b"0\r\n\r\n"

FRAME = b"data: %b\n\n" % ERROR

CUT: dict[str, tuple[bytes, End]] = {
    "disconnect-after=1": (chunks(FRAMES[0]), "reset"),
    "disconnect-after=3": (chunks(*FRAMES[:3]), "reset"),
    f"disconnect-after={len(FRAMES)}": (chunks(*FRAMES), "reset"),
    f"disconnect-after={len(FRAMES) + 1}": (chunks(*FRAMES) + LAST, "closed"),
    "stall-after=2": (chunks(*FRAMES[:2]), "open"),
    "error-after=0": (chunks(FRAME) + LAST, "closed"),
    "error-after=2": (chunks(*FRAMES[:2], FRAME) + LAST, "closed"),
    "truncate-after=0": (LAST, "closed"),
    "truncate-after=3": (chunks(*FRAMES[:3]) + LAST, "closed"),
    "no-done": (chunks(*FRAMES[:-1]) + LAST, "closed"),
    "slow=1": (chunks(*FRAMES) + LAST, "closed"),
}
"""What a stream's client gets after the head, and what becomes of the connection."""


def test_the_stream_on_file_is_what_it_should_be() -> None:
    assert len(FRAMES) == 38
    assert FRAMES[-1] == b"data: [DONE]\n\n"


@pytest.mark.parametrize("fault", CUT)
def test_a_stream_is_cut_where_it_was_asked_for_and_again_at_the_same_byte(
    mock: Mock, fault: str
) -> None:
    first = stream(mock, fault)
    assert first.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: text/event-stream" in first.head
    assert (first.body, first.end) == CUT[fault]
    assert stream(mock, fault) == first


@pytest.mark.parametrize(
    ("fault", "end"), [("disconnect-after=0", "reset"), ("stall-after=0", "open")]
)
@pytest.mark.parametrize("streaming", [True, False])
def test_after_no_event_there_is_no_head(
    mock: Mock, fault: str, end: End, streaming: bool
) -> None:
    assert ask(mock, fault, stream=streaming) == (b"", b"", end)


def pieces(size: int, events: list[bytes]) -> list[bytes]:
    """Events as one body, in pieces of so many bytes."""
    body = b"".join(events)
    return [body[begin : begin + size] for begin in range(0, len(body), size)]


def unframed(body: bytes) -> list[bytes]:
    """The chunks of a body, the last one empty."""
    found = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        found.append(rest[: int(size, 16)])
        body = rest[int(size, 16) + 2 :]
    return found


@pytest.mark.parametrize("size", [1, 7, 1000, 1_048_576])
def test_the_body_is_split_where_so_many_bytes_are_full(mock: Mock, size: int) -> None:
    *split, last = unframed(raw_stream(mock, f"split={size}"))
    assert last == b""
    assert [len(each) for each in split] == [len(each) for each in pieces(size, FRAMES)]
    assert even(b"".join(split)) == b"".join(FRAMES)


def test_what_is_cut_may_be_split_and_every_event_comes(mock: Mock) -> None:
    split = unframed(raw_stream(mock, "split=100, disconnect-after=2"))
    assert [len(each) for each in split] == [len(each) for each in pieces(100, FRAMES[:2])]
    assert even(b"".join(split)) == b"".join(FRAMES[:2])


def test_slow_is_so_many_milliseconds_before_each_event(mock: Mock) -> None:
    began = time.monotonic()
    assert stream(mock, "slow=60, truncate-after=5").body == chunks(*FRAMES[:5]) + LAST
    assert time.monotonic() - began >= 0.3


def test_a_reset_waits_for_a_client_that_reads_late(mock: Mock) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect((mock.host, mock.port))
        fields = {"model": "text-long", "stream": True}
        client.sendall(sent(fields, "x-turntape-fault: disconnect-after=400"))
        data = client.recv(100)
        # A reset that did not wait would destroy what is still on the other side.
        with pytest.raises(ConnectionResetError):
            while piece := client.recv(2048):
                data += piece
    assert data.count(b"\n\ndata: ") + data.count(b"\r\ndata: ") == 400


@pytest.mark.parametrize(
    ("fault", "body", "end"),
    [
        ("disconnect-after=3", b"", "reset"),
        ("stall-after=3", b"", "open"),
        ("truncate-after=3", LAST, "closed"),
    ],
)
def test_an_answer_that_is_no_stream_is_cut_before_its_body(
    mock: Mock, fault: str, body: bytes, end: End
) -> None:
    got = ask(mock, fault)
    assert got.head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (got.body, got.end) == (body, end)


def test_a_status_is_answered_at_once(mock: Mock) -> None:
    for streaming in (True, False):
        got = ask(mock, "status=429, retry-after=7", stream=streaming)
        assert got.head.split(b"\r\n") == [
            b"HTTP/1.1 429 Too Many Requests",
            b"x-request-id: 1",
            b"content-type: application/json",
            b"retry-after: 7",
            b"content-length: 117",
            b"date: 1",
            b"server: turntape",
            b"Connection: close",
        ]
        error = json.loads(got.body)["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "mock_fault")
    assert b"retry-after" not in ask(mock, "status=503").head


def test_a_header_that_is_no_fault_is_a_400(mock: Mock) -> None:
    got = stream(mock, "disconnect-after=1.5")
    assert got.head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(got.body)["error"] == {
        "message": "x-turntape-fault: disconnect-after: '1.5' is not accepted; "
        "it takes a whole number, 0 to 1000000",
        "type": "invalid_request_error",
        "param": "x-turntape-fault",
        "code": None,
    }


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        *(
            (
                ("--disconnect-after", value),
                f"--disconnect-after: {value!r} is not accepted; it takes",
            )
            for value in ("-1", "-1.5", "2.5", "NaN", "three", "99999999999999999999")
        ),
        (("--status", "200"), "it takes a whole number, 400 to 599"),
        (("--stall-after", "1", "--error-after", "1"), "error-after: does not go with stall"),
        (("--times", "2"), "--times: goes with a fault"),
        (("--speed", "nan"), "--speed"),
        (("--host", "0.0.0.0"), "PROXY_API_KEY: must be set"),
    ],
)
def test_a_flag_that_cannot_be_is_refused(flags: tuple[str, ...], problem: str) -> None:
    done = serving.command("mock", "--port", "0", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_flags_are_for_every_request_and_health_is_not_theirs(mock: Mock) -> None:
    with Mock("--disconnect-after", "2", "--slow", "1") as running:
        assert running.get("/readyz")[0] == 200
        assert running.get("/v1/models")[0] == 200
        for _ in range(2):
            got = stream(running)
            assert got == stream(mock, "disconnect-after=2, slow=1")
            assert got.end == "reset"
        assert stream(running, "no-done").body == CUT["no-done"][0]


def test_the_sdk_asks_again_and_is_answered() -> None:
    with Mock("--status", "503", "--retry-after", "1", "--times", "2") as running:
        with running.client(max_retries=2) as client:
            answer = client.chat.completions.create(model=NAME, messages=HELLO)
        assert answer.choices[0].finish_reason == "stop"
        assert stream(running).head.startswith(b"HTTP/1.1 200 OK")
    with Mock("--disconnect-after", "0", "--times", "2") as running:
        with running.client(max_retries=1) as client, pytest.raises(openai.APIConnectionError):
            client.chat.completions.create(model=NAME, messages=HELLO)
        assert stream(running).end == "closed"


def test_the_responses_api_goes_wrong_as_well(mock: Mock) -> None:
    seen = []
    with mock.client() as client, pytest.raises(openai.APIConnectionError):
        for event in client.responses.create(
            model=NAME,
            input="Hello",
            stream=True,
            extra_headers={"x-turntape-fault": "disconnect-after=2"},
        ):
            seen.append(event.type)  # noqa: PERF401 - what came before the error counts
    assert seen == ["response.created", "response.in_progress"]


def test_it_says_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with Mock(TMPDIR=str(tmp_path)) as running:
            assert re.fullmatch(
                r"turntape mock on http://127\.0\.0\.1:[1-9]\d+/v1\n", running.line
            )
            assert list(tmp_path.iterdir()) != []
            assert stream(running).end == "closed"
            with socket.create_connection((running.host, running.port)) as waiting:
                waiting.sendall(sent({}, "x-turntape-fault: stall-after=1"))
                assert waiting.recv(100)
                assert running.stop(number) == (0, "", "")
        assert list(tmp_path.iterdir()) == []


def test_what_a_killed_one_leaves_is_gone_with_the_next_start(tmp_path: Path) -> None:
    with Mock(TMPDIR=str(tmp_path)) as killed:
        killed.process.kill()
        killed.process.wait()
        left = {*tmp_path.iterdir()}
        assert left
        with Mock(TMPDIR=str(tmp_path)) as running:
            assert not left & {*tmp_path.iterdir()}
            assert running.stop() == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_said(mock: Mock) -> None:
    done = serving.command("mock", "--port", str(mock.port))
    assert done.returncode == 1
    assert str(mock.port) in done.stderr


def test_the_environment_gives_it_a_key_and_nothing_else() -> None:
    key = "sk-of-the-mock-itself"
    environ = {
        "PROXY_API_KEY": key,
        "PROXY_WORKER": "codex",
        "PROXY_PORT": "x",
    }
    with Mock("--host", "0.0.0.0", **environ) as running:
        assert ask(running).head.startswith(b"HTTP/1.1 401 ")
        with running.client(api_key=key) as client:
            assert client.chat.completions.create(model=NAME, messages=HELLO).model == NAME


def test_a_server_that_is_no_mock_lets_no_client_break_it() -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        for fault in ("disconnect-after=0", "status=500", "nonsense"):
            answer = chatclient.ask(
                server, "x", {"x-turntape-fault": fault}, model=NAME, stream=True
            )
            assert answer.status == 200
            assert answer.outline[-1] == "done"


def test_without_a_transcript_models_are_what_is_recorded(mock: Mock) -> None:
    listed = [model["id"] for model in mock.get("/v1/models")[1]["data"]]
    assert listed[0] == NAME
    assert {"refusal", "tool-call", "codex-5"} <= set(listed)
    assert stream(mock, model="gpt-4o").head.startswith(b"HTTP/1.1 404 ")


def test_a_transcript_may_answer_every_model() -> None:
    with Mock("--transcript", "refusal") as running, running.client() as client:
        for model in ("gpt-4o", NAME):
            answer = client.chat.completions.create(model=model, messages=HELLO)
            assert (answer.model, answer.choices[0].finish_reason) == (model, "content_filter")
        named = client.chat.completions.create(
            model="gpt-4o", messages=HELLO, extra_headers={"x-turntape-transcript": NAME}
        )
        assert named.choices[0].finish_reason == "stop"


def test_a_transcript_that_is_not_there_is_said() -> None:
    done = serving.command("mock", "--transcript", "nobody")
    assert done.returncode == 1
    assert done.stderr.endswith("transcripts: no transcript 'nobody'\n")


WEATHER = {"type": "function", "function": {"name": "get_weather"}}


def test_a_log_of_a_server_is_played() -> None:
    names = ("text-short", "tool-call", "rate-limit")
    with serving.running(
        *("--worker", "scripted"), PROXY_SCRIPTED_SPEED="0", PROXY_EVENT_LOG="full"
    ) as server:
        recorded = {
            f"my.{name}": server.post(
                {**BODY, "tools": [WEATHER], "model": name}, {"x-request-id": f"my.{name}"}
            )
            for name in names
        }
        # The server goes on, so its log has no end yet.
        with Mock("--transcripts", str(server.log_dir)) as running:
            listed = [model["id"] for model in running.get("/v1/models")[1]["data"]]
            assert listed[:3] == list(recorded)
            for name, (status, body) in recorded.items():
                got = ask(running, tools=[WEATHER], model=name)
                assert got.head.startswith(b"HTTP/1.1 %d " % status)
                again = json.loads(got.body)
                assert again.get("choices") == body.get("choices")
                assert again.get("error") == body.get("error")
    assert recorded["my.tool-call"][1]["choices"][0]["finish_reason"] == "tool_calls"
    assert recorded["my.rate-limit"][0] == 429


def test_a_masked_log_is_played_masked() -> None:
    with serving.running("--worker", "scripted", PROXY_SCRIPTED_SPEED="0") as server:
        text = server.post(BODY, {"x-request-id": "mine"})[1]["choices"][0]["message"]["content"]
        server.stop()
        with Mock("--transcripts", str(server.log_dir)) as running:
            played = json.loads(ask(running, model="mine").body)["choices"][0]
    assert played["finish_reason"] == "stop"
    assert played["message"]["content"] == re.sub(r"[^\W\d_]", "*", text)


def test_its_own_log_can_be_kept_and_replays(tmp_path: Path) -> None:
    with Mock("--log-dir", str(tmp_path / "log")) as running:
        for fault in ("disconnect-after=3", "truncate-after=3", "error-after=0", "slow=1"):
            stream(running, fault)
        assert running.stop()[0] == 0
    done = serving.command("replay", str(tmp_path / "log"))
    assert done.returncode == 0
    assert done.stdout.startswith("4 streams")


@pytest.mark.parametrize(
    ("flags", "text", "code"),
    [
        (("--disconnect-after", "3"), "Hello! This", "upstream_disconnected"),
        (("--truncate-after", "2"), "Hello!", "upstream_truncated"),
        (("--error-after", "2"), "Hello!", "mock_fault"),
        (("--split", "1"), None, None),
    ],
)
def test_it_is_an_upstream_of_turntape(
    flags: tuple[str, ...], text: str | None, code: str | None
) -> None:
    with (
        Mock(*flags) as running,
        serving.running("--worker", "upstream", PROXY_UPSTREAM_URL=running.url) as server,
    ):
        answer = chatclient.ask(server, "x", model=NAME, stream=True)
        assert answer.status == 200
        if code is None:
            assert answer.outline[-1] == "done"
            assert even(answer.raw) == b"".join(FRAMES)
        else:
            assert answer.text == text
            assert answer.error["code"] == code
            assert answer.outline[-1] == "error"


def rows(heading: str) -> list[list[str]]:
    """A table of the page, by its first column's heading and its second's."""
    table = PAGE.read_text("utf-8").partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]
    ]


def test_the_page_lists_every_fault() -> None:
    limits = {
        option.name: f"{option.numbers[0]} to {option.numbers[-1]}" if option.numbers else "-"
        for option in faults.OPTIONS.values()
    }
    assert rows("fault | takes | what goes wrong") == [
        [f"`{option.name}`", limits[option.name], option.meaning]
        for option in faults.OPTIONS.values()
    ]


def outcome(client: openai.OpenAI, fault: str, streaming: bool) -> str:
    """What the SDK makes of a fault, in the page's words."""
    asked = {"x-turntape-fault": fault}
    said: list[str | None] = []
    try:
        if not streaming:
            whole = client.chat.completions.create(model=NAME, messages=HELLO, extra_headers=asked)
            assert whole.choices[0].finish_reason == "stop"
            return "a whole answer"
        chunks = client.chat.completions.create(
            model=NAME, messages=HELLO, stream=True, extra_headers=asked
        )
        said.extend(chunk.choices[0].finish_reason for chunk in chunks)
    except (openai.OpenAIError, json.JSONDecodeError) as error:
        raised = f"`{type(error).__name__}`"
        return f"{len(said)} chunks, {raised}" if said else raised
    if said and said[-1] is not None:
        return "a whole answer"
    return f"{len(said)} chunks" + (", without a finish" if said else "")


def test_the_sdk_makes_of_faults_what_the_page_says(mock: Mock) -> None:
    with mock.client(timeout=SILENCE_S) as client:
        for fault, *promised in rows("fault | streamed | not streamed"):
            got = [outcome(client, fault.strip("`"), streaming) for streaming in (True, False)]
            assert got == promised, fault


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of another project, in which `turntape` is installed."""
    launcher = tmp_path / "bin" / "turntape"
    launcher.parent.mkdir()
    launcher.write_text(
        f'#!/bin/sh\nPYTHONPATH="{readme.ROOT}" exec "{sys.executable}" -m server "$@"\n'
    )
    launcher.chmod(0o755)
    with tempfile.TemporaryDirectory() as home:
        # CI may run these tests by a Python that is not the first of its name.
        python = launcher.with_name("python3")
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        path = f"{launcher.parent}:{os.environ['PATH']}"
        yield {"PATH": path, "HOME": home}


@pytest.mark.long
def test_the_example_for_pytest_runs_as_it_stands(
    tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    (example,) = readme.examples(PAGE, "python")
    (tmp_path / "test_program.py").write_text(example)
    done = subprocess.run(
        (sys.executable, "-m", "pytest", "-q", str(tmp_path)),
        cwd=tmp_path,
        env=elsewhere,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_example_for_a_shell_runs_as_it_stands(
    tmp_path: Path, elsewhere: dict[str, str]
) -> None:
    (example,) = (each for each in readme.examples(PAGE, "sh") if "pytest" in each)
    port = str(serving.free_port())
    (tmp_path / "test_program.py").write_text(
        "import openai\n\n\n"
        "def test_program():\n"
        "    messages = [{'role': 'user', 'content': 'Hello'}]\n"
        "    answer = openai.OpenAI().chat.completions.create(model='gpt-4o', messages=messages)\n"
        "    assert answer.choices[0].message.content\n"
    )
    script = example.replace("turntape mock", f"turntape mock --port {port}")
    done = subprocess.run(
        ("bash", "-c", script.replace("11435", port) + "wait $!"),
        cwd=tmp_path,
        env=elsewhere,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"turntape mock on http://127.0.0.1:{port}/v1\n" in done.stdout
    assert "1 passed" in done.stdout
