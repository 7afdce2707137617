"""A real logrotate, configured as `docs/deploy/logrotate.conf`, rotates what a server writes."""

import contextlib
import getpass
import grp
import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.client import httpclient
from tests.support.process import machinetime, serving

LOGROTATE = shutil.which("logrotate", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

pytestmark = [
    pytest.mark.logrotate,
    pytest.mark.skipif(LOGROTATE is None, reason="needs logrotate"),
]

EXAMPLE: Final = serving.ROOT / "docs" / "deploy" / "logrotate.conf"
SHIPPED: Final = "/var/log/turntape/turntape.log"
OWNER: Final = "turntape turntape"


class Rotated:
    """A server whose diagnostics go to a file, and logrotate for that."""

    def __init__(self, directory: Path, base: str) -> None:
        self.base = base
        self.file = directory / "turntape.log"
        self._state = directory / "state"
        self._config = directory / "logrotate.conf"
        text = EXAMPLE.read_text(encoding="utf-8")
        assert text.count(SHIPPED) == 2
        assert text.count(OWNER) == 2
        owner = f"{getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}"
        text = text.replace(SHIPPED, str(self.file)).replace(OWNER, owner)
        # Names are made of seconds: without this a second rotation within one would be refused.
        text = text.replace("dateext", "nodateext").replace("dateformat", "# dateformat")
        self._config.write_text(text, encoding="utf-8")
        self._config.chmod(0o600)

    def ask(self, request_id: str) -> None:
        """Leave an access line of this id."""
        own = {"x-request-id": request_id}
        assert httpclient.ask(self.base, "GET", "/v1/models", None, own).status == 200

    def has(self, request_id: str) -> bool:
        return any(line.get("req_id") == request_id for line in self.lines())

    def rotate(self) -> None:
        """Rotate now, whatever the size and the day."""
        assert LOGROTATE is not None
        command = (LOGROTATE, "--force", "--state", str(self._state), str(self._config))
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, ""), ran

    def files(self) -> list[Path]:
        """The newest first."""
        found = self.file.parent.glob("turntape.log*")
        return sorted(found, key=lambda path: int(([*path.name.split("."), "0"])[2] or 0))

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line of every file."""
        found: list[dict[str, Any]] = []
        for path in self.files():
            data = (
                gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            )
            assert b"\0" not in data, f"{path} has a hole"
            *whole, rest = data.split(b"\n")
            # The copy of a file ends where its writer happened to be; nothing else is torn.
            assert not rest or path != self.file
            found += [json.loads(line) for line in whole]
        return found


@pytest.fixture
def rotated(tmp_path: Path) -> Iterator[Rotated]:
    with contextlib.ExitStack() as stack:
        file = stack.enter_context((tmp_path / "turntape.log").open("ab"))
        server = subprocess.Popen(
            (sys.executable, "-m", "server", "serve", "--port", "0", "--worker", "scripted"),
            cwd=serving.ROOT,
            env={**os.environ, "PROXY_DATA_DIR": str(tmp_path / "data")},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
        stack.callback(server.wait)
        stack.callback(server.kill)
        assert server.stdout is not None
        stack.enter_context(server.stdout)
        url = server.stdout.readline().rsplit(" ", 1)[-1].strip()
        yield Rotated(tmp_path, url.removesuffix("/v1"))


def test_a_rotation_between_two_lines_loses_none(rotated: Rotated) -> None:
    ids = [f"req_{number}" for number in range(5)]
    for each in ids:
        rotated.ask(each)
        machinetime.until(lambda each=each: rotated.has(each))  # type: ignore[misc] # bound now
        rotated.rotate()
    written = [line["req_id"] for line in rotated.lines() if "req_id" in line]
    assert sorted(written) == ids
    assert len(rotated.files()) == len(ids) + 1


def test_rotations_under_load_tear_no_line_that_is_kept(rotated: Rotated) -> None:
    asked: list[str] = []
    enough = threading.Event()

    def load() -> None:
        while not enough.is_set():
            rotated.ask(f"req_{len(asked)}")
            asked.append(f"req_{len(asked)}")

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for rotation in range(1, 5):
            machinetime.until(lambda r=rotation: len(asked) > 50 * r)  # type: ignore[misc] # as above
            rotated.rotate()
    finally:
        enough.set()
        thread.join()
    rotated.ask("last")
    machinetime.until(lambda: rotated.has("last"))
    written = [str(line["req_id"]) for line in rotated.lines() if "req_id" in line]
    written.remove("last")
    assert len(written) == len(set(written))
    assert set(written) <= set(asked)
    # What was written in the moment between a copy and its cut is lost, and no more.
    assert len(asked) - len(written) < len(asked) / 2
