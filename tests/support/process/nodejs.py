"""Where tests find the official Node SDK, and the mark of those that need it."""

import shutil
from typing import Final

import pytest

from tests.support.process import readme

CLIENT: Final = readme.ROOT / "tests" / "clients" / "node"
"""The directory of the scripts, and of the packages that they import."""

needed = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENT / "node_modules" / "openai").is_dir(),
    reason="needs node and `npm install --prefix tests/clients/node`",
)
