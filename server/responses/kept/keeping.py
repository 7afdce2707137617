"""Keeps a response for later requests, before its client hears that it is whole."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import structlog

from engine import containment
from engine.store import store as responsestore
from server.http.errors import ApiError
from server.responses.render.answer import Answer

COMMIT_PATIENCE_S: Final = 10.0
"""Seconds that a client is kept waiting for a store that does not answer."""

_log = structlog.get_logger(component="responses")
_encode: Final = msgspec.json.encode


@contextlib.contextmanager
def needed() -> Iterator[None]:
    """Turn a failure of the store into a 503, around what cannot be answered without it.

    Raises:
        ApiError: `store_unavailable` where it cannot do what it is asked.
    """
    try:
        yield
    except responsestore.StoreError:
        message = "The store of responses cannot be used. Try again shortly."
        raise ApiError("store_unavailable", message) from None


class Keeper:
    """Commits one response to the store.

    An answer is sent even if it could not be kept: it is what the client waits for. It will be
    missed by the next request, which says so.

    Args:
        asked: the response as far as the request says it.
        answer: what becomes of it.
    """

    def __init__(
        self,
        store: responsestore.ResponseStore,
        asked: responsestore.StoredResponse,
        answer: Answer,
    ) -> None:
        self._store = store
        self._asked = asked
        self._answer = answer
        self._commit: asyncio.Task[None] | None = None

    def before_last(self, proceed: Callable[[], None]) -> None:
        """Commit the response, then call `proceed`; at once where there is none to keep."""
        response = self._answer.response
        if response is None:
            proceed()
            return
        kept = msgspec.structs.replace(
            self._asked,
            status=response["status"],
            body=_encode(response),
            output=self._answer.output.kept(),
        )
        self._commit = asyncio.get_running_loop().create_task(self._put(kept, proceed))

    async def _put(self, kept: responsestore.StoredResponse, proceed: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(COMMIT_PATIENCE_S):
                await self._store.put(kept)
        except (responsestore.StoreError, TimeoutError) as error:
            problem = str(error) or "no answer in time"
            _log.error("response_not_kept", response=kept.response_id, problem=problem)
        except Exception as error:
            containment.report(containment.Boundary.STORE, error, response=kept.response_id)
        finally:
            proceed()
