"""`turntape complete`: what it prints completes the command line in the shell it is for."""

import shutil
import subprocess
from pathlib import Path

import pytest

from server.cli import command_line as cli, completion

ASKED = {
    "bash": (
        "COMP_WORDS=({words}); COMP_CWORD={last}; source {file}; "
        "_shtab_turntape; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    ),
    "fish": "source {file}; complete --do-complete '{line}'",
}
"""What has a shell say how it would complete a line."""


def completed(shell: str, line: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a shell offers at the end of a line."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    assert cli.main(["complete", shell]) == 0
    file = directory / "completion"
    file.write_text(capsys.readouterr().out, encoding="utf-8")
    last = line.count(" ")
    asked = ASKED[shell].format(words=line, last=last, line=line, file=file)
    done = subprocess.run(
        (shell, "-c", asked), capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", ASKED)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("turntape doc", ["doctor"]),
        ("turntape log --fai", ["--failed"]),
        ("turntape keys rev", ["revoke"]),
        ("turntape serve --wor", ["--worker"]),
    ],
)
def test_a_command_its_actions_and_its_flags_are_completed(
    shell: str,
    line: str,
    offered: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = completed(shell, line, tmp_path, capsys)
    assert [row.partition("\t")[0].strip() for row in said.splitlines()] == offered


def test_zsh_takes_its_file_as_a_completion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh")
    assert cli.main(["complete", "zsh"]) == 0
    (tmp_path / "_turntape").write_text(capsys.readouterr().out, encoding="utf-8")
    asked = (
        f"fpath=({tmp_path} $fpath); autoload -Uz compinit; compinit -D -u; "
        "print -r -- $_comps[turntape]; autoload +X -Uz _turntape; whence -w _turntape"
    )
    done = subprocess.run(("zsh", "-f", "-c", asked), capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("_turntape\n_turntape: function\n", "")


def test_a_shell_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["complete", "ash"]) == 2
    assert "Did you mean bash?" in capsys.readouterr().err


def test_the_file_of_each_shell_is_there() -> None:
    found = {path.name for path in completion.DIRECTORY.iterdir()}
    assert found == {*completion.FILES.values(), "turntape.1"}
