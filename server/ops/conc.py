"""`/__test/conc`: how many streams are open, for tests of a limit. With `PROXY_TEST_ENDPOINTS`."""

from server.api.call import Call
from server.context import Context


async def concurrency(context: Context, call: Call) -> None:
    """Answer `GET /__test/conc` with what a stream's `x-conc-*` headers would say; this request
    opens none, so `before` and `after` are the same."""
    call.answer(200, context.permits.counts(context.permits.taken))
