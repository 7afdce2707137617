"""Lines and events from any split of the bytes that carry them."""
