"""The I/O that feeds the machines, and keeps what they did."""
