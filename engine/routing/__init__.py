"""Which worker answers a request, and which one stands in when that one cannot.

What chooses between workers comes in; it sees them as `Worker`s, never as Codex or an upstream.
"""
