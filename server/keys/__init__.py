"""The keys of clients: who holds which, what each may ask for, and how much of it is used.

What a key may do, and what it has done, comes in; it sees no request, no header and no file of
keys, which `server.config` reads.
"""
