"""A blocking JSON-RPC client on the pipes of a real `codex app-server`."""

import itertools
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import msgspec

from engine.codex.child import home as codexhome
from engine.codex.protocol import appserver, notifications
from tests.support.process import codexbinary

Frame = dict[str, Any]

TIMEOUT_S = 30.0
"""Longest wait for a frame: a cold binary takes 6 s to start."""


class RpcError(Exception):
    """The app-server answered a request with an error object."""


class Pipe:
    """One process while its `with` block lasts. `frames` is all that went over its pipes.

    Of our environment it has PATH only, for a proxy in it would be in the way to loopback.
    """

    def __init__(self, setup: codexhome.Setup, **environ: str) -> None:
        self._command = codexhome.command(codexbinary.path(), setup)
        self._environment = codexhome.environment(setup, {"PATH": os.environ["PATH"], **environ})
        self._ids = itertools.count(1)
        self._grown = threading.Condition()
        self.frames: list[Frame] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._reading.join()
        self._process.communicate()

    def send(self, method: str, params: msgspec.Struct) -> int:
        """Send a request; return its id without waiting for the answer."""
        rpc_id = next(self._ids)
        plain = msgspec.json.decode(msgspec.json.encode(params))
        self._write({"id": rpc_id, "method": method, "params": plain})
        return rpc_id

    def call(self, method: str, params: msgspec.Struct) -> Any:
        """Send a request; return its result, as `METHODS` types it.

        Raises:
            RpcError: with the error object.
        """
        rpc_id = self.send(method, params)
        answer = self.wait(lambda frame: frame.get("id") == rpc_id and "method" not in frame)
        if "error" in answer:
            raise RpcError(answer["error"])
        return msgspec.convert(answer["result"], appserver.METHODS[method][1])

    def bring(self, number: int, text: str) -> None:
        """Answer the tool call of this number, counted from 1, once it has come."""
        calls = self._until("item/tool/call", number)
        result = {"contentItems": [{"type": "inputText", "text": text}], "success": True}
        self._write({"id": calls[number - 1]["id"], "result": result})

    def until_turns_ended(self, count: int) -> None:
        """Wait until so many turns are over."""
        self._until("turn/completed", count)

    def _until(self, method: str, count: int) -> list[Frame]:
        def come() -> list[Frame]:
            return [frame for frame in self.frames if frame.get("method") == method]

        with self._grown:
            if not self._grown.wait_for(lambda: len(come()) >= count, TIMEOUT_S):
                raise TimeoutError(f"{len(come())} of {count} times {method}")
            return come()

    def wait(self, wanted: Callable[[Frame], bool]) -> Frame:
        """The first frame of all so far, or to come, that is wanted.

        Raises:
            TimeoutError: if none comes.
        """
        with self._grown:
            if not self._grown.wait_for(lambda: any(map(wanted, self.frames)), TIMEOUT_S):
                raise TimeoutError(f"not among {len(self.frames)} frames")
            return next(filter(wanted, self.frames))

    def notification(self, method: str, thread_id: str | None = None) -> Any:
        """The params of the first such notification, of one thread if it is named."""
        frame = self.wait(
            lambda frame: (
                frame.get("method") == method
                and thread_id in (None, frame["params"].get("threadId"))
            )
        )
        return msgspec.convert(frame["params"], notifications.NOTIFICATIONS[method])

    def notifications(self, method: str) -> list[Any]:
        """The params of all such notifications so far."""
        return [
            msgspec.convert(frame["params"], notifications.NOTIFICATIONS[method])
            for frame in self.frames
            if frame.get("method") == method
        ]

    def handshake(
        self, opt_out: tuple[str, ...] = appserver.OPT_OUT
    ) -> appserver.InitializeResult:
        """Initialize the connection."""
        client = appserver.ClientInfo("turntape", "0")
        capabilities = appserver.Capabilities(opt_out_notification_methods=opt_out)
        params = appserver.InitializeParams(client, capabilities)
        result: appserver.InitializeResult = self.call("initialize", params)
        self._write({"method": "initialized"})
        return result

    def login(self, key: str) -> None:
        """Log in with a key, and wait until threads may be started with it."""
        self.call("account/login/start", appserver.ApiKeyLogin(key))
        self.notification("account/updated")

    def start(self, params: appserver.ThreadStartParams, *items: Frame) -> str:
        """A new thread with the items as its history; return its id."""
        thread: appserver.ThreadStartResult = self.call("thread/start", params)
        raw = tuple(msgspec.Raw(json.dumps(item).encode()) for item in items)
        history = appserver.ThreadInjectItemsParams(thread.thread.id, raw)
        self.call("thread/inject_items", history)
        return thread.thread.id

    def _write(self, frame: Frame) -> None:
        with self._grown:
            self.frames.append(frame)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(frame).encode() + b"\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        for frame in self._lines():
            with self._grown:
                self.frames.append(frame)
                self._grown.notify_all()

    def _lines(self) -> Iterator[Frame]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield json.loads(line)


def message(role: str, text: str) -> Frame:
    """A message as an item of a thread's history."""
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
