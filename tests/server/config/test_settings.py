"""The page of the settings says what the program says of them."""

import re
import subprocess
import sys
from pathlib import Path

from server.config import load as configuration, settings

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "configuration.md"


def generated_part() -> str:
    match = re.search(
        r"<!-- drawn: settings -->\n\n(.*)\n<!-- end drawn -->", PAGE.read_text(), re.DOTALL
    )
    assert match is not None
    return match[1]


def test_the_page_is_current() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "server.config.load"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == generated_part()


def test_the_page_speaks_of_known_names_only() -> None:
    known = {name for item in settings.SETTINGS for name in item.names}
    known |= {name.rstrip("*") for name in configuration.RETIRED}
    mentioned = set(re.findall(r"\b(?:PROXY|WORKER|CODEX)_[A-Z_]*[A-Z]\b", PAGE.read_text()))
    assert mentioned - {name.rstrip("_") for name in known} == set()


def test_the_page_has_every_flag() -> None:
    flags = {item.setting.flag for item in settings.SETTINGS if item.setting.flag}
    assert flags == {
        *("--host", "--port", "--keys-file", "--worker", "--models-file", "--log-dir"),
        "--codex-home",
    }
    assert all(f"`{flag}`" in generated_part() for flag in flags)
