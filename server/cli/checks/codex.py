"""Checks of Codex: is its program there, of which version is it, and is it logged in."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from engine.codex import loginfile
from engine.codex.child import home as codexhome
from engine.codex.protocol import appserver
from server import assembly
from server.cli.checks.findings import Finding, fail, ok, warn
from server.config import settings

ASK_LIMIT_S: Final = 10.0
"""Seconds that the program may take to say its version: 0.1 s, and 6 s if it is cold on disk."""

KINDS: Final = {
    loginfile.Kind.CHATGPT: "ChatGPT",
    loginfile.Kind.API_KEY: "an API key",
    loginfile.Kind.OTHER: "one of another kind",
}
"""The kinds of a login, as the report has them."""

_VERSION: Final = re.compile(r"\b\d{1,5}\.\d{1,5}\.\d{1,5}")


def check(config: settings.Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at the Codex that the server would start; nothing where it starts none."""
    if "codex" not in config.workers():
        return
    if not config.use_app_server:
        advice = "Its models answer 503 until PROXY_USE_APP_SERVER is true."
        yield warn("codex", "switched off by PROXY_USE_APP_SERVER", advice)
        return
    setup = assembly.codex_options(config).setup
    try:
        binary = codexhome.find_binary(config.codex_bin)
    except codexhome.BinaryNotFound as error:
        yield fail("binary", "no Codex program", f"{error}.")
    else:
        yield ok("binary", f"{binary} ({_found_by(config, binary)})")
        yield _version(binary, setup, environ)
    yield login(setup)


def _found_by(config: settings.Config, binary: Path) -> str:
    if config.codex_bin is not None:
        return "by CODEX_BIN"
    on_path = shutil.which("codex")
    is_on_path = on_path is not None and Path(on_path).absolute() == binary
    return "on PATH" if is_on_path else "the installed wheel's"


def _version(binary: Path, setup: codexhome.Setup, environ: Mapping[str, str]) -> Finding:
    reinstall = "Install it again: pip install --force-reinstall 'turntape[codex]'."
    # In a home of its own: whatever it writes there is no other process's.
    with tempfile.TemporaryDirectory(prefix="turntape-doctor-") as home:
        environment = {**codexhome.environment(setup, environ), "CODEX_HOME": home}
        try:
            done = subprocess.run(  # noqa: S603 - the program that the server itself would run
                (str(binary), "--version"),
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ASK_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            advice = "Is the disk busy? Try it by hand: it prints one line."
            return fail("version", f"no answer to --version in {ASK_LIMIT_S:.0f} s", advice)
        except OSError as error:
            return fail("version", f"it cannot be run: {error.strerror}", reinstall)
    said = done.stdout[:200].decode(errors="replace")
    found = _VERSION.search(said)
    if done.returncode or found is None:
        return fail("version", f"--version ended with {done.returncode}: {said!r}", reinstall)
    return _judge(found[0])


def _judge(text: str) -> Finding:
    version = tuple(map(int, text.split(".")))
    if version < appserver.MINIMUM_VERSION:
        least = ".".join(map(str, appserver.MINIMUM_VERSION))
        advice = f"Install {least} or later: pip install 'turntape[codex]', or set CODEX_BIN."
        return fail("version", f"{text}, older than {least}", advice)
    if version > appserver.TESTED_VERSION:
        advice = "Should it misbehave, run the tested one: unset CODEX_BIN, and install the extra."
        return warn("version", f"{text}, newer than the tested {appserver.SCHEMA_PIN}", advice)
    return ok("version", f"{text}, as tested")


def login(setup: codexhome.Setup) -> Finding:
    """Look at the login of a Codex, and show nothing of what is in it."""
    if setup.has_key:
        return ok("login", "an API key, PROXY_CODEX_API_KEY")
    if setup.base_url is not None:
        return ok("login", "none, and PROXY_CODEX_BASE_URL is sent none")
    if "model_provider" not in codexhome.settings(setup):
        return ok("login", f"that of the provider in {setup.home}/config.toml")
    path = setup.home / loginfile.NAME
    try:
        found = loginfile.read(setup.home)
    except OSError as error:
        advice = "It must be a file of the user who runs the server."
        return fail("login", f"{path}: {error.strerror}", advice)
    except loginfile.Unreadable as error:
        return fail("login", f"{path} {error}", "Delete it, and run `turntape login`.")
    if found.kind is not loginfile.Kind.NONE:
        return ok("login", f"{KINDS[found.kind]}, in {path}")
    there = f"{path} holds none" if path.exists() else f"none in {setup.home}"
    return fail("login", there, codexhome.login_advice(setup))
