"""The API: verified Wh per token joined with grid carbon, PUE and price, with an interval.

Read `refresh.py` for the story of one release, then the pure parts that it uses: `energy.py`
(which figure), `grid/ladder.py` (which intensity), `footprint.py` (the product),
`offerings.py` (what is sold where), `ranking.py` and `recommend.py` (the answers).
"""
