"""Commands for developers: captures, drawings, and what Codex has changed in its schema."""
