"""The declaration of a stream's machine, for who reads, draws and tests it.

`machines.stream.states` says what its states are, `machines.stream.compiled` has the table that
was compiled of it. Nothing that runs imports this: python-statemachine brings asyncio, and to load
both takes longer than all else that `turntape show` needs.
"""

from statemachine import State, StateMachine


class StreamMachine(StateMachine):
    """The states of one choice."""

    held = State(initial=True)
    role = State()
    content = State()
    tool_buffering = State()
    finish = State()
    usage = State()
    done = State(final=True)
    failed = State(final=True)
    abandoned = State(final=True)

    head_due = held.to(role)
    begin = content.from_(held, role)
    text = content.from_(held, role, content, tool_buffering)
    call = tool_buffering.from_(held, role, content, tool_buffering)
    finished = finish.from_(held, role, content, tool_buffering)
    counted = finish.to(usage)
    completed = done.from_(finish, usage)
    fail = failed.from_(held, role, content, tool_buffering, finish)
    abandon = abandoned.from_(held, role, content, tool_buffering, finish)
    keepalive = (
        role.to.itself() | content.to.itself() | tool_buffering.to.itself() | finish.to.itself()
    )
    notice = (
        held.to.itself()
        | role.to.itself()
        | content.to.itself()
        | tool_buffering.to.itself()
        | finish.to.itself()
    )
