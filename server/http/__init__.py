"""HTTP/1.1 around h11: connections, requests, answers, decoding, the table of error codes.

What is true of every request comes in, whatever its path; it knows no endpoint and no setting.
"""
