"""What a first record keeps of tool options: only what is not as it always is."""

import msgspec

from machines import tooloptions


def test_a_request_without_tools_has_nothing_to_keep() -> None:
    assert msgspec.json.encode(tooloptions.NO_TOOLS) == b"{}"


def test_what_differs_is_kept() -> None:
    options = tooloptions.ToolOptions(("f",), max_calls=2, sse_comments=False)
    kept = b'{"names":["f"],"most":2,"comments":false}'
    assert msgspec.json.encode(options) == kept
    assert msgspec.json.decode(kept, type=tooloptions.ToolOptions) == options
