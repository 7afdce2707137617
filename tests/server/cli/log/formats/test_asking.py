"""The request of a stream as far as the log has it, and what is missing of it."""

from pathlib import Path

import msgspec
import pytest

from engine.log.find import stories
from machines import events, outputs
from server.cli.log.formats import asking
from tests.server.cli.log.formats import formatting
from tests.support.logs import corpus, logs


@pytest.mark.parametrize(
    ("name", "path"), [("text-short", "/chat/completions"), ("responses-text", "/responses")]
)
def test_a_full_log_has_all_of_it(name: str, path: str) -> None:
    asked = asking.asked(formatting.recorded(name))
    assert asked is not None
    assert (asked.method, asked.path, asked.missing) == ("POST", path, ())
    assert msgspec.json.decode(asked.body or b"") == corpus.on_file(name).request


def test_of_a_masked_log_it_is_said(tmp_path: Path) -> None:
    asked = asking.asked(formatting.masked(tmp_path))
    assert asked is not None
    assert asked.missing == ("The texts of the request are masked.",)


def test_what_was_left_out_of_a_large_one_is_said(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path, content="full")
    outline = msgspec.Raw(b'{"model":"m","messages":{"bytes":300000,"digest":"ab","items":9}}')
    logs.play(event_log, "st_1", "a", content="full", request=outline)
    logs.play(event_log, "st_2", "a", content="full")
    event_log.close()
    large, none = (asking.asked(stories.story(tmp_path, name)) for name in ("st_1", "st_2"))
    assert large is not None
    assert large.missing == ("The request was large: members of it are left out.",)
    assert none is not None
    assert none.body is None
    assert none.missing == ("The request is not in the log.",)


def test_a_refusal_has_no_body_and_a_process_no_request(tmp_path: Path) -> None:
    event_log = logs.open_log(tmp_path)
    refused = events.RequestRejected(
        request_id="req_r", code="invalid_api_key", status=401, method="GET", route="/v1/models"
    )
    event_log.stream("rj_1").close(refused, "refused")
    changed = events.WorkerChanged("codex", "started", {})
    event_log.stream("wk_1").append(changed, outputs.Step("ready", ()))
    event_log.close()
    asked = asking.asked(stories.story(tmp_path, "rj_1"))
    assert asked is not None
    assert (asked.method, asked.path, asked.body) == ("GET", "/models", None)
    assert asking.asked(stories.story(tmp_path, "wk_1")) is None
