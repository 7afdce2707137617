"""`turntape demo`: serve recorded streams, stream one request, replay what was logged."""

import asyncio
import contextlib
import errno
import http.client
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop

from engine import replay, segments
from server import config as configuration
from server import diagnostics, serve, settings
from server.renderers import renderer

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


def run(port: str, once: bool) -> int:
    """Run the demo; returns when it was stopped, or after the trial with `once`."""
    with tempfile.TemporaryDirectory(prefix="turntape-demo-") as directory:
        environ = {
            "PORT": port,
            "PROXY_WORKER": "scripted",
            "PROXY_DATA_DIR": directory,
            "PROXY_EVENT_LOG": "full",
            "PROXY_LOG_LEVEL": "warning",
        }
        config, _ = configuration.load(environ)
        diagnostics.configure(config)
        return uvloop.run(_demonstrate(config, once))


async def _demonstrate(config: settings.Config, once: bool) -> int:
    bound: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    server, running = await _start(config, bound)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    host, port = bound.result()
    url = f"http://{host}:{port}/v1"
    _say(f"Serving recorded streams on {url}\n")
    _say(f"One request, streamed (model {MODEL}):\n")
    await asyncio.to_thread(_stream_one, host, port)
    same = await asyncio.to_thread(_replay, config.log_dir)
    _say(EXAMPLE.format(url=url, model=MODEL))
    if once:
        server.stop()
    else:
        _say("Ctrl-C stops the server. `turntape serve` runs it on Codex.")
    await running
    return 0 if same else 1


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
            for choice in json.loads(line[6:])["choices"]:
                yield choice["delta"].get("content") or ""


def _replay(directory: Path) -> bool:
    """Replay the log of this demo, as `turntape replay` does."""
    run = replay.Replay(renderer)
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
