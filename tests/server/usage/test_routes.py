"""A stream's endpoint is told as the route that it came by."""

from engine.log.summary import rows
from server import router
from server.usage import routes


def test_each_endpoint_has_a_route_that_there_is() -> None:
    assert set(routes.OF_ENDPOINTS.values()) <= {route.path for route in router.ROUTES}


def test_a_refusal_tells_its_own() -> None:
    row = rows.Summary(summary="rj", at=(1, 1), t=1, route="/v1/models", method="GET")
    assert (routes.route_of(row), routes.method_of(row)) == ("/v1/models", "GET")


def test_a_stream_was_posted_whatever_its_endpoint() -> None:
    row = rows.Summary(summary="st", at=(1, 1), t=1, trigger="x", endpoint="responses")
    assert (routes.route_of(row), routes.method_of(row)) == ("/v1/responses", "POST")
    later = rows.Summary(summary="st", at=(1, 1), t=1, trigger="x", endpoint="embeddings")
    assert routes.route_of(later) == "embeddings"
