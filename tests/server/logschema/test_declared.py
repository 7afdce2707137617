"""The form of a declaration of a line."""

from server.logschema.declared import INFO, Event


def test_a_question_mark_is_behind_a_field_that_may_be_missing() -> None:
    event = Event("x", "server", INFO, "always sometimes?", "")
    assert event.required() == ("always",)
    assert event.all_fields() == ("always", "sometimes")
