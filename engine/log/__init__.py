"""The event log: what becomes a record, how it is kept on disk, and how it is read back."""
