"""HTTP, configuration and the composition root."""
