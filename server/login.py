"""`turntape login`: gives the server's Codex a ChatGPT login of its own."""

import os
import sys

import uvloop

from engine import login
from server import assembly, settings


def run(config: settings.Config) -> int:
    """Show the link, wait for the login, say how it went."""
    options = assembly.codex_options(config)
    try:
        uvloop.run(login.log_in(options, os.environ, _show))
    except login.LoginFailed as error:
        sys.stderr.write(f"turntape: login failed: {error}\n")
        return 1
    sys.stdout.write(f"Logged in. The login is kept in {options.setup.home}.\n")
    sys.stdout.write("Restart a server that is running on it.\n")
    return 0


def _show(url: str) -> None:
    sys.stdout.write(f"Open this link in a browser on this machine:\n\n  {url}\n\n")
    sys.stdout.write("Waiting for the login. Ctrl-C gives up.\n")
    sys.stdout.flush()
