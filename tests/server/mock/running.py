"""A `turntape mock` with scopes, in a process of its own, as tests of the room have it."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.support.client import httpclient, httpwire
from tests.support.process import measured, serving

ADMIN: Final = "adminKey0123456789admin"

Json = dict[str, Any]


class Mock:
    """A running mock.

    Attributes:
        line: that it said when it was ready.
        url: the base URL of clients without a scope.
        address: without a path.
    """

    def __init__(self, *flags: str, port: str = "0", **environ: str) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-m", "server", "mock", "--port", port, *flags),
            cwd=serving.ROOT,
            env={"PATH": os.environ["PATH"], **measured.VARIABLES, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        assert self.line, self.process.communicate()[1]
        self.url = self.line.split()[-1]
        self.address = self.url.removesuffix("/v1")

    def administer(
        self, method: str, scope: str, body: Json | None = None, key: str = ADMIN
    ) -> tuple[int, Json]:
        """Ask about a scope: status and JSON."""
        headers = {"authorization": f"Bearer {key}"}
        path = f"/admin/mock/scopes/{scope}"
        answer = httpclient.ask(self.address, method, path, body, headers)
        return answer.status, json.loads(answer.body)

    def make(self, scope: str, *transcripts: Path, **options: Any) -> None:
        """Make a scope, or change it."""
        options["transcripts"] = [str(each) for each in transcripts]
        status, answer = self.administer("PUT", scope, options)
        assert status == 200, answer

    def ask(self, text: str, scope: str | None = None, **fields: Any) -> httpwire.Response:
        """A whole answer to a question, without a stream."""
        headers = fields.pop("headers", {})
        body = {"model": "m", "messages": [{"role": "user", "content": text}], **fields}
        path = "/v1/chat/completions" if scope is None else f"/scope/{scope}/v1/chat/completions"
        return httpclient.ask(self.address, "POST", path, body, headers)


@contextlib.contextmanager
def running(*flags: str, **environ: str) -> Iterator[Mock]:
    """A mock, stopped at the end."""
    mock = Mock(*flags, **environ)
    try:
        yield mock
    finally:
        mock.process.terminate()
        mock.process.communicate()


def error(answer: httpwire.Response) -> Json:
    """The error of an answer."""
    found: Json = json.loads(answer.body)["error"]
    return found
