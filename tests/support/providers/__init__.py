"""What stands behind a server: model providers, upstreams, app-servers, and what they answer.

A counterpart of a worker comes in, and the replies that it is given to play.
"""
