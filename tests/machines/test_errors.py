"""What a machine raises is of one family and says what went wrong where."""

import inspect

from machines import errors


def test_every_error_is_a_machine_error() -> None:
    classes = [found for _, found in inspect.getmembers(errors, inspect.isclass)]
    assert len(classes) == 5
    assert all(issubclass(found, errors.MachineError) for found in classes)


def test_an_illegal_event_names_machine_state_and_event() -> None:
    error = errors.IllegalEvent("stream", "done", "text")
    assert str(error) == "stream: event 'text' is illegal in state 'done'"
    assert (error.machine, error.state, error.event) == ("stream", "done", "text")
