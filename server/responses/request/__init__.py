"""Requests to create a response: their shape, their items, the conversation that they go on with.

What reads or refuses a field comes in; nothing that renders or keeps an answer.
"""
