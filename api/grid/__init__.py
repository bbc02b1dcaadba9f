"""Carbon intensity of electricity: how much a zone emits per kWh, and how well that is known.

`intensity.py` holds the records and the port of live sources, `shape.py` the offline hourly
curve, `ladder.py` the choice between them. Average, lifecycle, location-based, consumption
throughout; direct and marginal signals are never blended in.
"""
