"""The miner: makes one honest report per round on its own GPU, and serves it.

`session` tells the story (assigned, measured, committed, revealed) over its ports; `reporting`
and `measurement` are its pure cores; `engine`, `meter`, `archive` and `server` are the
adapters to torch, NVML, disk and HTTP; `cli` wires them.
"""
