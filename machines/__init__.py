"""Pure state machines: bytes or events in, outputs back. No clock, no I/O, no randomness."""
