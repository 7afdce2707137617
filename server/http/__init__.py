"""One HTTP/1.1 connection around h11: its requests, its answers, its errors."""
