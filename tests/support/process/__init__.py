"""The program as a process: started, with faults planted in it, and what it costs."""
