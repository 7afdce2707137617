"""Files of named keys for tests, and what the holders of those keys send."""

from pathlib import Path
from typing import Any

from server.config import keys_edit, keys_file


def secret(name: str, generation: int = 1) -> str:
    """The key that goes by a name in tests; a later generation takes its place."""
    return f"sk-tt-{name}-{generation}-{'k' * 32}"


def held(name: str, generation: int = 1, **limits: Any) -> keys_file.Key:
    """What a file says of that key."""
    return keys_file.Key(hashes=[keys_edit.hash_of(secret(name, generation))], **limits)


def write(path: Path, **keys: keys_file.Key) -> Path:
    """A file with these keys, in place of the one that is there."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(keys_edit.written(keys))
    draft.chmod(0o600)
    draft.replace(path)
    return path


def bearer(name: str, generation: int = 1) -> dict[str, str]:
    """The header that its holder sends."""
    return {"authorization": f"Bearer {secret(name, generation)}"}
