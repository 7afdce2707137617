"""`turntape login` and `turntape logout`: the login of the server's Codex, in its home.

Both start a Codex of their own on the home, whether or not a server runs on it: that one looks at
the home itself, and has its processes take the new login.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

from engine.codex import account, login, loginfile, options as codexoptions
from server import assembly
from server.cli import configured, printing
from server.config import settings
from server.process import eventloop, exits, signals

KEY_BYTES: Final = 4096
"""Most bytes that are read of a key; OpenAI's have some 160."""

NOTICED: Final = "A server that runs on it takes it within 5 s."
"""The last line after a change, for people."""

Errand = Callable[[login.Login, codexoptions.Options], Awaitable[int]]
"""Does what was asked for, and returns the exit status."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `turntape login`."""
    ways = command.add_mutually_exclusive_group()
    ways.add_argument(
        "--device",
        action="store_true",
        help="log in from a browser on any machine, by a code: for ssh, containers, services",
    )
    ways.add_argument(
        "--with-api-key",
        action="store_true",
        help="keep an API key, which is read from standard input",
    )
    ways.add_argument("--status", action="store_true", help="say who is logged in; 1: nobody is")
    configured.add_arguments(command)


def run(options: argparse.Namespace) -> int:
    """Log in the way that was asked for, or say who is logged in."""
    config = configured.load_quiet(options)
    if options.status:
        return _run(config, _show_standing)
    if not _login_counts(config):
        return exits.FAILED
    if options.with_api_key:
        key = sys.stdin.buffer.readline(KEY_BYTES).decode("utf-8", "replace").strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            printing.complain(
                "no API key on standard input: printenv OPENAI_API_KEY | turntape login "
                "--with-api-key"
            )
            return exits.USAGE

        async def keep(errand: login.Login, setup: codexoptions.Options) -> int:
            await errand.log_in(key)
            return _logged_in(setup)

        return _run(config, keep)
    return _run(config, _by_device if options.device else _by_browser)


def log_out(config: settings.Config) -> int:
    """Remove the login."""
    return _run(config, _log_out) if _login_counts(config) else exits.FAILED


def _login_counts(config: settings.Config) -> bool:
    """Return whether a login in the home is what the server uses; say so where it is not."""
    if config.codex_api_key is not None:
        printing.complain(
            "PROXY_CODEX_API_KEY is set, and the server uses that key, whatever login there is: "
            "unset it to use a login"
        )
        return False
    if config.codex_base_url is not None:
        printing.complain(
            "PROXY_CODEX_BASE_URL is set, and no login is sent there: set PROXY_CODEX_API_KEY "
            "for a provider that wants a key"
        )
        return False
    return True


def _run(config: settings.Config, errand: Errand) -> int:
    with signals.caught() as caught:
        return eventloop.run(_until_done(config, errand, caught))


async def _until_done(config: settings.Config, errand: Errand, caught: signals.Caught) -> int:
    options = assembly.codex_options(config)
    given_up: list[int] = []
    async with login.running(options, os.environ) as started:
        doing = asyncio.ensure_future(errand(started, options))

        def give_up(number: int) -> None:
            given_up.append(number)
            doing.cancel()

        eventloop.forward(caught, give_up)
        await asyncio.wait({doing})
    if given_up:
        return signals.status_of(given_up[0])
    try:
        return doing.result()
    except login.LoginFailed as error:
        printing.complain(f"{_what(errand)} failed: {error}")
        return exits.FAILED


def _what(errand: Errand) -> str:
    return "logout" if errand is _log_out else "login"


async def _by_browser(errand: login.Login, options: codexoptions.Options) -> int:
    link = await errand.link()
    printing.say("Open this link in a browser on this machine:", "", f"  {link.url}", "")
    printing.say(
        "The browser comes back to port 1455 of this machine. From elsewhere, forward it first",
        "(`ssh -L 1455:localhost:1455 THIS-MACHINE`), or run `turntape login --device` instead.",
    )
    return await _wait(errand, options)


async def _by_device(errand: login.Login, options: codexoptions.Options) -> int:
    link = await errand.device_link()
    printing.say("Open this link in a browser on any machine:", "", f"  {link.url}", "")
    printing.say("and enter this code, which is good for 15 minutes:", "", f"  {link.code}", "")
    printing.say("Enter it only where you opened the link yourself.")
    return await _wait(errand, options)


async def _wait(errand: login.Login, options: codexoptions.Options) -> int:
    printing.say("Waiting for the login. Ctrl-C gives up.")
    await errand.completed()
    return _logged_in(options)


def _logged_in(options: codexoptions.Options) -> int:
    printing.say(f"Logged in. The login is kept in {options.setup.home}.", NOTICED)
    return exits.CLEAN


async def _log_out(errand: login.Login, options: codexoptions.Options) -> int:
    home = options.setup.home
    try:
        found = loginfile.read(home)
    except (OSError, loginfile.Unreadable):
        found = None  # Codex says what becomes of it
    if found == loginfile.NOBODY:
        printing.say(f"Nobody was logged in, in {home}.")
        return exits.CLEAN
    await errand.log_out()
    printing.say(f"Logged out. There is no login in {home} any more.")
    printing.say(f"{NOTICED} Then it answers 401 until `turntape login`.")
    return exits.CLEAN


async def _show_standing(errand: login.Login, options: codexoptions.Options) -> int:
    from server.cli.checks import codex  # a server has no need of it

    found = codex.login(options.setup)
    if options.setup.has_key or options.setup.base_url is not None:
        printing.say(f"Login: {found.found}.")
        return exits.CLEAN
    its = await errand.standing()
    if its.account is None:
        printing.say(*printing.folded(f"Login: {found.found}. {found.advice}".strip(), 0))
        return exits.FAILED
    printing.say(f"Login: {found.found}.")
    for line in _quota_lines(its):
        printing.say(line)
    if its.trouble:
        trouble = f"Some of it could not be asked for: {its.trouble}"
        printing.say(*printing.folded(trouble, 0))
    return exits.CLEAN


def _quota_lines(its: login.Standing) -> list[str]:
    """Tell of an account's plan, quota and use, as far as it is known."""
    from server.cli.checks import quota  # nor of this

    known = account.Account()
    known.found(loginfile.Kind.CHATGPT, its.account.plan_type if its.account else None)
    if its.quota is not None:
        known.read(its.quota)
    now = time.time()
    lines = [] if known.plan == account.UNKNOWN else [f"Plan: {known.plan}."]
    lines += [f"Quota: {quota.told(each, now)}." for each in known.windows(now)]
    if known.credits is not None:
        lines.append(f"Credits: {_credits(known.credits.unlimited, known.credits.balance)}.")
    if its.usage is not None and its.usage.lifetime_tokens is not None:
        lines.append(f"Tokens: {its.usage.lifetime_tokens:,} so far, of all clients together.")
    return lines


def _credits(is_unlimited: bool, balance: str | None) -> str:
    return "unlimited" if is_unlimited else balance or "none"
