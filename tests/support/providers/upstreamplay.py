"""An upstream in a thread of its own, and a server in front of it, for clients without a loop.

with upstreamplay.stage([upstreams.stream(*chunks)]) as stage:
    ...  # ask stage.server.url
    assert stage.upstream.requests[0].body["model"] == "m"
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.process import serving
from tests.support.providers import upstreams


class Upstream:
    """A running upstream.

    Attributes:
        requests: for completions, in the order they came.
    """

    def __init__(self, upstream: upstreams.Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self.url = upstream.url
        self.requests = upstream.requests
        self._loop = loop

    def open(self, gate: asyncio.Event) -> None:
        """Let the answers pass that wait for it."""
        self._loop.call_soon_threadsafe(gate.set)


class Stage(NamedTuple):
    """A server in front of an upstream."""

    server: serving.Serve
    upstream: Upstream


@contextlib.contextmanager
def running(script: upstreams.Script) -> Iterator[Upstream]:
    """An upstream that answers by this script."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="upstream")
    thread.start()
    upstream = upstreams.Upstream(script, upstreams.LISTED)
    try:
        asyncio.run_coroutine_threadsafe(upstream.open(), loop).result()
        try:
            yield Upstream(upstream, loop)
        finally:
            asyncio.run_coroutine_threadsafe(upstream.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def stage(script: upstreams.Script, **environ: str) -> Iterator[Stage]:
    """A ready server whose upstream answers by this script."""
    with running(script) as upstream:
        settings = {"PROXY_UPSTREAM_URL": upstream.url, "PROXY_EVENT_LOG": "full", **environ}
        with serving.running("--worker", "upstream", data_dir=None, **settings) as server:
            yield Stage(server, upstream)
