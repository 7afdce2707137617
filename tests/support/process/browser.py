"""A web site, and a real Chromium that chromedriver drives by the commands of WebDriver
(https://www.w3.org/TR/webdriver2/).

with browser.site(pages) as port, browser.running("app.test") as chromium:
    chromium.open(f"http://app.test:{port}/")
    assert chromium.run("return (await fetch('/there')).status") == 200
"""

import base64
import contextlib
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pytest

from tests.support.client import httpclient
from tests.support.process import machinetime

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")

DRIVER: Final = shutil.which("chromedriver")

needed = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs chromium and chromedriver: `apt-get install chromium chromium-driver`",
)

FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--no-proxy-server"),
)
"""How it is started: without a screen, and without a word to anybody who was not asked for."""

STARTED: Final = "was started successfully on port "
"""What chromedriver says before its port."""

SCRIPT_MS: Final = round(machinetime.HANG_S * 1000)
"""How long a script may take."""


class Failed(Exception):
    """Raised for a command that the browser could not follow, or a script that threw."""


class Browser:
    """One window of a browser.

    Args:
        url: of its session.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        command(self._url, "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script of the page returns.

        Args:
            script: the body of an async function.
            arguments: JSON; the script's own `args`.
        """
        called = f"return (async (...args) => {{ {script} }})(...arguments)"
        return command(self._url, "/execute/sync", {"script": called, "args": arguments})

    def tell(self, method: str, **parameters: Any) -> Any:
        """What a command of the DevTools protocol is answered with; see
        https://chromedevtools.github.io/devtools-protocol/."""
        return command(self._url, "/goog/cdp/execute", {"cmd": method, "params": parameters})

    def resize(self, width: int, height: int, zoom: float = 1.0) -> None:
        """Have a window of this many pixels, and a reader who has enlarged what is in it."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=round(width / zoom),
            height=round(height / zoom),
            deviceScaleFactor=zoom,
            mobile=False,
        )

    def prefer(self, scheme: Literal["light", "dark"]) -> None:
        """Be a browser of somebody who prefers light pages, or dark ones."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.tell("Emulation.setEmulatedMedia", features=features)

    def press(self, keys: str) -> None:
        """Press keys, one after the other; special ones as WebDriver numbers them."""
        pressed = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": pressed}
        command(self._url, "/actions", {"actions": [source]})

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Press the mouse's button at a place of the window, and let it go at another."""
        moves = [
            {"type": "pointerMove", "x": start[0], "y": start[1]},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "x": end[0], "y": end[1], "duration": 50},
            {"type": "pointerUp", "button": 0},
        ]
        source = {"type": "pointer", "id": "mouse", "actions": moves}
        command(self._url, "/actions", {"actions": [source]})

    def picture(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.tell("Page.captureScreenshot", format="png")["data"])


def command(url: str, path: str, body: Any) -> Any:
    """The value that a command of WebDriver is answered with.

    Raises:
        Failed: it is answered with an error.
    """
    response = httpclient.ask(url, "POST", path, body)
    value = json.loads(response.body)["value"]
    if response.status != 200:
        raise Failed(f"{value['error']}: {value['message']}")
    return value


@contextlib.contextmanager
def running(*hosts: str) -> Iterator[Browser]:
    """A browser with an empty profile, for which these host names are this machine."""
    rules = ", ".join(f"MAP {host} 127.0.0.1" for host in hosts)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, _driver() as url:
        flags = [*FLAGS, f"--host-resolver-rules={rules}", f"--user-data-dir={profile}"]
        wanted = {
            "browserName": "chrome",
            "timeouts": {"script": SCRIPT_MS},
            "goog:chromeOptions": {"binary": CHROMIUM, "args": flags},
        }
        session = command(url, "/session", {"capabilities": {"alwaysMatch": wanted}})
        mine = f"{url}/session/{session['sessionId']}"
        try:
            yield Browser(mine)
        finally:
            httpclient.ask(mine, "DELETE")


@contextlib.contextmanager
def _driver() -> Iterator[str]:
    assert DRIVER is not None
    process = subprocess.Popen(
        (DRIVER, "--port=0"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        with process.stdout as stdout:
            said = ""
            while STARTED not in said:
                said = stdout.readline()
                assert said, "chromedriver did not start"
            port = said.partition(STARTED)[2].strip(" .\n")
            yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


class File(NamedTuple):
    """A file of a site."""

    kind: str
    body: bytes


HTML: Final = "text/html; charset=utf-8"

KINDS: Final = {".mjs": "text/javascript", ".js": "text/javascript", ".html": HTML}
"""Media types by the end of a name."""


def directory(root: Path) -> Callable[[str], File | None]:
    """The files of a directory that have one of `KINDS`, by their paths from there."""

    def find(path: str) -> File | None:
        file = (root / path).resolve()
        if not file.is_relative_to(root) or not file.is_file() or file.suffix not in KINDS:
            return None
        return File(KINDS[file.suffix], file.read_bytes())

    return find


@contextlib.contextmanager
def site(find: Callable[[str], File | None]) -> Iterator[int]:
    """A web site on a port of loopback, the same under every host name.

    Args:
        find: the file of a path, which has no leading slash.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = find(self.path.partition("?")[0].removeprefix("/"))
            self.send_response(404 if found is None else 200)
            if found is not None:
                self.send_header("content-type", found.kind)
            body = b"" if found is None else found.body
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()
