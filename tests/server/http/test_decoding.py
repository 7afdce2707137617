"""JSON from a client is typed fields, or a refusal that names the field at fault."""

import msgspec
import pytest

from server.http import decoding
from server.http.errors import ApiError


class Fields(msgspec.Struct):
    """A body."""

    model: str | None = None
    n: int = 1


DECODER = msgspec.json.Decoder(Fields)


def refusal(data: bytes) -> ApiError:
    """What is said of a body that is refused."""
    with pytest.raises(ApiError) as refused:
        decoding.decode(DECODER, data)
    return refused.value


def test_a_body_is_read_as_its_fields() -> None:
    assert decoding.decode(DECODER, b'{"model":"m","n":2,"more":[]}') == Fields("m", 2)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"{nonsense", "syntax"),
        (b'{"model":"\xff"}', "encoding"),
        (b'{"model":' + b"[" * 200 + b"]" * 200 + b"}", "depth"),
        (b"[1]", "type"),
    ],
)
def test_what_cannot_be_read_at_all_says_why(data: bytes, fault: str) -> None:
    error = refusal(data)
    assert (error.code, error.param) == ("invalid_json", None)
    assert error.message == {str(key): text for key, text in decoding.NOT_JSON.items()}[fault]


def test_a_field_of_another_type_is_named() -> None:
    assert (refusal(b'{"n":"2"}').code, refusal(b'{"n":"2"}').param) == ("invalid_request", "n")


def test_a_part_is_named_by_its_path() -> None:
    with pytest.raises(ApiError) as refused:
        decoding.decode(DECODER, b'{"n":"2"}', "input[3]")
    assert refused.value.param == "input[3].n"


def test_arrays_and_objects_have_a_limit() -> None:
    decoding.check_count("messages", 3, 3)
    with pytest.raises(ApiError) as refused:
        decoding.check_count("messages", 4, 3)
    assert (refused.value.code, refused.value.param) == ("array_above_max_length", "messages")
    assert decoding.too_many_members("tools", 3).code == "object_above_max_properties"


def test_unknown_fields_are_those_that_say_something_and_fit_into_a_header() -> None:
    fields = {
        name: msgspec.Raw(value)
        for name, value in (
            ("model", b'"m"'),
            ("made_up", b"1"),
            ("absent", b"null"),
            ("a b", b"1"),
            ("x" * 65, b"1"),
        )
    }
    assert decoding.unknown(fields, ("model",)) == ("made_up",)
    many = {f"f{number}": msgspec.Raw(b"1") for number in range(100)}
    assert len(decoding.unknown(many, ())) == decoding.IGNORED_MAX


@pytest.mark.parametrize("model", [None, ""])
def test_a_model_is_required(model: str | None) -> None:
    with pytest.raises(ApiError) as refused:
        decoding.model_of(model)
    assert (refused.value.code, refused.value.param) == ("model_required", "model")


def test_the_name_of_a_model_has_a_length() -> None:
    assert decoding.model_of("m" * decoding.MODEL_MAX) == "m" * decoding.MODEL_MAX
    with pytest.raises(ApiError) as refused:
        decoding.model_of("m" * (decoding.MODEL_MAX + 1))
    assert (refused.value.code, refused.value.param) == ("invalid_request", "model")
