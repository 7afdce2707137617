"""`turntape demo`: serve recorded streams, stream one request, replay what was logged."""

import argparse
import asyncio
import contextlib
import errno
import http.client
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.log import replay
from engine.log.read import segments
from server import diagnostics, serve
from server.config import load as configuration, settings
from server.process import eventloop, exits, signals
from server.renderers import reply

MODEL = "codex-5"
"""The model of the trial request: an alias, so that the lines work on Codex unchanged."""

EXAMPLE = """\
Try it with the official SDK (pip install openai):

    from openai import OpenAI

    client = OpenAI(base_url="{url}", api_key="unused")
    stream = client.chat.completions.create(
        model="{model}",
        messages=[{{"role": "user", "content": "Hello"}}],
        stream=True,
    )
    for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    command.add_argument("--port", default="11435", help="TCP port; 0: any free one (11435)")
    command.add_argument("--once", action="store_true", help="stop after the trial request")


def run(options: argparse.Namespace) -> int:
    """`turntape demo`."""
    return serve_recorded(options.port, options.once)


def serve_recorded(port: str, once: bool) -> int:
    """Run the demo; returns when it was stopped, or after the trial with `once`.

    Raises:
        ConfigError: the port is none.
    """
    environ = {
        "PROXY_WORKER": "scripted",
        "PROXY_EVENT_LOG": "full",
        "PROXY_LOG_LEVEL": "warning",
        # Who stops a demo waits for none of its answers.
        "PROXY_DRAIN_TIMEOUT_MS": "0",
    }
    with (
        signals.caught() as caught,
        tempfile.TemporaryDirectory(prefix="turntape-demo-") as directory,
    ):
        environ["PROXY_DATA_DIR"] = directory
        config, _ = configuration.load(environ, {"port": port})
        diagnostics.configure(config)
        return eventloop.run(_demonstrate(config, once, caught))


async def _demonstrate(config: settings.Config, once: bool, caught: signals.Caught) -> int:
    bound: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    server, running = await _start(config, bound)
    asked = asyncio.Event()

    def stop(_: int = 0) -> None:
        asked.set()
        server.stop()

    eventloop.forward(caught, stop)
    try:
        status = await _present(*bound.result(), config.log_dir, asked)
        if once:
            stop()
        elif not asked.is_set():
            _say("Ctrl-C stops the server. `turntape serve` runs it on Codex.")
        await asked.wait()
    finally:
        server.stop()
        await running
    return exits.FAILED if server.undone else status


async def _present(host: str, port: int, log_dir: Path, asked: asyncio.Event) -> int:
    """Stream one answer, replay it, say how to go on; asked to stop, no further."""
    url = f"http://{host}:{port}/v1"
    _say(f"Serving recorded streams on {url}\n")
    _say(f"One request, streamed (model {MODEL}):\n")
    try:
        await asyncio.to_thread(_stream_one, host, port)
    except (http.client.HTTPException, ConnectionError):
        if not asked.is_set():
            raise
    if asked.is_set():
        return exits.CLEAN
    same = await asyncio.to_thread(_replay, log_dir)
    _say(EXAMPLE.format(url=url, model=MODEL))
    return exits.CLEAN if same else exits.FAILED


async def _start(
    config: settings.Config, bound: "asyncio.Future[tuple[str, int]]"
) -> tuple[serve.Server, "asyncio.Task[None]"]:
    """Start the server, on a free port where the usual one is taken."""

    def announce(host: str, port: int) -> None:
        bound.set_result((host, port))

    while True:
        server = serve.Server(config, {}, announce)
        running = asyncio.create_task(server.run())
        await asyncio.wait((running, bound), return_when=asyncio.FIRST_COMPLETED)
        if bound.done():
            return server, running
        try:
            running.result()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or config.port == 0:
                raise
        config = msgspec.structs.replace(config, port=0)


def _stream_one(host: str, port: int) -> None:
    body = {
        "model": MODEL,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=30)) as connection:
        headers = {"content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        for text in _texts(connection.getresponse()):
            sys.stdout.write(text)
            sys.stdout.flush()
    _say("\n")


def _texts(response: http.client.HTTPResponse) -> Iterator[str]:
    while line := response.readline():
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:]).get("choices", ()):
                yield choice["delta"].get("content") or ""


def _replay(directory: Path) -> bool:
    """Replay the log of this demo, as `turntape replay` does."""
    run = replay.Replay(reply)
    run.run(segments.read(directory))
    same = run.divergence is None and run.tally.full > 0
    _say(
        f"Replayed its log: {run.tally.records} records, "
        f"{'the same steps and the same bytes' if same else 'DIVERGED'}.\n"
    )
    return same


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
