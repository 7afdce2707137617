"""`/v1/responses`: its requests, its answers, its background runs, and what is kept of them.

What spells this API comes in. What it has in common with chat it takes from `server/api` and
`server/chat`.
"""
