"""Numbers of ended requests, for Prometheus: what is counted, under which labels, in which form.

Entries of ended requests come in, and readings of other parts; no request's content does.
"""
