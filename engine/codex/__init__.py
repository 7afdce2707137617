"""A supervised Codex app-server as a worker: its processes, its threads, its turns."""
