"""Footprints of one machine on one grid, by the period that an answer speaks about."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from api.catalogue import Place
from api.footprint import Estimate, Footprint, Logarithmic, logarithmic, product, with_embodied
from api.grid.intensity import Intensity, Period
from api.grid.ladder import Ladder, pooled


class Grid:
    """Intensities of a set of places by period, each worked out when it is first asked for."""

    def __init__(self, ladder: Ladder, places: Sequence[Place], now: datetime) -> None:
        """The yearly one at once, on which the others rest.

        Raises:
            SourceError: If neither zone nor country of a place has a yearly level.
        """
        self._ladder = ladder
        self._places = places
        self._now = now
        self._found: dict[Period, tuple[Intensity, Logarithmic | None]] = {}
        self._at(Period.YEAR)

    def __getitem__(self, period: Period) -> Intensity:
        return self._at(period)[0]

    def times(self, facility: Logarithmic, period: Period) -> Estimate:
        """Operational carbon of a facility's energy here (g)."""
        intensity, factor = self._at(period)
        if factor is None:
            return product((facility.estimate(), intensity.factor.estimate))
        return facility.times(factor).estimate()

    def _at(self, period: Period) -> tuple[Intensity, Logarithmic | None]:
        """The intensity, and in the form that is cheap to multiply unless it is 0."""
        found = self._found.get(period)
        if found is None:
            intensity = pooled(
                [self._ladder.at(place, period, self._now) for place in self._places]
            )
            estimate = intensity.factor.estimate
            found = (intensity, logarithmic(estimate) if estimate.value > 0 else None)
            self._found[period] = found
        return found


@dataclass(frozen=True, slots=True)
class Footprints:
    """Footprints of a row by period, each made when it is first asked for.

    A refresh makes thousands of rows, most of which are looked at over one period or never.
    """

    facility: Logarithmic
    """Energy of the whole facility (kWh per million output tokens)."""
    grid: Grid
    embodied: Estimate | None
    """gCO2e per million output tokens."""
    _made: dict[Period, Footprint] = field(default_factory=dict, compare=False, repr=False)

    def __getitem__(self, period: Period) -> Footprint:
        found = self._made.get(period)
        if found is None:
            operational = self.grid.times(self.facility, period)
            found = self._made[period] = with_embodied(operational, self.embodied)
        return found

    def factors(self, period: Period) -> tuple[float, ...]:
        """All that a footprint follows from, as figures."""
        grid, embodied = self.grid[period].factor.estimate, self.embodied
        return (
            *self.facility,
            grid.value,
            grid.low,
            grid.high,
            *((embodied.value, embodied.low, embodied.high) if embodied else (-1.0,)),
        )
