"""`turntape smoke`: asks a running deployment for everything that clients rely on, once."""

import argparse
import enum
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from engine import redaction
from engine.log.read import manifest, segments
from server.cli import configured, health, printing
from server.cli.trials import chat, client as trialclient, responses
from server.config import load as configuration, settings
from server.process import exits

TIMEOUT_S: Final = 60.0
"""Seconds that an answer may take by default: a model may think for a while."""

INDENT: Final = 8
"""Blanks before what was found, so that it stands below the trial's name."""

IDS_INDENT: Final = 36
"""Blanks before further ids of requests, so that they stand below the first."""

CLOCK_S: Final = 5.0
"""How much older than the first request a segment's last write may seem."""

WRITTEN_S: Final = 0.5
"""Seconds until the last record of a stream that has ended is in the log, and more."""


class Result(enum.Enum):
    """The outcome of a trial; the value is the word in JSON."""

    OK = "ok"
    SKIPPED = "skipped"
    """It said nothing of the server: a model that answers in text, an API that is not there."""
    FAIL = "fail"


MARKS: Final = {Result.OK: "ok", Result.SKIPPED: "skipped", Result.FAIL: "FAIL"}
"""How each is shown, in front of its line."""


class Outcome(NamedTuple):
    """One line of the report.

    Attributes:
        ms: how long the trial took.
        request_ids: of its requests, as the server answered them.
    """

    name: str
    result: Result
    ms: int
    request_ids: tuple[str, ...]
    found: str


class Deployment(NamedTuple):
    """The server that is asked, and how.

    Attributes:
        log_dir: where its event log would be if it ran here; None: unknown.
        hide: takes keys out of foreign texts.
    """

    url: str
    key: str | None
    model: str | None
    timeout: float
    log_dir: Path | None
    hide: Callable[[str], str]


TRIALS: Final[dict[str, Callable[[trialclient.Client, str], str]]] = {
    "chat": chat.whole,
    "chat_stream": chat.streamed,
    "tool_call": chat.tool_call,
    "responses": responses.whole,
    "responses_stream": responses.streamed,
    "disconnect": chat.disconnect,
    "wrong_key": chat.wrong_key,
}
"""The trials after the listing of models, in their order."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the command's arguments; those of the settings come beside them."""
    command.add_argument("url", nargs="?", help="the API, with /v1; by default the server here")
    command.add_argument(
        "--key", help="the key (OPENAI_API_KEY, or PROXY_API_KEY of the server here)"
    )
    command.add_argument(
        "--model", help=f"the model to ask ({chat.PREFERRED}, or the first listed)"
    )
    command.add_argument(
        "--timeout", metavar="S", help=f"seconds an answer may take ({TIMEOUT_S:.0f})"
    )
    command.add_argument("--json", action="store_true", help="one JSON object")
    configured.add_arguments(command)


def deployment(options: argparse.Namespace, config: settings.Config | None) -> Deployment:
    """Return the server that arguments, environment and settings name.

    Args:
        config: of the server here; None where it has none that can be read.

    Raises:
        ConfigError: a URL, a key or a number cannot be used.
    """
    url, key = options.url, options.key or os.environ.get("OPENAI_API_KEY") or None
    if url is None and config is not None:
        place = health.near(config.host, config.port)
        url, key = f"http://{place.authority}/v1", options.key or config.api_key or key
    if key is not None and not (key.isascii() and key.isprintable()):
        raise configuration.ConfigError("--key", "takes visible ASCII")
    return Deployment(
        _checked(url or ""),
        key,
        options.model,
        _seconds(options.timeout),
        None if config is None or config.event_log == "off" else config.log_dir,
        redaction.Redaction((key,) if key else ()).hide,
    )


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # its port is no number
        usable = False
    if not usable:
        raise configuration.ConfigError(
            "URL", f"{url!r} is no http(s) URL, such as http://host/v1"
        )
    return url


def _seconds(text: str | None) -> float:
    try:
        seconds = TIMEOUT_S if text is None else float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise configuration.ConfigError("--timeout", f"{text!r} is no number of seconds")
    return seconds


def run(options: argparse.Namespace) -> int:
    """`turntape smoke`."""
    config: settings.Config | None = None
    try:
        config, _ = configured.read(options)
    except configuration.ConfigError:
        if options.url is None:
            raise
        # What is asked is elsewhere: then all that is missing is its log.
    return ask(deployment(options, config), as_json=options.json)


def ask(server: Deployment, *, as_json: bool) -> int:
    """Try everything, print it, and return the exit status: 1 where something failed."""
    begun = time.time()
    outcomes: list[Outcome] = []
    client = trialclient.Client(server.url, server.key, server.timeout)
    if not as_json:
        printing.say(f"asking {server.hide(server.url)}")
    for outcome in _outcomes(server, client):
        outcomes.append(outcome)
        if not as_json:
            printing.say(*lines(outcome))
    failed = [outcome for outcome in outcomes if outcome.result is Result.FAIL]
    kept = _keep(server, failed, begun) if failed else None
    if as_json:
        _print_json(server, outcomes, kept)
    else:
        _print_end(outcomes, failed, kept)
    return exits.FAILED if failed else exits.CLEAN


def _outcomes(server: Deployment, client: trialclient.Client) -> Iterable[Outcome]:
    model = ""

    def models(_: trialclient.Client, __: str) -> str:
        nonlocal model
        model, found = chat.models(client, server.model)
        return found

    for name, trial in {"models": models, **TRIALS}.items():
        begun = time.monotonic()
        is_over = False
        try:
            result, found = Result.OK, trial(client, model)
        except trialclient.Skipped as error:
            result, found = Result.SKIPPED, str(error)
        except trialclient.Failed as error:
            result, found = Result.FAIL, str(error)
            is_over = not model  # without one there is nothing to be asked
        ids, client.request_ids = tuple(client.request_ids), []
        took = round(1000 * (time.monotonic() - begun))
        yield Outcome(name, result, took, ids, server.hide(found))
        if is_over:
            return


def lines(outcome: Outcome) -> list[str]:
    """The lines of an outcome: its time and its requests, and under them what was found."""
    mark, took = MARKS[outcome.result], f"{outcome.ms} ms"
    head = f"{mark:<7} {outcome.name:<17}{took:>9}  {' '.join(outcome.request_ids)}"
    below = f"{' ' * INDENT}{outcome.found}"
    return [*printing.folded(head, IDS_INDENT), *printing.folded(below, INDENT)]


def _print_end(outcomes: list[Outcome], failed: list[Outcome], kept: Path | None) -> None:
    skipped = sum(outcome.result is Result.SKIPPED for outcome in outcomes)
    well = len(outcomes) - len(failed) - skipped
    left = len(TRIALS) + 1 - len(outcomes)
    rest = f", {left} not tried" if left else ""
    printing.say("", f"{well} well, {skipped} skipped, {len(failed)} failed{rest}")
    if kept is not None:
        printing.say(*printing.folded(f"The records of what failed are in {kept}.", 0))
    elif failed:
        advice = (
            "The server's own log has each request by its id: `turntape inspect LOG --request ID`."
        )
        printing.say(*printing.folded(advice, 0))


def _print_json(server: Deployment, outcomes: list[Outcome], kept: Path | None) -> None:
    checks = [{**each._asdict(), "status": each.result.value} for each in outcomes]
    for check in checks:
        del check["result"]
    report = {
        "url": server.hide(server.url),
        "ok": all(each.result is not Result.FAIL for each in outcomes),
        "kept": None if kept is None else str(kept),
        "checks": checks,
    }
    printing.say(json.dumps(report))


class _First(msgspec.Struct):
    """The member of a first record that says whose it is."""

    request_id: str = ""


def _keep(server: Deployment, failed: list[Outcome], begun: float) -> Path | None:
    """Copy the records of failed requests out of the log, if it is here; the file's path.

    A retention that deletes the log takes them with it, and whoever looks into the failure is
    often somebody else.
    """
    ids = {one for outcome in failed for one in outcome.request_ids}
    if server.log_dir is None or not server.log_dir.is_dir() or not ids:
        return None
    time.sleep(WRITTEN_S)
    try:
        found = b"".join(_records(server.log_dir, ids, begun))
        if not found:
            return None
        path = Path(f"smoke-{secrets.token_hex(4)}.jsonl")
        # What clients said may be in it: it is nobody else's to read.
        with open(path, "xb", opener=_private) as file:
            file.write(found)
    except OSError as error:
        printing.complain(f"the records cannot be kept: {error.filename}: {error.strerror}")
        return None
    return path.absolute()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _records(directory: Path, ids: set[str], begun: float) -> Iterable[bytes]:
    """The lines of the log that are of these requests."""
    since = (begun - CLOCK_S) * 1e6
    newest = [each for each in segments.list_segments(directory) if each.modified_us >= since]
    streams = set()
    for record in segments.Reading(newest, manifest.NOTHING_KNOWN, pruned=True):
        if record.event in ("opened", "request_rejected"):
            first = msgspec.json.decode(record.raw, type=_First)
            if first.request_id in ids:
                streams.add(record.stream)
        if record.stream in streams:
            yield record.raw
