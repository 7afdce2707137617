"""A running `turntape ui`: its link, and what a browser that has opened it may ask."""

import os
import signal
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any, Self

import msgspec

from tests.support.client import httpclient, httpwire
from tests.support.process import measured, serving


class Page:
    """The server of the page of a log, stopped where its `with` block ends.

    Attributes:
        link: as it was printed.
        base: the URL before the path.
    """

    def __init__(self, log: Path, *flags: str) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-m", "server", "ui", str(log), "--no-open", *flags),
            cwd=serving.ROOT,
            env={**os.environ, **measured.VARIABLES},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.link = line.split()[-1]
        parts = urllib.parse.urlsplit(self.link)
        self.base = f"{parts.scheme}://{parts.netloc}"
        self.token = urllib.parse.parse_qs(parts.query)["token"][0]
        self._cookie = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to stop; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=serving.READY_S)
        return self.process.returncode

    def enter(self) -> str:
        """Use the link up; the cookie that takes its place."""
        response = self.ask(f"/?token={self.token}")
        assert response.status == 200, response
        self._cookie = response.headers["set-cookie"].partition(";")[0]
        return self._cookie

    def ask(self, path: str, method: str = "GET", **headers: str) -> httpwire.Response:
        """What a request is answered with; it has the cookie, once there is one.

        Args:
            headers: with `_` in place of `-`.
        """
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._cookie:
            given.setdefault("cookie", self._cookie)
        return httpclient.ask(self.base, method, path, None, given)

    def json(self, path: str) -> Any:
        """What an answer of the log says."""
        response = self.ask(path)
        assert response.status == 200, response
        return msgspec.json.decode(response.body)
