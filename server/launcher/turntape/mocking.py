"""A `turntape mock` for the tests of a run: its process, a scope for each test, the reports.

The process is started for the first test that asks for it, once a run (with xdist: once a
worker), and ends with it, also where the run is killed: its standard input ends then. A process
that died is replaced for the next test.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

API_KEY = "turntape-mock"
"""The key that clients are given: any text does, and this one opens nothing."""

START_S = 60.0
"""How long the process may take to say where it is."""

ANSWER_S = 30.0
"""How long it may take to answer a question of the plugin."""

NAME_CHARACTERS = 120
"""Characters that a test's directory may have: some file systems take 255 bytes."""

WORDS = {
    "match": ("body", "message", "model", "sequence"),
    "on_miss": ("fail", "passthrough", "record"),
}
"""The values of options that have few."""

MOCK = pytest.StashKey["Mock"]()
"""The mock of a test that has one."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The configuration of a run; texts that are empty were not given.

    Attributes:
        usual: options of every test whose marker says nothing else; those of the command line are
            stronger than those of the ini file.
    """

    recordings: str
    upstream: str
    upstream_key_env: str
    usual: dict[str, Any]

    @classmethod
    def of(cls, config: pytest.Config) -> Settings:
        """Read the options of a run."""

        def ini(name: str) -> str:
            return str(config.getini(f"turntape_{name}") or "").strip()

        usual = {name: ini(name) for name in ("on_miss", "speed", "match")}
        for name in ("on_miss", "speed"):
            usual[name] = config.getoption(f"turntape_{name}") or usual[name]
        return cls(
            recordings=ini("recordings") or "recordings",
            upstream=config.getoption("turntape_upstream") or ini("upstream"),
            upstream_key_env=ini("upstream_key_env") or "OPENAI_API_KEY",
            usual={name: value for name, value in usual.items() if value},
        )


@dataclasses.dataclass(frozen=True)
class Request:
    """One request that came to the mock.

    Attributes:
        path: below the base URL's host, such as `/v1/chat/completions`.
        headers: names in lower case; none of those that hold keys.
        body: as JSON; None where it is not.
        outcome: `recording`, `upstream`, `missed`, or `other` for what is no question to a model.
        recording: name of the one that answered.
        status: of the answer; None where none was sent.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    outcome: str
    recording: str | None
    status: int | None


class MockError(Exception):
    """Raised where the mock cannot do what a test wants; the text is for its author."""


class Process:
    """The process of `turntape mock`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.address = ""
        self._admin_key = secrets.token_urlsafe(24)
        self._child: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `__exit__`

    def __enter__(self) -> Process:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and wait for its end: it leaves no directory then."""
        if self._child is not None:
            assert self._child.stdin is not None
            self._child.stdin.close()
            try:
                self._child.wait(ANSWER_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
            assert self._child.stdout is not None
            self._child.stdout.close()
        self._errors.close()

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            MockError: it does not start.
        """
        if self._child is not None and self._child.poll() is None:
            return
        more = ("--upstream", self.settings.upstream) if self.settings.upstream else ()
        self._child = subprocess.Popen(  # noqa: S603 - our own program
            # Not with the project's directory first: it may have modules of any name.
            (
                sys.executable,
                "-P",
                "-m",
                "turntape",
                "mock",
                "--port",
                "0",
                "--stop-with-stdin",
                *more,
            ),
            env=self._environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        assert self._child.stdout is not None
        watch = threading.Timer(START_S, self._child.kill)
        watch.start()
        line = self._child.stdout.readline()
        watch.cancel()
        found = re.search(r"http://([^/\s]+)/v1", line)
        if found is None:
            self._child.wait()
            raise MockError(f"`turntape mock` did not start:\n{self.epitaph()}")
        self.address = found[1]

    def epitaph(self) -> str:
        """How it ended, and what it complained of."""
        self._errors.seek(0)
        said = self._errors.read()[-4000:].decode("utf-8", "replace").strip()
        status = None if self._child is None else self._child.poll()
        ended = "it is still running" if status is None else f"it ended with status {status}"
        return f"{ended}\n{said}".strip()

    def ask(self, method: str, scope: str, body: dict[str, Any] | None = None) -> Any:
        """Make, change, read or end a scope.

        Raises:
            MockError: it refuses, or there is nobody any more.
        """
        headers = {
            "authorization": f"Bearer {self._admin_key}",
            "content-type": "application/json",
        }
        connection = http.client.HTTPConnection(self.address, timeout=ANSWER_S)
        try:
            with contextlib.closing(connection):
                text = None if body is None else json.dumps(body)
                connection.request(method, f"/admin/mock/scopes/{scope}", text, headers)
                response = connection.getresponse()
                answer = json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise MockError(
                f"`turntape mock` does not answer ({error}): {self.epitaph()}"
            ) from None
        if response.status >= 500:
            raise MockError(f"{answer['error']['message']} {self.epitaph()}")
        if response.status != 200:
            raise MockError(answer["error"]["message"])
        return answer

    def _environ(self) -> dict[str, str]:
        """The environment of the process, without settings of any server of the tests."""
        environ = {
            name: text for name, text in os.environ.items() if not name.startswith("PROXY_")
        }
        environ["PROXY_ADMIN_KEY"] = self._admin_key
        if self.settings.upstream:
            key = os.environ.get(self.settings.upstream_key_env, "")
            environ |= {"PROXY_UPSTREAM_API_KEY": key}
        return environ


class Mock:
    """The mock, as one test has it.

    Attributes:
        api_key: a key for clients; it opens nothing.
        recordings: the directory of this test's recordings.
    """

    def __init__(self, process: Process, recordings: Path, options: dict[str, Any]) -> None:
        self.api_key = API_KEY
        self.recordings = recordings
        self.allows_misses = False
        self._process = process
        self._scope = secrets.token_hex(8)
        self._options = options
        self._put()

    @property
    def url(self) -> str:
        """The base URL for clients of this test."""
        return f"http://{self._process.address}/scope/{self._scope}/v1"

    @property
    def environ(self) -> dict[str, str]:
        """Variables that lead OpenAI's SDKs here."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": self.api_key}

    @property
    def requests(self) -> list[Request]:
        """Every request of this test so far, in their order."""
        return [Request(**each) for each in self.journal()["requests"]]

    @property
    def misses(self) -> list[str]:
        """A text for each request that no recording answered."""
        found: list[str] = self.journal()["misses"]
        return found

    def use(self, **options: Any) -> None:
        """Change options of the marker for the requests that follow."""
        self._options |= _checked(options, self.recordings.parents[1])
        self._put()

    def fault(self, declaration: str) -> None:
        """Have the answers that follow go wrong, such as `disconnect-after=3`; empty: no more."""
        self.use(fault=declaration)

    def allow_misses(self) -> None:
        """Let the test pass though a request had no recording."""
        self.allows_misses = True

    def journal(self) -> Any:
        """Everything that the mock has noted of this test."""
        return self._process.ask("GET", self._scope)

    def close(self) -> Any:
        """End it; the last of its journal."""
        return self._process.ask("DELETE", self._scope)

    def _put(self) -> None:
        options = dict(self._options)
        shared = options.pop("transcripts", ())
        options |= {
            "transcripts": [str(self.recordings), *map(str, shared)],
            "record_to": str(self.recordings),
        }
        self._process.ask("PUT", self._scope, options)


@contextlib.contextmanager
def of_test(item: pytest.Item, process: Process) -> Iterator[Mock]:
    """The mock of one test, with the options of its markers."""
    settings = process.settings
    options: dict[str, Any] = dict(settings.usual)
    for marker in reversed(list(item.iter_markers("turntape"))):
        options |= marker.kwargs
    directory = item.path.parent / settings.recordings / item.path.stem / directory_name(item)
    problem = ""
    try:
        checked = _checked(options, item.path.parent)
        process.start()
        mock = Mock(process, directory, checked)
    except MockError as error:
        problem = str(error)
    if problem:  # outside of the handler, whose exception would be shown as well
        pytest.fail(f"turntape_mock: {problem}", pytrace=False)
    item.stash[MOCK] = mock
    try:
        yield mock
    finally:
        del item.stash[MOCK]
        with contextlib.suppress(MockError):  # that it is gone was said of the test itself
            for note in mock.close()["notes"]:
                warnings.warn(pytest.PytestWarning(f"turntape_mock: {note}"), stacklevel=1)


def directory_name(item: pytest.Item) -> str:
    """The directory of a test's recordings: its name, with a digest where not all of it fits."""
    name = item.nodeid.partition("::")[2].replace("::", ".")
    fit = re.sub(r"[^\w.\[\]=+-]+", "-", name, flags=re.ASCII)[:NAME_CHARACTERS]
    if fit == name:
        return fit
    return f"{fit}-{hashlib.blake2b(name.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"


def _checked(options: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Options as the mock takes them.

    Args:
        directory: of the test's file: what paths are relative to.

    Raises:
        MockError: one is none, or has another value than it may have.
    """
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if name == "transcripts":
            paths = [value] if isinstance(value, str | os.PathLike) else list(value)
            checked[name] = [directory / path for path in paths]
            for path in checked[name]:
                if not path.exists():
                    raise MockError(f"transcripts: there is no {path}")
        elif name == "speed":
            try:
                checked[name] = float(value)
            except (TypeError, ValueError):
                raise MockError(f"speed: {value!r} is no number") from None
        elif name in WORDS and value not in WORDS[name]:
            raise MockError(f"{name}: {value!r} is none of {', '.join(WORDS[name])}")
        elif name in WORDS or name in ("transcript", "fault"):
            checked[name] = value
        else:
            raise MockError(f"{name} is no option of it")
    return checked


class Reporter:
    """Says in a test's report what its mock has to say. It is there once a test has had one."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A test whose request had no recording has failed, whatever its program made of that."""
        report = yield
        mock = item.stash.get(MOCK, None)
        if mock is None or call.when != "call":
            return report
        try:
            misses = [] if mock.allows_misses else mock.misses
        except MockError as error:
            misses = [str(error)]
        if not misses:
            return report
        text = "\n".join(misses)
        if report.passed and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"turntape_mock: {text}\n{hint(mock)}"
        else:
            report.sections.append(("turntape_mock", f"{text}\n{hint(mock)}"))
        return report


def hint(mock: Mock) -> str:
    """Advice about a miss."""
    return (
        f"Recordings of this test are in {mock.recordings}.\n"
        "To make them: pytest --turntape-on-miss record --turntape-upstream URL"
    )
