"""`/v1/completions`: the API before chat, spelled over the same machine and the same way.

What spells a request or an answer of this API comes in. A request becomes one of chat for each of
its prompts; what is done with that is chat's.
"""
