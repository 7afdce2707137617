"""What the atoms of an upstream's answer come to, for those who compare it with what was heard."""

import re

from tests.simulator import answers, plan, replies, scripts, upstreamend


def atoms(entry: upstreamend.Entry, number: int) -> tuple[replies.Atom, ...]:
    """What a choice has said; a completion says its texts first, and its calls last."""
    if not isinstance(entry.reply, replies.Completion):
        return tuple(entry.told[number])
    if entry.whole_at is None:
        return ()
    said = entry.reply.choices[number]
    calls = (replies.Fragment(index, {}) for index in range(len(said.calls)))
    return (*(atom for atom in said.atoms if not isinstance(atom, replies.Fragment)), *calls)


class Saying:
    """What some atoms come to.

    Attributes:
        content: their text without the blocks that are calls.
        calls: in the order in which they begin.
    """

    def __init__(
        self,
        reply: replies.Reply | None,
        number: int,
        atoms: tuple[replies.Atom, ...],
        names: tuple[str, ...],
    ) -> None:
        self.atoms = atoms
        self._reply = reply
        self._names = names
        self._said: replies.Said | None = None
        if isinstance(reply, replies.Stream | replies.Completion):
            self._said = reply.choices[number]
        texts = [atom for atom in atoms if isinstance(atom, replies.Text)]
        self._length = sum(len(atom.text) for atom in texts if not atom.refusal)
        self._refusal = "".join(atom.text for atom in texts if atom.refusal)
        thoughts = (atom.text for atom in atoms if isinstance(atom, replies.Thought))
        self._reasoning = "".join(thoughts)
        self.content, self.calls = self._fold(self._length)

    def _fold(self, until: int) -> tuple[str, list[tuple[str, str]]]:
        """Content and calls of the text up to a character; a call ends the text before it."""
        content, held = "", ""
        calls: list[tuple[str, str]] = []
        begun: set[int] = set()

        def take(block: re.Match[str]) -> str:
            if block[1] not in self._names:
                return block[0]
            calls.append((block[1], f'{{"x":"{block[2]}"}}'))
            return ""

        for atom in self.atoms:
            if isinstance(atom, replies.Text) and not atom.refusal:
                held += atom.text[: max(0, until)]
                until -= len(atom.text)
            elif isinstance(atom, replies.Fragment) and self._said is not None:
                content, held = content + scripts.BLOCK.sub(take, held), ""
                if atom.call not in begun:
                    begun.add(atom.call)
                    call = self._said.calls[atom.call]
                    calls.append((call.name, call.arguments))
        return content + scripts.BLOCK.sub(take, held), calls

    def is_whole(self, choice: answers.Choice, ask: plan.Ask) -> bool:
        """Whether a client may have been told this, and that it is whole."""
        word = self._word()
        # On the Responses API one call is all that a client gets who takes one at a time.
        one = ask.legacy or (ask.api == "responses" and not ask.parallel)
        whole_calls = self.calls[:1] if one else self.calls
        calls = [(name, arguments) for _, name, arguments in choice.calls]
        if word in ("length", "content_filter"):
            same_calls = _begin(calls, whole_calls)
        else:
            same_calls = calls == whole_calls
            if calls:
                word = "function_call" if ask.legacy else "tool_calls"
        return (
            same_calls
            and choice.content == self.content
            and choice.refusal == self._refusal
            and choice.reasoning == self._reasoning
            and choice.finish in (word, *self._read_as(word, ask))
        )

    def _read_as(self, word: str, ask: plan.Ask) -> tuple[str, ...]:
        """The Responses API says of a refusal that it is an answer, whatever filtered it."""
        filtered = word == "content_filter" and bool(self._refusal)
        return ("stop",) if filtered and ask.api == "responses" else ()

    def _word(self) -> str:
        assert self._said is not None
        ended = not isinstance(self._reply, replies.Stream) or self._reply.ending != "no_finish"
        return replies.REASONS[self._said.word] if ended else "stop"

    def begins(self, choice: answers.Choice) -> bool:
        """Whether what a client was told is a beginning of it."""
        calls = [(name, arguments) for _, name, arguments in choice.calls]
        asides = (choice.reasoning, choice.refusal)
        if not (self._reasoning.startswith(asides[0]) and self._refusal.startswith(asides[1])):
            return False
        if not _begin(calls, self.calls):
            return False
        if self.content.startswith(choice.content):
            return True
        length = len(choice.content)
        ends = range(length, min(length + 400, self._length) + 1)
        return any(self._fold(end)[0] == choice.content for end in ends)


def _begin(calls: list[tuple[str, str]], whole: list[tuple[str, str]]) -> bool:
    """Whether some calls are the first of others, as far as they go."""
    return len(calls) <= len(whole) and all(
        name == known and arguments_of.startswith(arguments)
        for (name, arguments), (known, arguments_of) in zip(calls, whole, strict=False)
    )
