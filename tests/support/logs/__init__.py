"""Logs and transcripts: made, damaged, and read back."""
