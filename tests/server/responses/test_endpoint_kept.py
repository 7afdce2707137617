"""What is kept of responses, whatever happens to the server that keeps them."""

import contextlib
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.keys import keyring
from tests.server import keyed, plain
from tests.support.client.responsesclient import Client
from tests.support.process import machinetime, serving
from tests.support.providers import upstreams

pytestmark = pytest.mark.slow


@pytest.fixture
def source() -> Iterator[upstreams.Hosted]:
    with upstreams.Hosted() as hosted:
        yield hosted


def kill(server: serving.Serve) -> None:
    """End a server as nothing can be caught."""
    server.stop(signal.SIGKILL)


def test_a_killed_servers_responses_go_on_with_the_next(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    settings = {"PROXY_UPSTREAM_URL": source.url}
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        first = Client(server).made("one")
        kill(server)
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        Client(server).made("two", previous_response_id=first["id"])
        said = [message["content"] for message in source.requests_for("two")[0].body["messages"]]
        assert said == ["one", "Hello world", "two"]
        assert Client(server).get(first["id"]).body == first


def test_nothing_is_kept_where_the_store_is_off(tmp_path: Path, source: upstreams.Hosted) -> None:
    with serving.running(
        "--worker",
        "upstream",
        data_dir=tmp_path,
        PROXY_UPSTREAM_URL=source.url,
        PROXY_STORE="off",
    ) as server:
        client = Client(server)
        response = client.made("hi", store=True)
        assert response["store"] is False
        assert client.get(response["id"]).problem == (404, "response_not_found", None)
        assert client.delete(response["id"]).status == 404
        assert client.input_items(response["id"]).status == 404
        lost = client.create("on", previous_response_id=response["id"])
        assert lost.problem == (400, "previous_response_not_found", "previous_response_id")
        assert "PROXY_STORE=off" in lost.error["message"]
        item = {"type": "item_reference", "id": response["output"][0]["id"]}
        assert client.create([item]).problem == (404, None, "input[0]")
        refused = client.create("hi", background=True)
        assert refused.problem == (400, "unsupported_parameter", "background")
    assert list(tmp_path.glob("responses.sqlite*")) == []


def test_every_route_is_gone_where_they_are_switched_off(tmp_path: Path) -> None:
    with serving.running(
        "--worker", "scripted", data_dir=tmp_path, PROXY_ENABLE_RESPONSES="false"
    ) as server:
        client = Client(server)
        for gone in (
            client.create("hi"),
            client.create("hi", stream=True),
            client.get("resp_1"),
            client.delete("resp_1"),
            client.cancel("resp_1"),
            client.input_items("resp_1"),
        ):
            assert gone.problem == (404, "not_found", None)
        assert server.get("/readyz")[0] == 200
    assert list(tmp_path.glob("responses.sqlite*")) == []


def test_another_keys_responses_are_not_there(tmp_path: Path, source: upstreams.Hosted) -> None:
    keys = keyed.write(tmp_path / "keys", mine=keyed.held("mine"), other=keyed.held("other"))
    settings = {"PROXY_UPSTREAM_URL": source.url, "PROXY_API_KEYS_FILE": str(keys)}
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        mine, other = (Client(server, keyed.secret(name)) for name in ("mine", "other"))
        response = mine.made("hi")
        assert mine.get(response["id"]).status == 200
        assert Client(server).get(response["id"]).problem == (401, "invalid_api_key", None)
        item = {"type": "item_reference", "id": response["output"][0]["id"]}
        missing = (404, "response_not_found", None)
        assert other.get(response["id"]).problem == missing
        assert other.delete(response["id"]).problem == missing
        assert other.cancel(response["id"]).problem == missing
        assert other.input_items(response["id"]).problem == missing
        lost = other.create("on", previous_response_id=response["id"])
        assert lost.problem == (400, "previous_response_not_found", "previous_response_id")
        assert other.create([item]).status == 404
        assert mine.get(response["id"]).body == response


def test_a_store_that_cannot_be_read_is_a_503(tmp_path: Path, source: upstreams.Hosted) -> None:
    settings = {"PROXY_UPSTREAM_URL": source.url}
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        client = Client(server)
        response = client.made("hi")
        for file in tmp_path.glob("responses.sqlite*"):
            file.write_bytes(b"garbage" * 4096)
        broken = (
            client.get(response["id"]),
            client.delete(response["id"]),
            client.cancel(response["id"]),
            client.input_items(response["id"]),
            client.create("on", previous_response_id=response["id"]),
            client.create([{"type": "item_reference", "id": response["output"][0]["id"]}]),
        )
        assert [each.problem[:2] for each in broken] == [(503, "store_unavailable")] * 6
        assert client.create("hi", store=False).status == 200


def test_a_file_that_is_deleted_is_noticed_though_nobody_asks(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    settings = {"PROXY_UPSTREAM_URL": source.url}
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        client = Client(server)
        before = client.made("hi")
        for file in tmp_path.glob("responses.sqlite*"):
            file.unlink()
        machinetime.until(lambda: store_of(server)["files_lost"] == 1)
        assert store_of(server)["state"] == "working"
        after = client.made("hi")
        assert client.get(before["id"]).status == 404
        machinetime.until(lambda: any("response_store" in line["event"] for line in server.lines))
        kill(server)
    said = [line["event"] for line in server.lines if "response_store" in line["event"]]
    assert said == ["response_store_lost"]
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        assert Client(server).get(after["id"]).body == after


def test_a_store_whose_place_is_taken_is_failing_until_it_is_free(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    settings = {"PROXY_UPSTREAM_URL": source.url}
    path = tmp_path / "responses.sqlite"
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        client = Client(server)
        path.unlink()
        path.mkdir()
        machinetime.until(lambda: store_of(server)["state"] == "failing")
        assert server.get("/healthz")[1]["status"] == "degraded"
        lost = client.made("hi")
        assert client.get(lost["id"]).problem[:2] == (503, "store_unavailable")
        path.rmdir()
        machinetime.until(lambda: store_of(server)["state"] == "working")
        kept = client.made("hi")
        assert client.get(kept["id"]).body == kept
    said = [line["event"] for line in server.lines if "response" in line["event"]]
    assert said == [
        "response_store_lost",
        "response_store_failing",
        "response_not_kept",
        "response_store_recovered",
    ]


def store_of(server: serving.Serve) -> dict[str, Any]:
    return dict(server.get("/healthz")[1]["store"])


def test_what_is_unfinished_and_made_by_nobody_has_failed(
    tmp_path: Path, source: upstreams.Hosted
) -> None:
    settings = {"PROXY_UPSTREAM_URL": source.url}
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        client = Client(server)
        client.made("hi")
        with contextlib.closing(sqlite3.connect(tmp_path / "responses.sqlite")) as database:
            database.execute(
                "INSERT INTO responses (key_id, response_id, created_at, status, size, body)"
                " SELECT key_id, 'resp_left', created_at, 'in_progress', size, body"
                " FROM responses"
            )
            database.commit()
        found = client.get("resp_left").body
    assert (found["status"], found["error"]["code"]) == ("failed", "server_error")


def test_responses_are_a_names_whatever_its_key(tmp_path: Path, source: upstreams.Hosted) -> None:
    """Versions before key names had a hash of the key as the owner: nothing of that is lost."""
    settings = {"PROXY_UPSTREAM_URL": source.url, "PROXY_API_KEY": plain.KEY}
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        first = Client(server, plain.KEY).made("one")
        assert server.stop() == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "responses.sqlite")) as database:
        (owner,) = database.execute("SELECT key_id FROM responses").fetchone()
        assert owner == "name:PROXY_API_KEY"
        former = keyring.hashed_id(plain.KEY)
        database.execute("UPDATE responses SET key_id = ?", (former,))
        database.commit()
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        assert Client(server, plain.KEY).get(first["id"]).body == first
        assert server.stop() == 0
    other = "sk-client-0987654321"
    settings["PROXY_API_KEY"] = other
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        assert Client(server, other).get(first["id"]).body == first
        assert Client(server, other).made("two", previous_response_id=first["id"])
        assert server.stop() == 0
    # The same name in a file of keys: what it made goes along.
    own = keyed.held("alice")
    path = keyed.write(tmp_path / "keys.json", PROXY_API_KEY=own, bob=keyed.held("bob"))
    settings |= {"PROXY_API_KEY": "", "PROXY_API_KEYS_FILE": str(path)}
    with serving.running("--worker", "upstream", data_dir=tmp_path, **settings) as server:
        assert Client(server, keyed.secret("alice")).get(first["id"]).body == first
        assert Client(server, keyed.secret("bob")).get(first["id"]).status == 404
