"""`turntape login`: gives the server's Codex a ChatGPT login of its own."""

import asyncio
import os

from engine.codex import login
from server import assembly
from server.cli import printing
from server.config import settings
from server.process import eventloop, exits, signals


def run(config: settings.Config) -> int:
    """Show the link, wait for the login, say how it went."""
    with signals.caught() as caught:
        return eventloop.run(_log_in(config, caught))


async def _log_in(config: settings.Config, caught: signals.Caught) -> int:
    options = assembly.codex_options(config)
    given_up: list[int] = []
    async with login.running(options, os.environ) as errand:
        waiting = asyncio.ensure_future(_wait(errand))

        def give_up(number: int) -> None:
            given_up.append(number)
            waiting.cancel()

        eventloop.forward(caught, give_up)
        await asyncio.wait({waiting})
    if given_up:
        return signals.status_of(given_up[0])
    try:
        waiting.result()
    except login.LoginFailed as error:
        printing.complain(f"login failed: {error}")
        return exits.FAILED
    printing.say(f"Logged in. The login is kept in {options.setup.home}.")
    printing.say("Restart a server that is running on it.")
    return exits.CLEAN


async def _wait(errand: login.Login) -> None:
    _show(await errand.link())
    await errand.completed()


def _show(url: str) -> None:
    printing.say("Open this link in a browser on this machine:", "", f"  {url}", "")
    printing.say("Waiting for the login. Ctrl-C gives up.")
