"""The errors that a machine raises.

    MachineError
    ├── IllegalEvent        an event that this state has no transition for
    ├── TableError          a declaration the table compiler refuses
    ├── DecodeError         input bytes that are not what the protocol says
    └── TooLarge            input past a limit of the machine

Nothing else leaves a machine: any other exception is a defect.
"""


class MachineError(Exception):
    """Any complaint of a machine about its input."""


class IllegalEvent(MachineError):
    """Raised by a step whose state has no transition for the event.

    Args:
        machine: name of the machine, such as `stream`.
        state: the state it was in.
        event: the event that does not belong there.
    """

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"{machine}: event {event!r} is illegal in state {state!r}")
        self.machine = machine
        self.state = state
        self.event = event


class TableError(MachineError):
    """Raised at import for a declaration with guards, callbacks or two targets for one event."""


class DecodeError(MachineError):
    """Raised for bytes that the protocol does not allow."""


class TooLarge(MachineError):
    """Raised when input passes a machine's size limit."""
