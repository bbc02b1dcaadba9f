"""Small server-made SVG pictures: no script, no style attribute, so a strict CSP holds."""

from markupsafe import Markup

from api.footprint import Estimate, rounded

WIDTH = 120
HEIGHT = 12


def interval_bar(estimate: Estimate, scale: float) -> Markup:
    """An interval with its value on a linear scale from 0 to `scale`; text goes with it."""
    low, value, high = (
        round(WIDTH * min(1.0, part / scale), 1)
        for part in (estimate.low, estimate.value, estimate.high)
    )
    text = f"{rounded(estimate.low, 3):g} to {rounded(estimate.high, 3):g}"
    return Markup(
        '<svg class="interval" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="95 % interval {text}"><title>{text}</title>'
        '<line class="track" x1="0" y1="6" x2="{width}" y2="6"/>'
        '<rect class="span" x="{low}" y="3" width="{span}" height="6" rx="3"/>'
        '<circle class="dot" cx="{value}" cy="6" r="3.5"/></svg>'
    ).format(
        width=WIDTH,
        height=HEIGHT,
        text=text,
        low=low,
        span=round(max(1.0, high - low), 1),
        value=value,
    )
