"""The mock of `turntape mock`: which recording answers a request, and what becomes of a miss.

Requests come in as any server's do; what answers one is a transcript, or a second server in front
of a real provider. Tests of other programs have scopes of their own, with a journal each.
"""
