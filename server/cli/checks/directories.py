"""Checks of what is on the disk: whose it is, who may read it, and how much room there is."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.codex import loginfile
from engine.log.content import digest
from engine.log.format import chain
from engine.log.read import segments
from engine.log.write import lock as writerlock
from server import assembly
from server.cli.checks.findings import Finding, fail, ok, size, warn
from server.config import declared, settings

LOW_BYTES: Final = declared.GIB
"""Free space below which a warning comes, whatever the log may still take."""

FULL_BYTES: Final = 16 * declared.MIB
"""Free space below which the next minutes fail: a busy log writes as much."""

NAMED: Final = 3
"""Most files that one finding names."""

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def check(config: settings.Config) -> Iterator[Finding]:
    """Look at each directory, at the files in it that hold secrets or content, at the disks."""
    for name, directory in places(config):
        yield _directory(name, directory)
    yield from _files(config)
    yield from _disks(config)


def places(config: settings.Config) -> Iterator[tuple[str, Path]]:
    """The directories that the server writes to, by the name of the finding."""
    yield "data", config.data_dir
    if config.event_log != "off":
        yield "logs", config.log_dir
    if "codex" in config.workers() and config.use_app_server:
        yield "home", assembly.codex_options(config).setup.home


def _directory(name: str, path: Path) -> Finding:
    try:
        found = path.stat()
    except FileNotFoundError:
        return _absent(name, path)
    except OSError as error:
        return fail(name, f"{path}: {error.strerror}", "Make it readable to the server's user.")
    if not stat.S_ISDIR(found.st_mode):
        return fail(name, f"{path} is no directory", "Move it away, or name another directory.")
    mode = stat.S_IMODE(found.st_mode)
    said = f"{path}, mode {mode:04o}"
    if found.st_uid != os.geteuid():
        advice = f"Run this as the server's user; or `chown -R {os.geteuid()} {path}`."
        return fail(name, f"{said}, belongs to user {found.st_uid}", advice)
    if not os.access(path, os.W_OK | os.X_OK):
        return fail(name, f"{said}, cannot be written", f"`chmod 0700 {path}`, or remount it.")
    if mode & _OTHERS_WRITE:
        advice = f"Others can replace what is in it: `chmod 0700 {path}`."
        return fail(name, f"{said}, others may write", advice)
    if mode & _OTHERS:
        return warn(name, f"{said}, others may look into it", f"`chmod 0700 {path}`.")
    return ok(name, said)


def _absent(name: str, path: Path) -> Finding:
    above = _existing(path)
    if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
        return ok(name, f"{path}, which the first start makes")
    advice = f"Make it for the server's user: `install -d -m 0700 {path}`; or name another."
    return fail(name, f"{path} is not there, and cannot be made in {above}", advice)


def _existing(path: Path) -> Path:
    """Return the nearest thing above a path that is there."""
    return next((each for each in (path, *path.parents) if each.exists()), Path("/"))


def _files(config: settings.Config) -> Iterator[Finding]:
    """Files that others may read or write, of those with secrets or what clients said."""
    patterns = {
        "data": (f"{assembly.STORE_FILE}*",),
        "logs": (
            "events-*.jsonl*",
            *(digest.KEY_NAME, chain.CHAIN, chain.CHECKPOINT, writerlock.LOCK),
        ),
        "home": (loginfile.NAME,),
    }
    open_ones: list[Path] = []
    count = 0
    for name, directory in places(config):
        try:
            found = [path for pattern in patterns[name] for path in directory.glob(pattern)]
            modes = [(path, path.lstat().st_mode) for path in sorted(found)]
        except OSError:  # pruned meanwhile; or it cannot be read, which is a finding already
            continue
        count += len(modes)
        open_ones += [path for path, mode in modes if stat.S_ISREG(mode) and mode & _OTHERS]
    if not open_ones:
        if count:
            yield ok("files", f"{count} with keys or content, none of them for others")
        return
    named = " ".join(map(str, open_ones[:NAMED]))
    more = f" and {len(open_ones) - NAMED} more" if len(open_ones) > NAMED else ""
    advice = f"They hold keys, or what clients said: `chmod 0600 {named}`{more}."
    yield fail("files", f"{len(open_ones)} of {count} can be read by others", advice)


def _disks(config: settings.Config) -> Iterator[Finding]:
    """The room on each disk that a directory is on, and what the log may still take of it."""
    needs: dict[int, tuple[Path, int]] = {}
    for name, directory in places(config):
        above = _existing(directory)
        need = LOW_BYTES
        if name == "logs" and config.log_max_bytes:
            need = max(need, config.log_max_bytes - _held(directory))
        device = above.stat().st_dev
        first, before = needs.get(device, (above, 0))
        needs[device] = first, max(before, need)
    for above, need in needs.values():
        yield _disk(above, need)


def _held(directory: Path) -> int:
    """Return the bytes that the log has already."""
    try:
        return sum(each.size for each in segments.list_segments(directory))
    except OSError:
        return 0


def _disk(path: Path, need: int) -> Finding:
    room = os.statvfs(path)
    free = room.f_bavail * room.f_frsize
    found = f"{size(free)} free at {path}"
    if free < FULL_BYTES or (room.f_files and not room.f_favail):
        left = found if free < FULL_BYTES else f"no inodes left at {path}"
        advice = "Make room now: what cannot be logged is a matter of PROXY_LOG_ON_ERROR."
        return fail("disk", left, advice)
    if free < need:
        advice = "Make room, or lower PROXY_LOG_MAX_BYTES and PROXY_STORE_MAX_BYTES."
        return warn("disk", f"{found}, and {size(need)} may be wanted", advice)
    return ok("disk", found)
