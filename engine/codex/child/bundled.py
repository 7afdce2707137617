"""The models that a Codex binary comes with: the rows of `codex debug models --bundled`.

Those of the tested version are a table here, so that a start with it runs nothing. Any other
binary is asked for its own, once a start: it may know models that the table does not, and other
limits.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from engine import regular
from machines import parse

ASK_LIMIT_S: Final = 10.0
"""Most seconds that a binary may take to list its models: 0.08 s, and 6 s for one that is cold on
disk."""

LISTING_BYTES: Final = 16 * 2**20
"""Most bytes of a listing; that of 0.171.0 has 0.9 MB, most of them prompts."""

PACKAGE_BYTES: Final = 64 * 1024
"""Most bytes of a package's description; Codex's have some 250."""

_log = structlog.get_logger(component="codex")


class KnownModel(msgspec.Struct, frozen=True):
    """A model as its binary describes it.

    Attributes:
        slug: what a request names.
        efforts: reasoning efforts it takes, the least first.
        lite: whether OpenAI's back end is sent the lite form of a request.
        listed: whether Codex shows it to its own users.
        context_window: tokens that Codex gives the model, prompt and answer; None: unknown.
        modalities: what a message to it may hold: `text`, `image`.
    """

    slug: str
    display_name: str
    efforts: tuple[str, ...]
    lite: bool
    listed: bool
    context_window: int | None = 272_000
    modalities: tuple[str, ...] = ("text", "image")


BUNDLED_WITH = "0.163.0"
"""Version of the binary these rows were read from."""

_XHIGH = ("low", "medium", "high", "xhigh")
_MAX = (*_XHIGH, "max")
_ULTRA = (*_MAX, "ultra")

KNOWN = (
    KnownModel("gpt-6.1-sol", "GPT-6.1-Sol", _ULTRA, lite=True, listed=True),
    KnownModel("gpt-6-astra", "GPT-6-Astra", _ULTRA, lite=True, listed=True),
    KnownModel("gpt-6-sol", "GPT-6-Sol", _ULTRA, lite=True, listed=True),
    KnownModel("gpt-6-luna", "GPT-6-Luna", _MAX, lite=True, listed=True),
    KnownModel("gpt-5.6-sol", "GPT-5.6-Sol", _ULTRA, lite=True, listed=True),
    KnownModel("gpt-5.6-terra", "GPT-5.6-Terra", _ULTRA, lite=True, listed=True),
    KnownModel("gpt-5.6-luna", "GPT-5.6-Luna", _MAX, lite=True, listed=True),
    KnownModel("gpt-daybreak-blue-latest", "Daybreak Blue", _ULTRA, lite=True, listed=False),
    KnownModel(
        "gpt-daybreak-red-latest",
        "Daybreak Red",
        _ULTRA,
        lite=True,
        listed=False,
        context_window=372_000,
    ),
    KnownModel("gpt-5.5", "GPT-5.5", _XHIGH, lite=False, listed=True),
    KnownModel("codex-auto-review", "Codex Auto Review", _MAX, lite=True, listed=False),
)
"""Every model of the binary, in its order of priority."""


def find(slug: str, known: tuple[KnownModel, ...]) -> KnownModel:
    """Return the model of that name, else one that only a custom provider knows: every effort, the
    plain form."""
    for model in known:
        if model.slug == slug:
            return model
    return KnownModel(
        slug, slug, _ULTRA, lite=False, listed=True, context_window=None, modalities=()
    )


class NoListing(Exception):
    """Raised for a listing that names no model."""


class _Level(msgspec.Struct):
    effort: str


class _Row(msgspec.Struct):
    slug: str
    display_name: str
    supported_reasoning_levels: list[_Level]
    visibility: str
    priority: int
    use_responses_lite: bool = False
    context_window: int | None = None
    input_modalities: tuple[str, ...] = ("text",)


class _Listing(msgspec.Struct):
    models: list[msgspec.Raw]


class _Package(msgspec.Struct):
    version: str


_PACKAGE: Final = msgspec.json.Decoder(_Package)
_LISTING: Final = msgspec.json.Decoder(_Listing)
_ROW: Final = msgspec.json.Decoder(_Row)


def read(listing: bytes) -> tuple[KnownModel, ...]:
    """Read what `codex debug models --bundled` wrote, in its order of priority.

    A row that cannot be read is left out.

    Raises:
        NoListing: there is none that can be.
    """
    try:
        raw = parse.parse_outer(listing, _LISTING).models
    except parse.ParseError as error:
        raise NoListing(str(error)) from None
    rows: list[_Row] = []
    for each in raw:
        with contextlib.suppress(parse.ParseError):
            rows.append(parse.parse_outer(each, _ROW))
    if not rows:
        raise NoListing("no models")
    return tuple(map(_known, sorted(rows, key=lambda row: row.priority)))


def _known(row: _Row) -> KnownModel:
    return KnownModel(
        row.slug,
        row.display_name,
        tuple(level.effort for level in row.supported_reasoning_levels),
        lite=row.use_responses_lite,
        listed=row.visibility == "list",
        context_window=row.context_window,
        modalities=row.input_modalities,
    )


def is_tested(binary: Path) -> bool:
    """Return whether a binary is of the version that the table is of, as its package says.

    Both of Codex's packages, for pip and for npm, keep a `codex-package.json` beside the directory
    of the program. A program without one is asked.
    """
    package = binary.resolve().parent.parent / "codex-package.json"
    try:
        with regular.reader(package) as file:
            said = parse.parse(file.read(PACKAGE_BYTES), _PACKAGE)
    except (OSError, regular.NotRegular, parse.ParseError):
        return False
    return said.version == BUNDLED_WITH


async def models_of(
    binary: Path, directory: Path, environment: Mapping[str, str]
) -> tuple[KnownModel, ...]:
    """Return the models of a binary, those of the table where it does not say.

    Args:
        directory: in which it gets an empty home for as long as it runs, so that no settings
            change what it says.
        environment: of the process.
    """
    if is_tested(binary):
        return KNOWN
    home = tempfile.mkdtemp(dir=directory, prefix="models-")
    try:
        return read(await _ask(binary, {**environment, "CODEX_HOME": home}))
    except (OSError, TimeoutError, NoListing) as error:
        _log.warning(
            "codex_models_unknown",
            program=str(binary),
            problem=str(error) or type(error).__name__,
            used=BUNDLED_WITH,
        )
        return KNOWN
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _ask(binary: Path, environment: Mapping[str, str]) -> bytes:
    process = await asyncio.create_subprocess_exec(
        str(binary),
        *("debug", "models", "--bundled"),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    listing = bytearray()
    try:
        async with asyncio.timeout(ASK_LIMIT_S):
            while data := await process.stdout.read(2**16):
                listing += data
                if len(listing) > LISTING_BYTES:
                    raise NoListing(f"more than {LISTING_BYTES} bytes")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return bytes(listing)
