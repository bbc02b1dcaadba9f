"""Carbon of a token: energy x PUE x grid intensity, plus embodied, with an interval.

The software carbon intensity of ISO/IEC 21031:2024, SCI = (E x I + M) per R, with
R = 1,000,000 output tokens. Intervals are analytic so that anybody can redo them by hand:
factors are taken as independent, the half-widths of their logarithms add in quadrature,
each side for itself; the embodied part adds in quadrature on the linear scale. A range
without a stated level counts as a 95 % interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocol.constants import SYSTEMATIC_PPM
from protocol.messages import Status
from protocol.units import WattHours, kilowatt_hours, ratio

INTERVAL_LEVEL = 0.95
INTERVAL_METHOD = "log-quadrature-v1"
METHODOLOGY_VERSION = "2026.1"
PER = "1e6 output tokens"
Z_95 = 1.96
"""Standard deviations of a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval, in one unit."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.value <= self.high < math.inf):
            raise ValueError(f"not an interval around a value: {self}")

    def overlaps(self, other: "Estimate") -> bool:
        """Whether the two intervals share a point: then their order means nothing."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One factor of a footprint: an estimate, and what stands behind it."""

    estimate: Estimate
    unit: str
    status: Status
    source: str
    date: str
    """Year, month or day that the value stands for (ISO 8601, possibly shortened)."""
    licence: str
    note: str = ""
    """How the value or its interval came about, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Grams of CO2-equivalent per million output tokens."""

    total: Estimate
    operational_g: float
    embodied_g: float | None
    """None where the source gives no throughput to spread the hardware over."""


def spread(value: float, factor: float) -> Estimate:
    """A value known to within a factor: value / factor to value x factor.

    Raises:
        ValueError: If the factor is below 1 or the value is no non-negative number.
    """
    if factor < 1:
        raise ValueError(f"a spread is at least 1, got {factor}")
    return Estimate(value=value, low=value / factor, high=value * factor)


def sensor_spread() -> float:
    """The factor within which a GPU board's own energy counter is right (95 %)."""
    return 1 + Z_95 * ratio(SYSTEMATIC_PPM)


class Logarithmic(NamedTuple):
    """An estimate as products see it: a value and the half-widths of its logarithm.

    A tuple, as a refresh makes tens of thousands.
    """

    value: float
    up: float
    """ln(high / value)."""
    down: float
    """ln(value / low); infinite where the interval begins at 0."""

    def times(self, other: "Logarithmic") -> "Logarithmic":
        """The product with an independent factor."""
        return Logarithmic(
            self.value * other.value,
            math.hypot(self.up, other.up),
            math.hypot(self.down, other.down),
        )

    def estimate(self) -> Estimate:
        """The value with its interval again."""
        return Estimate(
            value=self.value,
            low=self.value * math.exp(-self.down),
            high=self.value * math.exp(self.up),
        )


def logarithmic(factor: Estimate) -> Logarithmic:
    """A positive estimate in the form that is cheap to multiply.

    Raises:
        ValueError: If the value is 0: it has no logarithm.
    """
    if factor.value <= 0:
        raise ValueError("only a positive value has a logarithm")
    down = math.log(factor.value / factor.low) if factor.low > 0 else math.inf
    return Logarithmic(factor.value, math.log(factor.high / factor.value), down)


def product(factors: Sequence[Estimate]) -> Estimate:
    """Product of independent factors; a factor of 0 makes it 0."""
    if any(factor.value == 0 for factor in factors):
        high = math.prod(factor.high for factor in factors)
        return Estimate(value=0.0, low=0.0, high=high)
    found = Logarithmic(1.0, 0.0, 0.0)
    for factor in factors:
        found = found.times(logarithmic(factor))
    return found.estimate()


def total(one: Estimate, other: Estimate) -> Estimate:
    """Sum of two independent parts."""
    value = one.value + other.value
    up = math.hypot(one.high - one.value, other.high - other.value)
    down = math.hypot(one.value - one.low, other.value - other.low)
    return Estimate(value=value, low=max(0.0, value - down), high=value + up)


def footprint(
    *,
    energy_wh_per_mtok: Estimate,
    pue: Estimate,
    intensity_g_per_kwh: Estimate,
    embodied_g_per_mtok: Estimate | None,
) -> Footprint:
    """Carbon of a million output tokens.

    Args:
        energy_wh_per_mtok: GPU energy (Wh per million output tokens).
        pue: Facility over IT energy (>= 1).
        intensity_g_per_kwh: Grid intensity (gCO2e per kWh).
        embodied_g_per_mtok: Share of making the hardware (gCO2e per million output tokens).
    """
    energy = facility_kwh(energy_wh_per_mtok, pue)
    return emitted(energy, intensity_g_per_kwh, embodied_g_per_mtok)


def facility_kwh(energy_wh_per_mtok: Estimate, pue: Estimate) -> Estimate:
    """Energy of the whole facility (kWh per million output tokens)."""
    kwh = Estimate(
        value=kilowatt_hours(WattHours(energy_wh_per_mtok.value)),
        low=kilowatt_hours(WattHours(energy_wh_per_mtok.low)),
        high=kilowatt_hours(WattHours(energy_wh_per_mtok.high)),
    )
    return product((kwh, pue))


def emitted(
    energy_kwh_per_mtok: Estimate,
    intensity_g_per_kwh: Estimate,
    embodied_g_per_mtok: Estimate | None,
) -> Footprint:
    """Carbon of a facility's energy on a grid, and of the hardware."""
    operational = product((energy_kwh_per_mtok, intensity_g_per_kwh))
    return with_embodied(operational, embodied_g_per_mtok)


def with_embodied(operational: Estimate, embodied_g_per_mtok: Estimate | None) -> Footprint:
    """Operational carbon and the share of making the hardware (gCO2e per million tokens)."""
    if embodied_g_per_mtok is None:
        return Footprint(total=operational, operational_g=operational.value, embodied_g=None)
    return Footprint(
        total=total(operational, embodied_g_per_mtok),
        operational_g=operational.value,
        embodied_g=embodied_g_per_mtok.value,
    )


def rounded(value: float, digits: int = 4) -> float:
    """A figure as it is shown: to so many significant digits."""
    if value == 0:
        return 0.0
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))
