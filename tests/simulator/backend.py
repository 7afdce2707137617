"""What a world stands behind the server: a worker's other end, which plays and judges."""

from typing import TYPE_CHECKING, Any, Protocol

from tests.simulator import answers, client, clock, plan

if TYPE_CHECKING:
    from tests.simulator import world


class Backend(Protocol):
    """What stands behind the server.

    Attributes:
        config: fields of `server.config.settings.Config` that choose it.
        limits: members of `LIMITS` that are others for it.
        replaced: what of the product's surroundings it stands for: owner, name and value.
        lasting: names of timers and tasks that there always are.
        wrong: the rules that it has seen broken.
        exposed: innocents by number, and what has hit all of something that they shared.
        blackouts: spans in which nobody could be served.
    """

    config: dict[str, Any]
    limits: dict[str, Any]
    replaced: tuple[tuple[Any, str, Any], ...]
    lasting: tuple[str, ...]
    wrong: list[str]
    exposed: dict[int, str]

    @property
    def blackouts(self) -> list[tuple[float, float]]:
        """See above."""

    def install(self, loop: clock.VirtualLoop) -> None:
        """Be what the server finds."""

    def innocent_over(self, number: int) -> None:
        """An innocent has what it asked for."""

    def begun_at(self, ask: int) -> float | None:
        """When the answer to a request began."""

    def take(self, step: plan.Step) -> None:
        """Have a step happen, if it is one of this backend."""

    def is_ready(self, worker: Any) -> bool:
        """Whether all of it is well."""

    def leaks(self, worker: Any) -> list[str]:
        """What is held for turns, when there should be none."""

    def request_of(self, line: bytes) -> str:
        """The request that a line of a worker's is about; empty for none."""

    def unstopped(self) -> list[str]:
        """Work that goes on and that nobody waits for."""

    def check_answer(
        self,
        of: "world.World",
        visitor: client.Visitor,
        index: int,
        heard: answers.Heard,
        answer: answers.Answer,
    ) -> None:
        """An answer is true to what this backend said.

        Args:
            index: of the answer on its connection.

        Raises:
            Broken: it is not.
        """
