"""Clients that see bytes: HTTP as it is sent, and what its streams fold into."""
