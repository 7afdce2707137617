"""`turntape keys`: makes, lists and revokes the keys of clients in the file of keys."""

import argparse
import contextlib
import datetime
import json
import os
import re
from pathlib import Path
from typing import Final

import msgspec

from engine.log.write import lock as writerlock
from server.cli import configured, printing
from server.cli.checks import eventlog
from server.config import keys_edit, keys_file, load as configuration
from server.process import exits

DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([dh])")
"""A time from now on: `90d`, `12h`."""

NUMBERS: Final = ("requests", "tokens", "window_s", "tokens_per_day", "streams")
"""Limits of a key, as the file has them and, with `-` for `_`, as options."""

HELP: Final = {
    "requests": "requests for answers a window",
    "tokens": "tokens a window; charged behind each answer",
    "window_s": "length of a window (PROXY_RATE_LIMIT_WINDOW_MS)",
    "tokens_per_day": "tokens a day, of UTC",
    "streams": "answers that may be in the making at once",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below `keys`: all take the settings."""
    commands = parser.add_subparsers(required=True, metavar="ACTION")
    adding = commands.add_parser("add", help="make a key, print it once, and keep its hash")
    adding.add_argument("name", help="what it goes by, in lines, metrics and the store")
    adding.add_argument("--models", metavar="A,B*", help="names that it may ask for; all")
    for number in NUMBERS:
        option = f"--{number.replace('_', '-')}"
        adding.add_argument(option, type=int, metavar="N", help=HELP[number])
    adding.add_argument("--expires", metavar="WHEN", help="90d, 12h, or a time with a zone")
    adding.add_argument("--note", help="for people; shown by `list`")
    adding.add_argument("--replace", action="store_true", help="another key for a name in use")
    adding.add_argument("--keep-old", action="store_true", help="with --replace: the old one too")
    adding.set_defaults(run=add)
    listing = commands.add_parser("list", help="show the names, and what each may ask for")
    listing.add_argument("--json", action="store_true", help="one JSON object")
    listing.set_defaults(run=list_keys)
    revoking = commands.add_parser("revoke", help="take a name out, with all its keys")
    revoking.add_argument("name")
    revoking.add_argument("--old", action="store_true", help="only what --keep-old has kept")
    revoking.set_defaults(run=revoke)
    for command in (adding, listing, revoking):
        configured.add_arguments(command)
        command.set_defaults(parser=command)


def run(options: argparse.Namespace) -> int:
    """`turntape keys ACTION`: each action has set `run` to its own.

    Raises:
        AssertionError: always; a parser without an action refuses the arguments.
    """
    raise AssertionError(options)


def add(options: argparse.Namespace) -> int:
    """`turntape keys add`: the key alone is on stdout, so that a script can take it."""
    keys_file.check_name(options.name)
    given = _given(options)
    path = _path(options)
    key = keys_edit.make_key()
    with keys_edit.editing(path) as file:
        before = file.keys.get(options.name)
        if before is not None and not options.replace:
            problem = "is in use; --replace makes another key for it"
            raise keys_file.KeysFileError(f"{options.name!r} {problem}")
        if before is None and options.replace:
            raise keys_file.KeysFileError(_unknown(options.name, file.keys))
        hashes = [keys_edit.hash_of(key)]
        if before is not None and options.keep_old:
            hashes += before.hashes
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        base = keys_file.Key(hashes=hashes) if before is None else before
        changed = {"hashes": hashes, "created": now, **given}
        file.keys[options.name] = msgspec.structs.replace(base, **changed)
        said = keys_file.show(file.keys[options.name])
    printing.say(key)
    printing.complain(f"{options.name}: {said}. The key is shown this once; {path} has its hash.")
    _hint(options)
    return exits.CLEAN


def list_keys(options: argparse.Namespace) -> int:
    """`turntape keys list`."""
    keys = keys_edit.read(_path(options))
    if options.json:
        shown = {
            name: {
                field: value
                for field, value in msgspec.structs.asdict(key).items()
                if field != "hashes" and value not in (None, "")
            }
            for name, key in keys.items()
        }
        printing.say(json.dumps({"keys": shown}))
        return exits.CLEAN
    width = max(map(len, keys), default=0)
    now = datetime.datetime.now(datetime.UTC).timestamp()
    for name, key in keys.items():
        is_over = key.expires_at is not None and key.expires_at <= now
        note = f"  ({key.note})" if key.note else ""
        over = "  EXPIRED" if is_over else ""
        printing.say(f"{name:<{width}}  {keys_file.show(key)}{note}{over}")
    if not keys:
        printing.complain("no keys; `turntape keys add NAME` makes one")
    return exits.CLEAN


def revoke(options: argparse.Namespace) -> int:
    """`turntape keys revoke`."""
    path = _path(options)
    with keys_edit.editing(path) as file:
        before = file.keys.get(options.name)
        if before is None:
            raise keys_file.KeysFileError(_unknown(options.name, file.keys))
        if options.old:
            newest = before.hashes[:1]
            file.keys[options.name] = msgspec.structs.replace(before, hashes=newest)
        else:
            del file.keys[options.name]
    what = "the older keys of this name are" if options.old else "the key is"
    printing.complain(f"{options.name}: {what} not in {path} any more.")
    _hint(options)
    return exits.CLEAN


def _path(options: argparse.Namespace) -> Path:
    """The file of keys, whatever is wrong with other settings, or with the file."""
    flags = {"api_keys_file": options.api_keys_file}
    path = configuration.setting("api_keys_file", os.environ, flags, options.env_file)
    if not isinstance(path, Path):
        problem = "must be set, or --keys-file given, to say where the keys are"
        raise configuration.ConfigError("PROXY_API_KEYS_FILE", problem)
    return path


def _given(options: argparse.Namespace) -> dict[str, object]:
    """What the options say of a key; what they leave out stays as it is."""
    given = {name: getattr(options, name) for name in (*NUMBERS, "note")}
    if options.models is not None:
        given["models"] = [each.strip() for each in options.models.split(",") if each.strip()]
    if options.expires is not None:
        given["expires"] = _end(options.expires)
    return {name: value for name, value in given.items() if value is not None}


def _end(text: str) -> str:
    match = DURATION.fullmatch(text)
    if match is None:
        return text  # a time, which is judged with the rest of the key
    hours = int(match[1]) * (24 if match[2] == "d" else 1)
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    return end.isoformat(timespec="seconds")


def _unknown(name: str, keys: dict[str, keys_file.Key]) -> str:
    near = configuration.nearest(name, keys)
    return f"there is no key {name!r}" + (f"; did you mean {near}?" if near else "")


def _hint(options: argparse.Namespace) -> None:
    """Say how a running server takes the change over."""
    pid = None
    flags = {"api_keys_file": options.api_keys_file, "log_dir": options.log_dir}
    with contextlib.suppress(
        configuration.ConfigError
    ):  # of settings that the file has no part in
        config, _ = configuration.load(os.environ, flags, options.env_file)
        pid = eventlog.holder(config.log_dir / writerlock.LOCK)
    command = f"kill -HUP {pid}" if pid else "`systemctl reload turntape`, or kill -HUP and its id"
    printing.complain(f"A running server takes it over on SIGHUP: {command}")
