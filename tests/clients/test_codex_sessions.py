"""Whole sessions of the Codex CLI as a client: it reads, patches and runs, on each worker.

A model that stands behind the server calls the tools that it is offered, whatever their names are
there, and the real binary does what is asked of it: the files that it leaves are the proof.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients import callers
from tests.clients.callers import ANSWER, Call
from tests.support.logs import serverlog
from tests.support.process import codexbinary, machinetime, readme, serving
from tests.tools import redraw

pytestmark = [pytest.mark.codex, pytest.mark.slow]  # each session is several steps of a process

PATCH = """*** Begin Patch
*** Update File: greeting.txt
@@
-Hello, wörld.
+Hello, "世界" \\o/.
*** End Patch
"""
"""What the model patches: quotes, backslashes and line breaks are what JSON escapes."""

BEFORE, AFTER = "Hello, wörld.\n", 'Hello, "世界" \\o/.\n'

READ, RUN = "cat greeting.txt", "cp greeting.txt ran.txt"

PLAIN = (
    Call("exec_command", {"cmd": READ}),
    Call("apply_patch", {"input": PATCH}),
    Call("exec_command", {"cmd": RUN}),
)
"""The session of a client whose tools stand in `tools`."""

SCRIPTED = tuple(
    Call("exec", {"input": source})
    for source in (
        f"text(await tools.exec_command({{cmd: {json.dumps(READ)}}}))",
        f"text(await tools.apply_patch({json.dumps(PATCH)}))",
        f"text(await tools.exec_command({{cmd: {json.dumps(RUN)}}}))",
    )
)
"""The same by JavaScript: newer models have one custom tool for all, in a namespace, and it is
declared in an item of the input."""

SESSIONS = {"gpt-5.5": PLAIN, "gpt-6-sol": SCRIPTED}
"""What the model does, by the name that its client knows it by."""


def ask(server: serving.Serve, home: Path, workdir: Path, model: str) -> list[Any]:
    """What `codex exec` prints of a session."""
    (shown,) = readme.examples(redraw.DOCS / "responses.md", "toml")
    config = shown.replace(readme.SERVER, server.base).replace("codex-5", model)
    (home / "config.toml").write_text(
        f"{config}\nrequest_max_retries = 0\nstream_max_retries = 0\n", encoding="utf-8"
    )
    # The sandbox of the client asks for more of the kernel than a container has.
    options = ("--skip-git-repo-check", "--json", "--dangerously-bypass-approvals-and-sandbox")
    asked = subprocess.run(
        (str(codexbinary.path()), "exec", *options, "Greet the world."),
        cwd=workdir,
        env={"CODEX_HOME": str(home), "HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * machinetime.HANG_S,
    )
    return [json.loads(line) for line in asked.stdout.splitlines()]


@pytest.mark.parametrize("worker", callers.WORKERS)
@pytest.mark.parametrize("client", SESSIONS)
def test_codex_reads_patches_runs_and_ends(tmp_path: Path, worker: str, client: str) -> None:
    home, workdir = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    workdir.mkdir()
    (workdir / "greeting.txt").write_text(BEFORE, encoding="utf-8")
    model = callers.Model(SESSIONS[client])
    with callers.WORKERS[worker](model) as server:
        printed = ask(server, home, workdir, client)
        serverlog.audit(server)
    assert printed[-1]["type"] == "turn.completed", (printed, model.results)
    said = [
        line["item"]["text"]
        for line in printed
        if line["type"] == "item.completed" and line["item"]["type"] == "agent_message"
    ]
    assert said == [ANSWER]
    assert len(model.results) == len(model.calls)
    assert BEFORE.strip() in str(model.results[0])
    assert (workdir / "greeting.txt").read_text(encoding="utf-8") == AFTER
    assert (workdir / "ran.txt").read_text(encoding="utf-8") == AFTER
