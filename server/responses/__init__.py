"""`/v1/responses`: its requests, its answers, and what is kept of them."""
