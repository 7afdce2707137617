"""A real Prometheus for tests, on a port of its own, with its answers as numbers."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.client import httpclient
from tests.support.process import machinetime, serving

PROGRAM: Final = shutil.which("prometheus")
"""Debian's, or None."""

Samples = Mapping[tuple[str, ...], float]
"""Samples by the values of some of their labels."""


@contextlib.contextmanager
def running(configuration: str) -> Iterator[str]:
    """The URL of a Prometheus that has scraped its target.

    Args:
        configuration: of one job, `turntape`, with one target.
    """
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent)
        (directory / "prometheus.yml").write_text(configuration)
        address = f"127.0.0.1:{serving.free_port()}"
        program = (
            PROGRAM,
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={address}",
        )
        with (directory / "errors").open("wb") as errors:
            process = subprocess.Popen(program, stderr=errors)
        try:
            machinetime.until(lambda: is_up(f"http://{address}") or process.poll() is not None)
            assert process.poll() is None, (directory / "errors").read_text()
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait()


def is_up(url: str) -> bool:
    """Whether it has scraped its target."""
    with contextlib.suppress(OSError):
        return query(url, "up") == {("turntape",): 1}
    return False


def query(url: str, expression: str, *labels: str) -> Samples:
    """The answer to a PromQL expression, by the values of these labels.

    Raises:
        ConnectionError: it did not answer, or not to this expression.
    """
    return {
        tuple(each["metric"].get(label, "") for label in labels or ("job",)): float(
            each["value"][1]
        )
        for each in series(url, expression)
    }


def series(url: str, expression: str) -> list[dict[str, Any]]:
    """The series of the answer to a PromQL expression, each with its labels and its value.

    Raises:
        ConnectionError: as `query`.
    """
    escaped = urllib.parse.quote(expression)
    found: list[dict[str, Any]] = asked(url, f"query?query={escaped}")["result"]
    return found


def asked(url: str, path: str) -> Any:
    """The data of an answer of its HTTP API, version 1."""
    response = httpclient.ask(url, "GET", f"/api/v1/{path}")
    if response.status != 200:
        raise ConnectionError(response.status, response.body)
    return json.loads(response.body)["data"]
