"""The key of a log and the hash of a body: kept by its owner, and of all its bytes."""

import hashlib
import stat
from pathlib import Path

import pytest
import structlog.testing

from engine.log.content import digest

KEY = bytes(range(16))


def test_the_hash_is_of_the_whole_body_however_it_came() -> None:
    whole, pieces = digest.BodyDigest(KEY), digest.BodyDigest(KEY)
    whole.update(b"data: hello\n\n")
    for piece in (b"data: ", b"", b"hello", b"\n\n"):
        pieces.update(piece)
    expected = hashlib.blake2b(b"data: hello\n\n", digest_size=16, key=KEY).hexdigest()
    assert whole.hexdigest() == pieces.hexdigest() == expected
    assert (whole.length, pieces.length) == (13, 13)


def test_another_key_makes_another_hash() -> None:
    assert digest.BodyDigest(KEY).hexdigest() != digest.BodyDigest(KEY[::-1]).hexdigest()


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = digest.load_key(tmp_path)
    assert len(key) == digest.HASH_BYTES
    assert digest.load_key(tmp_path) == key
    (path,) = tmp_path.iterdir()
    assert path.read_text() == key.hex()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "not hexadecimal", "00" * 15, "00" * 17])
def test_what_is_no_key_is_kept_aside_and_another_takes_its_place(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / digest.KEY_NAME).write_text(text)
    with structlog.testing.capture_logs() as lines:
        key = digest.load_key(tmp_path)
    assert [line["event"] for line in lines] == ["hash_key_replaced"]
    assert (tmp_path / f"{digest.KEY_NAME}.damaged").read_text() == text
    assert digest.load_key(tmp_path) == key
