"""Tool calls: which text and which fragments are calls, and what they say."""
