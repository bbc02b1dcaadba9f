"""A sequential scale that colour-blind readers and a grey print can follow.

Nine steps of cividis (Nunez, Anderton and Renslow 2018, PLOS ONE 13(7): e0199239): lightness
rises evenly from navy (little carbon) to yellow (much).
"""

CIVIDIS = (
    "#00224e",
    "#1c3b6e",
    "#434e6c",
    "#5d626e",
    "#7d7c78",
    "#9a9172",
    "#b9a968",
    "#dac455",
    "#fee838",
)
LIGHT_FROM = 5
"""First step on which dark text is read better than light text."""


def step(share: float) -> int:
    """The step of the scale for a share between 0 and 1."""
    return min(len(CIVIDIS) - 1, max(0, int(share * len(CIVIDIS))))


def ink(position: int) -> str:
    """Colour of text on a step."""
    return "#14171a" if position >= LIGHT_FROM else "#ffffff"
