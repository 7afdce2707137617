"""The fixture `turntape_mock`, as the tests of another project have it: a pytest of its own."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.log.read import segments
from tests.server.launcher.turntape import project
from tests.support.process import machinetime

pytestmark = pytest.mark.slow

ASK = """
import openai, os, pytest, signal, subprocess, warnings

def ask(mock, text, **more):
    with openai.OpenAI(base_url=mock.url, api_key=mock.api_key, max_retries=0) as client:
        return client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": text}], **more
        )

def said(mock, text):
    return ask(mock, text).choices[0].message.content
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.package(tmp_path_factory.mktemp("path"))


@pytest.fixture
def mine(tmp_path: Path, path: Path) -> project.Project:
    """A project of no tests."""
    return project.Project(tmp_path, path)


@pytest.fixture(scope="module")
def provider(path: Path) -> Iterator[str]:
    with project.provider(path) as url:
        yield url


@pytest.mark.long
@pytest.mark.parametrize("more", [(), ("-n", "2")])
def test_the_example_project_passes(tmp_path: Path, path: Path, more: tuple[str, ...]) -> None:
    copy = Path(shutil.copytree(project.EXAMPLE, tmp_path / "example"))
    status, said = project.Project(copy, path).pytest(*more)
    assert status == 0, said
    assert "5 passed" in said


@pytest.mark.long
def test_answers_are_recorded_once_and_played_from_then_on(
    mine: project.Project, provider: str
) -> None:
    test = mine.write(
        "test_one.py",
        ASK
        + """
class TestGroup:
    @pytest.mark.parametrize("text", ["plain", "a/b"])
    def test_two(self, turntape_mock, text):
        for question in (text, "again", "again"):
            assert said(turntape_mock, question)
""",
    )
    status, printed = mine.pytest("test_one.py")
    assert (status, "2 failed" in printed) == (1, True), printed
    record = ("--turntape-on-miss", "record", "--turntape-upstream", provider)
    status, printed = mine.pytest(*record)
    assert status == 0, printed
    kept = mine.directory / "recordings" / test.stem
    names = sorted(path.name for path in kept.iterdir())
    assert names[1] == "TestGroup.test_two[plain]"
    assert re.fullmatch(r"TestGroup\.test_two\[a-b\]-[0-9a-f]{8}", names[0])
    for name in names:
        files = sorted((kept / name).iterdir())
        assert [path.name for path in files] == ["01.jsonl", "02.jsonl", "03.jsonl"]
        for path in files:
            assert b"sk-real" not in path.read_bytes()
            reading = segments.read(path)
            assert sum(1 for _ in reading) > 10
            assert reading.problems == []
    status, printed = mine.pytest()
    assert status == 0, printed
    status, printed = mine.pytest(*record)
    assert status == 0, printed
    assert len(list(kept.rglob("*.jsonl"))) == 6


def test_a_miss_fails_the_test_whatever_its_program_made_of_it(mine: project.Project) -> None:
    mine.write("recordings/test_a/test_swallowed/01.jsonl", recording(project.EXAMPLE))
    mine.write(
        "test_a.py",
        ASK
        + """
def test_swallowed(turntape_mock):
    try:
        said(turntape_mock, "Where is my purse?")
    except openai.NotFoundError:
        pass
""",
    )
    status, printed = mine.pytest()
    assert status == 1
    for text in (
        "No recording answers this request (match: message).",
        "last message  user: 'Where is my purse?'",
        "near: test_swallowed/01",
        "last message  user: 'Where is my parcel?'",
        "pytest --turntape-on-miss record --turntape-upstream URL",
        "1 failed",
    ):
        assert text in printed, printed


def recording(example: Path) -> str:
    (path,) = example.rglob("test_a_question_is_answered/01.jsonl")
    return path.read_text("utf-8")


def test_what_cannot_be_is_said_in_the_test_that_wants_it(mine: project.Project) -> None:
    mine.write("recordings/test_b/test_broken/01.jsonl", '{"stream":"x"}\n')
    mine.write(
        "test_b.py",
        ASK
        + """
@pytest.mark.turntape(match="words")
def test_word(turntape_mock): pass

@pytest.mark.turntape(matches="body")
def test_option(turntape_mock): pass

@pytest.mark.turntape(transcripts="nowhere")
def test_directory(turntape_mock): pass

@pytest.mark.turntape(fault="explode=1")
def test_fault(turntape_mock): pass

@pytest.mark.turntape(on_miss="record")
def test_nobody_to_record(turntape_mock): pass

def test_broken(turntape_mock): pass

@pytest.mark.turntape(transcript="text-short")
def test_good(turntape_mock):
    assert said(turntape_mock, "x")
    assert turntape_mock.requests[0].recording == "text-short"
    assert "authorization" not in turntape_mock.requests[0].headers
""",
    )
    status, printed = mine.pytest()
    assert status == 1
    for text in (
        "match: 'words' is none of body, message, model, sequence",
        "matches is no option of it",
        "transcripts: there is no ",
        "explode: is no fault",
        "there is no provider to record from",
        "01.jsonl:1 (byte 0): corrupt",
        "1 passed, 6 errors",
    ):
        assert text in printed, printed


def test_a_mock_that_dies_fails_its_test_and_is_replaced(mine: project.Project) -> None:
    mine.write(
        "test_c.py",
        ASK
        + """
pytestmark = pytest.mark.turntape(transcript="text-short")

def test_killed(turntape_mock):
    assert said(turntape_mock, "x")
    child = turntape_mock._process._child
    os.kill(child.pid, signal.SIGKILL)
    child.wait()

def test_next(turntape_mock):
    assert said(turntape_mock, "x")
""",
    )
    status, printed = mine.pytest()
    assert status == 1
    assert "`turntape mock` does not answer" in printed
    assert "it ended with status -9" in printed
    assert "1 failed, 1 passed" in printed


def test_a_mock_that_does_not_start_says_why(mine: project.Project) -> None:
    mine.write("test_d.py", "def test_it(turntape_mock): pass\n")
    url = ("--turntape-upstream", "no-url")
    status, printed = mine.pytest(*url)
    assert status == 1
    assert "`turntape mock` did not start" in printed
    assert "turntape: --upstream: " in printed


def test_it_ends_with_the_run_also_where_that_is_killed(mine: project.Project) -> None:
    mine.write(
        "test_e.py",
        ASK
        + """
def test_it(turntape_mock):
    open("pid", "w").write(str(turntape_mock._process._child.pid))
    os.kill(os.getpid(), signal.SIGKILL)
""",
    )
    assert mine.pytest()[0] == -9
    gone = Path("/proc", (mine.directory / "pid").read_text())
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc here")
    machinetime.until(lambda: not gone.exists())


def test_faults_speed_and_matching_are_the_tests_own(mine: project.Project) -> None:
    for number in ("01", "02"):
        mine.write(f"shared/{number}.jsonl", recording(project.EXAMPLE))
    mine.write(
        "test_f.py",
        ASK
        + """
pytestmark = pytest.mark.turntape(transcripts="shared")

@pytest.mark.turntape(match="sequence")
def test_sequence(turntape_mock):
    assert said(turntape_mock, "anything") and said(turntape_mock, "else")
    assert [r.recording for r in turntape_mock.requests] == ["shared/01", "shared/02"]
    with pytest.raises(openai.NotFoundError):
        said(turntape_mock, "a third")
    turntape_mock.allow_misses()

@pytest.mark.turntape(match="body")
def test_body(turntape_mock):
    assert said(turntape_mock, "Where is my parcel?")
    with pytest.raises(openai.NotFoundError):
        ask(turntape_mock, "Where is my parcel?", temperature=0)
    turntape_mock.allow_misses()

@pytest.mark.turntape(match="model")
def test_model(turntape_mock):
    assert said(turntape_mock, "anything")
    turntape_mock.use(match="message")
    with pytest.raises(openai.NotFoundError):
        said(turntape_mock, "anything")
    turntape_mock.allow_misses()

def test_fault(turntape_mock):
    turntape_mock.fault("status=500, times=1")
    with pytest.raises(openai.InternalServerError):
        said(turntape_mock, "Where is my parcel?")
    assert said(turntape_mock, "Where is my parcel?")

def test_environ(turntape_mock, monkeypatch):
    for name, value in turntape_mock.environ.items():
        monkeypatch.setenv(name, value)
    with openai.OpenAI() as client:
        assert [model.id for model in client.models.list()]
    (asked,) = turntape_mock.requests
    assert (asked.path, asked.outcome) == ("/v1/models", "other")
""",
    )
    status, printed = mine.pytest()
    assert status == 0, printed
    assert "5 passed" in printed
