"""The routes of the page's server, as a browser and others meet them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.log.find import catalog
from server.cli import command_line as cli
from server.ui import view
from tests.support.logs import gallery
from tests.support.process import uipage


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[uipage.Page]:
    directory = tmp_path_factory.mktemp("log")
    gallery.mixed(directory, 30)
    with uipage.Page(directory) as running:
        # As a program does that shows what is behind a link before somebody follows it.
        looked = running.ask(f"/?token={running.token}", "HEAD")
        assert (looked.status, "set-cookie" in looked.headers) == (200, False)
        running.enter()
        yield running


def test_the_link_is_good_once_and_without_it_there_is_nothing(page: uipage.Page) -> None:
    for method in ("GET", "HEAD"):
        assert page.ask(f"/?token={page.token}", method, cookie="").status == 401
    assert page.ask(f"/?token={page.token}").status == 200
    for path in ("/", "/api/streams", "/api/machine", "/api/streams/st_0001good"):
        assert page.ask(path, cookie="").status == 401
    assert page.ask("/").status == 200


def test_the_page_comes_under_its_policy(page: uipage.Page) -> None:
    response = page.ask("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src")
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"


def test_a_foreign_host_is_refused_with_the_cookie_too(page: uipage.Page) -> None:
    for path in ("/", "/api/streams", f"/?token={page.token}"):
        response = page.ask(path, host="evil.test")
        assert response.status == 403
        assert json.loads(response.body)["error"]["code"] == "host_not_allowed"
        assert "set-cookie" not in response.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_get_is_served(page: uipage.Page, method: str) -> None:
    assert page.ask("/api/streams", method).status == 405


def test_rows_are_told_a_page_at_a_time(page: uipage.Page) -> None:
    first = page.json("/api/streams?limit=10")
    assert len(first["rows"]) == 10
    second = page.json(f"/api/streams?limit=10&before={first['before']}")
    ids = [row["summary"] for row in first["rows"] + second["rows"]]
    assert len(set(ids)) == 20
    assert first["newest"] == second["newest"] >= 30


def test_a_filter_that_says_nothing_is_said_to(page: uipage.Page) -> None:
    response = page.ask("/api/streams?query=slow:soon")
    assert response.status == 400
    error = json.loads(response.body)["error"]
    assert error["message"] == "slow:soon: it takes a time such as 2s, 300ms or 5m"


@pytest.mark.parametrize("limit", ["0", "-1", "x", str(view.MOST_ROWS + 1)])
def test_a_limit_that_is_none_is_refused(page: uipage.Page, limit: str) -> None:
    assert page.ask(f"/api/streams?limit={limit}").status == 400


def test_a_stream_has_its_timeline_its_records_and_its_bytes(page: uipage.Page) -> None:
    (row,) = page.json("/api/streams?query=kind:completed&limit=1")["rows"]
    name = row["summary"]
    assert page.json(f"/api/streams/{name}")["request"]["stream"] == name
    records = page.json(f"/api/streams/{name}/records")
    assert [record["seq"] for record in records] == list(range(len(records)))
    seen = page.json(f"/api/streams/{name}/bytes")
    assert seen["frames"][-1]["data"].endswith("data: [DONE]\n\n")
    assert list(page.json(f"/api/sparks?ids={name},st_gone")) == [name]


def test_a_stream_is_found_by_its_request_too(page: uipage.Page) -> None:
    (row,) = page.json("/api/streams?limit=1")["rows"]
    assert page.json(f"/api/streams/{row['request_id']}")["request"]["stream"] == row["summary"]


def test_what_is_not_there_is_not_found(page: uipage.Page) -> None:
    for path in ("/api/streams/st_nobody", "/api/streams/a/b", "/other", "/api", "/main.js"):
        assert page.ask(path).status == 404, path
    response = page.ask("/api/streams/st_%2F..%2F..%2Fetc")
    assert response.status == 404


def test_what_is_gone_is_said_to_be_one_stream_and_the_log(tmp_path: Path) -> None:
    gallery.mixed(tmp_path, 3)
    erased, other, *_ = [row.summary for row in catalog.Catalog(tmp_path).ended_rows()]
    assert cli.main(["purge", erased, "--log", str(tmp_path), "--yes"]) == 0
    with uipage.Page(tmp_path) as page:
        page.enter()
        assert page.json(f"/api/streams/{other}")["request"]["stream"] == other
        for path in (f"/api/streams/{erased}", f"/api/streams/{erased}/records"):
            response = page.ask(path)
            assert response.status == 404
            said = json.loads(response.body)["error"]["message"]
            assert said.startswith("Its records were erased. All that is known is its row: ")
        shutil.rmtree(tmp_path)
        response = page.ask("/api/streams")
        assert response.status == 500
        said = json.loads(response.body)["error"]["message"]
        assert said == "The log cannot be read: No such file or directory."


def test_the_machine_is_told_as_data(page: uipage.Page) -> None:
    machine = page.json("/api/machine")
    assert {"source": "held", "target": "content", "events": ["begin", "text"]} in machine[
        "arrows"
    ]
