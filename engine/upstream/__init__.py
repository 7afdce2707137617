"""An HTTP server that speaks Chat Completions as a worker: its client, its answers."""
