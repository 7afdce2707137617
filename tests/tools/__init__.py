"""Commands for developers: captures, drawings, and what Codex has changed in its schema.

A command that is run by hand or by CI comes in, and what such commands read or draw.
"""
