"""What the root of a server says."""

import json

from tests.server.plain import KEY, ask
from tests.support.process import serving


def test_the_root_says_what_this_is(keyed: serving.Serve) -> None:
    answer = ask(keyed, "GET", "/")
    about = json.loads(answer.body)
    assert (answer.status, about["name"]) == (200, "turntape")
    for path in (*about["health"], "/v1/models"):
        assert ask(keyed, "GET", path, authorization=f"Bearer {KEY}").status == 200
