"""Which worker answers a request, and which one stands in when that one cannot."""
