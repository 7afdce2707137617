"""The page as a file: what is in it is what was taken, and says whether it is masked."""

import io
import json
import re
from pathlib import Path
from typing import Any

from engine.log.find import catalog, stories
from server.ui import export
from tests.support.logs import gallery


def exported(directory: Path) -> tuple[bytes, dict[str, Any]]:
    found = catalog.Catalog(directory)
    file = io.BytesIO()
    export.write([stories.read(found, row) for row in found.ended_rows()], file)
    body = file.getvalue()
    match = re.search(
        rb'<script type="application/json" id="data">(.*?)</script>', body, re.DOTALL
    )
    assert match
    return body, json.loads(match[1])


def test_every_stream_is_in_it_in_full(tmp_path: Path) -> None:
    gallery.mixed(tmp_path, 12)
    _, data = exported(tmp_path)
    assert len(data["rows"]) >= 12
    ids = [row["summary"] for row in data["rows"]]
    assert data["details"].keys() == set(ids) == data["sparks"].keys()
    times = [row["t"] for row in data["rows"]]
    assert times == sorted(times, reverse=True)
    some = data["details"][ids[-1]]
    assert some["timeline"]["request"]["stream"] == ids[-1]
    assert some["records"][0]["event"] == "opened"
    assert some["seen"]["proof"] == "same"
    assert data["content"] == "full"
    assert data["machine"]["initial"] == "held"


def test_of_masked_records_no_word_is_in_it(tmp_path: Path) -> None:
    gallery.mixed(tmp_path, 12, content="masked")
    body, data = exported(tmp_path)
    assert data["content"] == "masked"
    assert b"The tide turns" not in body
    assert b"Bergen" not in body
