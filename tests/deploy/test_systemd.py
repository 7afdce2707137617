"""The systemd unit, as `systemd-analyze` judges it without a running systemd."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import serving

ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")

UNIT = serving.ROOT / "docs" / "deploy" / "turntape.service"


def analyzed(*arguments: str | Path) -> str:
    """What it says of a unit that it finds nothing wrong with."""
    assert ANALYZE is not None
    done = subprocess.run((ANALYZE, *arguments), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_the_unit_is_valid(tmp_path: Path) -> None:
    text = UNIT.read_text("utf-8")
    program = "/opt/turntape/.venv/bin/turntape"
    assert text.count(program) == 1
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(program, sys.executable), "utf-8")
    analyzed("verify", copy)


def test_the_unit_exposes_little() -> None:
    said = analyzed("security", "--offline=true", "--no-pager", UNIT)
    level = re.search(r"Overall exposure level for turntape\.service: ([0-9.]+)", said)
    assert level is not None, said
    assert float(level[1]) <= 3.0
