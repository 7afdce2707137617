"""The Grafana dashboard: what is on it, and how that becomes Grafana's JSON.

What is drawn of a server's metrics comes in, and the form that Grafana wants of it.
"""
