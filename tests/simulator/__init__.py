"""A seeded simulation of the whole system: one process, no thread, no socket, no real time.

What plays a part of the world comes in (net, disk, clock, clients, workers), and the rules that
every run is held to.

A seed makes a plan: the weather (how the server is set up) and a few steps (what clients, worker
processes and the disk do, and when). A run plays the plan and says which rules were broken.
`python -m tests.simulator --seed N` runs one; `docs/simulator.md` says more.
"""
