"""Benchmarks against named anchors: `make bench`, or `make bench ONLY=meter`.

Each part gives entries; the runner prints them as a table and writes `build/bench.json`.
"""
