"""Who may append to a chain and rewrite segments: one at a time, and nobody who was killed."""

import errno
import os
from pathlib import Path

import pytest

from engine.log.write import chainlock, lock as writerlock


def test_a_chain_that_another_has_is_waited_for_and_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chainlock, "PATIENCE_S", 0.0)
    path = tmp_path / "chain"
    path.touch()
    one, other = (os.open(path, os.O_RDWR) for _ in range(2))
    with chainlock.held(one):
        held = "another process holds the log's chain"
        with pytest.raises(OSError, match=held) as refused, chainlock.held(other):
            pass
        assert refused.value.errno == errno.EAGAIN
    with chainlock.held(other):
        pass
    os.close(one)
    with pytest.raises(OSError, match="Bad file descriptor"), chainlock.held(-1):
        pass
    with chainlock.held(other):
        os.close(other)  # as a chain that is put in another's place


def test_one_rewrites_at_a_time(tmp_path: Path) -> None:
    with (
        chainlock.alone(tmp_path),
        pytest.raises(writerlock.LogLocked, match="rewrites segments"),
        chainlock.alone(tmp_path),
    ):
        pass
    with chainlock.alone(tmp_path):
        pass
