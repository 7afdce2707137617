"""Row 38 of the fault matrix: the server is stopped, or killed, with turns on real Codex."""

import signal
import socket
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from machines import events
from tests.faults import codexstage, expected, scene
from tests.faults.codexstage import STREAMED, Binary
from tests.support.client import chatclient, httpclient
from tests.support.client.chatclient import LiveChat
from tests.support.logs import serverlog
from tests.support.process import machinetime, serving
from tests.support.providers.provider import Provider
from tests.support.providers.replies import Held, Message, Stream
from tests.support.providers.scripted import Gate

pytestmark = pytest.mark.codex

OPEN = Stream((Message(("so far", Gate())),))
"""Some text and no end."""

STOPPING = "The server is stopping."


def drained(on: Binary) -> None:
    """The server ends by itself, and well; the process goes with it."""
    codex = codexstage.codex_pid(on.stage.server)
    assert on.stage.server.process.wait(timeout=httpclient.WAIT_S) == 0
    assert not serving.is_alive(codex)


def test_row_38_a_drain_lets_streams_finish_and_nobody_in() -> None:
    gate = Gate()
    with codexstage.binary() as on:
        server = on.stage.server
        where = urllib.parse.urlsplit(server.url)
        prompt = on.plan.prompt(Stream((Message(("so ", gate, "far")),)))
        with (
            on.stage.asked(prompt, **STREAMED) as live,
            socket.create_connection((where.hostname, where.port), timeout=10) as late,
        ):
            live.until(b"so ")
            late.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n")
            # What was sent on another connection has been read: the server has one thread.
            assert server.get("/livez")[0] == 200
            server.process.send_signal(signal.SIGTERM)
            machinetime.until(
                lambda: any(line.get("state") == "draining" for line in server.lines)
            )
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((where.hostname, where.port), timeout=10)
            late.sendall(b"\r\n")
            with late.makefile("rb") as said_last:
                head = said_last.read().partition(b"\r\n\r\n")[0].lower()
            assert head.startswith(b"http/1.1 503 ")
            assert b"\r\nconnection: close" in head
            gate.open()
            answer = live.answer()
        assert answer.body == (
            expected.role(asks_usage=True)
            + expected.content("so ", "far", asks_usage=True)
            + expected.finish("stop", asks_usage=True)
            + expected.usage(10, 5, 3, 1)
            + expected.DONE
        )
        drained(on)
        on.stage.recorded("completed", None, answer)


def test_row_38_the_deadline_of_a_drain_ends_streams() -> None:
    room: dict[str, Any] = {"WORKER_MAX_CONCURRENCY": "3", "PROXY_SSE_MAX_CONCURRENCY": "2"}
    with codexstage.binary(**room, PROXY_DRAIN_TIMEOUT_MS="300") as on:
        prompts = [on.plan.prompt(answer) for answer in (OPEN, Held(Gate()), OPEN)]
        with (
            on.stage.asked(prompts[0], **STREAMED) as live,
            on.stage.asked(prompts[1], **STREAMED) as held,
            on.stage.asked(prompts[2]) as whole,
        ):
            live.until(b"so far")
            for prompt in prompts[1:]:
                on.asked(prompt)
            on.stage.server.process.send_signal(signal.SIGTERM)
            answers = [live.answer(), held.answer(), whole.answer()]
        assert answers[0].body == (
            expected.role(asks_usage=True)
            + expected.content("so far", asks_usage=True)
            + expected.error("server_shutdown", STOPPING)
        )
        for answer in answers[1:]:
            assert answer.status == 503
            assert {"error": answer.error} == expected.error_object("server_shutdown", STOPPING)
        drained(on)
        for answer in answers:
            on.stage.recorded("shutdown", "server_shutdown", answer)
        for prompt in prompts:
            on.stopped(prompt)


def test_row_38_the_next_start_closes_what_a_killed_server_left_open(tmp_path: Path) -> None:
    plan = codexstage.Plan()
    prompts = [plan.prompt(OPEN), plan.prompt(Held(Gate()))]
    with Provider(plan) as provider:
        settings = {
            "PROXY_CODEX_BASE_URL": provider.url,
            "PROXY_CODEX_API_KEY": "sk-test",
            "PROXY_EVENT_LOG": "full",
        }
        with (
            serving.running(data_dir=tmp_path, **settings) as server,
            LiveChat(server, prompts[0], stream=True) as live,
            LiveChat(server, prompts[1], stream=True) as held,
        ):
            live.next("content")
            provider.wait_for(2)
            server.stop(signal.SIGKILL)
            for request in provider.requests:
                machinetime.until(request.left.is_set, scene.SECOND)
            machinetime.until(lambda: not serving.is_alive(codexstage.codex_pid(server)))
            for each in (live, held):
                assert not serverlog.has_ended(server, each.request_id)
        for _ in range(2):
            with serving.running(data_dir=tmp_path, **settings) as server:
                assert chatclient.ask(server, scene.PLAIN).text == "Hello world"
                assert server.stop() == 0
        for each, status in ((live, 200), (held, 0)):
            happened = serverlog.story(server, each.request_id)
            (end,) = [event for event in happened if isinstance(event, events.Terminal)]
            assert (end.kind, end.emission_trigger) == ("shutdown", "recovery")
            assert end.status == status
            assert happened[-1] is end
        assert server.replay().returncode == 0
