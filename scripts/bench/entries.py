"""One benchmark result: our value beside an anchor's."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the benchmark."""

    name: str
    """What was measured, with its conditions: `meter_mean_error_pct{edges=idle,window_s=1}`."""
    value: float
    """Ours."""
    unit: str
    anchor: str
    """Who or what it is held against, with version."""
    anchor_value: float
    ratio: float | None
    """Anchor over ours: above 1 ours is better, where less is better. None when ours is 0."""


def entry(name: str, value: float, unit: str, *, anchor: str, anchor_value: float) -> Entry:
    """An entry, with its ratio."""
    return Entry(
        name=name,
        value=value,
        unit=unit,
        anchor=anchor,
        anchor_value=anchor_value,
        ratio=anchor_value / value if value else None,
    )


def labelled(name: str, **labels: str | float) -> str:
    """A name with its conditions, such as `meter_cpu_pct{hz=10}`."""
    inside = ",".join(
        f"{label}={value:g}" if isinstance(value, float) else f"{label}={value}"
        for label, value in labels.items()
    )
    return f"{name}{{{inside}}}"
