"""A body is of a media type and of a size."""

from tests.server.plain import BODY, chat
from tests.support.process import serving


def test_a_body_of_another_media_type_is_refused(keyless: serving.Serve) -> None:
    answer = chat(keyless, content_type="text/plain")
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    assert chat(keyless, content_type="application/json; charset=utf-8").status == 200


def test_a_body_over_the_limit_is_refused() -> None:
    with serving.running("--worker", "scripted", PROXY_MAX_BODY_BYTES="1KiB") as server:
        answer = chat(server, {**BODY, "user": "x" * 2000})
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert chat(server).status == 200
