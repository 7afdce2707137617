"""Stands where Codex would, with `PROXY_USE_APP_SERVER=false` and no other worker."""

from engine import slices, worker, workerkinds

CODE = "app_server_disabled"
"""Why nothing is answered; a code of `server.http.errors`."""


class DisabledWorker:
    """Answers no turn.

    Args:
        default_model: what the aliases would stand for.
    """

    kind = workerkinds.DISABLED

    def __init__(self, default_model: str) -> None:
        self.accepts: worker.AnyModel | worker.ListedModels = worker.ListedModels(default_model)

    async def start(self) -> None:
        """Do nothing: there is nothing to start."""

    async def stop(self) -> None:
        """Do nothing: there is nothing to stop."""

    def health(self) -> worker.Health:
        """Never ready."""
        return worker.Health(False, "disabled", CODE)

    def versions(self) -> dict[str, str]:
        """None."""
        return {}

    def models(self) -> tuple[str, ...]:
        """None."""
        return ()

    def describe(self, model: str) -> worker.ModelCard:
        """Return nothing: nobody says more of it."""
        return worker.ModelCard()

    def check(self, turn: worker.Turn) -> slices.Steps[worker.Runner]:
        """Refuse every turn."""
        yield
        raise worker.TurnRefused(CODE, "The Codex worker is switched off.")

    def run(self, turn: worker.Turn, feed: worker.Feed) -> worker.RunningTurn:
        """Never reached: `check` has refused the turn."""
        raise worker.TurnRefused(CODE, "The Codex worker is switched off.")
