"""What tests feed to machines, and the clock that they run by."""
