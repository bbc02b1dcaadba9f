"""Footprints of one machine on one grid, by the period that an answer speaks about."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from api.footprint import Estimate, Footprint, Logarithmic, logarithmic, product, with_embodied
from api.grid.intensity import Intensity, Period


class Grid:
    """Intensities of a set of places by period, ready to be multiplied."""

    def __init__(self, intensities: Mapping[Period, Intensity]) -> None:
        self.intensities = intensities
        self._logarithms = {
            period: logarithmic(intensity.factor.estimate)
            for period, intensity in intensities.items()
            if intensity.factor.estimate.value > 0
        }

    def times(self, facility: Logarithmic, period: Period) -> Estimate:
        """Operational carbon of a facility's energy here (g)."""
        grid = self._logarithms.get(period)
        if grid is None:
            return product((facility.estimate(), self.intensities[period].factor.estimate))
        return facility.times(grid).estimate()


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
        grid, embodied = self.grid.intensities[period].factor.estimate, self.embodied
        return (
            *self.facility,
            grid.value,
            grid.low,
            grid.high,
            *((embodied.value, embodied.low, embodied.high) if embodied else (-1.0,)),
        )
