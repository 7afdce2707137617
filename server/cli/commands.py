"""The commands of `turntape`, by name, in the order in which help lists them."""

from typing import Final

from server.cli.log import commands
from server.cli.parser import Command

COMMANDS: Final = (
    Command("serve", "server.cli.serve", "run the server; the worker is Codex by default"),
    Command("config", "server.cli.config", "show every setting, its value and its source"),
    Command("login", "server.cli.login", "log the server's Codex in, or say who is"),
    Command("logout", "server.cli.logout", "remove the login of the server's Codex"),
    Command("doctor", "server.cli.doctor", "say what is wrong, and what to do about it"),
    Command("smoke", "server.cli.smoke", "ask a running server for all that clients need"),
    Command("keys", "server.cli.keys", "make, list and revoke the keys of clients"),
    Command("demo", "server.cli.demo", "serve recorded streams, try one, replay it"),
    Command("mock", "server.cli.mock", "an upstream for tests, with faults on demand"),
    *commands.COMMANDS,
    Command("replay", "server.cli.readback", "run a log through today's code and compare"),
    Command("inspect", "server.cli.inspect", "older name of `log`, and of `show`"),
    Command("health", "server.cli.health", "ask whether a server is ready, for containers"),
    Command("complete", "server.cli.completion", "what a shell needs to complete this", True),
)
"""All of them; each module is imported when its command is chosen."""
