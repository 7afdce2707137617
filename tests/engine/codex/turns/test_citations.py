"""The sources in a provider's own form of its messages; what clients see of them on the real
binary is in `tests/codex/test_web_search.py`."""

from typing import Any

import msgspec

from engine.codex.turns import citations


def item(text: str, *annotations: Any, **more: Any) -> msgspec.Raw:
    part = {"type": "output_text", "text": text, "annotations": annotations}
    whole = {"type": "message", "role": "assistant", "content": [part], **more}
    return msgspec.Raw(msgspec.json.encode(whole))


def cited(start: int, end: int) -> dict[str, Any]:
    place = {"start_index": start, "end_index": end, "title": "A", "url": "https://a.example/"}
    return {"type": "url_citation", **place}


def places(found: msgspec.Raw | None) -> list[tuple[int, int, int]]:
    notes = msgspec.json.decode(found)["annotations"] if found is not None else []
    each = [(note["index"], note["url_citation"]) for note in notes]
    return [(index, note["start_index"], note["end_index"]) for index, note in each]


def test_a_place_is_that_in_the_joined_texts_or_in_the_message_s_own() -> None:
    said = item("One.", cited(0, 3)), item(""), item("Two.", cited(0, 3), cited(1, 2))
    joined = citations.Citations(separate=False)
    assert [places(joined.of(each)) for each in said] == [
        [(0, 0, 3)],
        [],
        [(1, 6, 9), (2, 7, 8)],
    ]
    own = citations.Citations(separate=True)
    assert [places(own.of(each)) for each in said] == [[(0, 0, 3)], [], [(1, 0, 3), (2, 1, 2)]]


def test_commentary_is_no_part_of_a_joined_text() -> None:
    comment = item("Hm.", cited(0, 2), phase="commentary")
    joined = citations.Citations(separate=False)
    assert joined.of(comment) is None
    assert places(joined.of(item("One.", cited(0, 3)))) == [(0, 0, 3)]
    assert places(citations.Citations(separate=True).of(comment)) == [(0, 0, 2)]


def test_what_names_no_source_of_the_model_s_text_has_none() -> None:
    other = {"type": "file_citation", "file_id": "f", "index": 0, "filename": "f"}
    wrong = cited(0, 1) | {"start_index": "a"}
    for raw in (
        item("One.", other, wrong, 7),
        item("One.", cited(0, 3), role="user"),
        msgspec.Raw(b'{"type":"function_call","name":"f"}'),
        msgspec.Raw(b'{"type":"message","role":"assistant","content":"One."}'),
        msgspec.Raw(b"[]"),
    ):
        assert citations.Citations(separate=True).of(raw) is None
