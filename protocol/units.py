"""Quantity types, and every conversion factor in the repository.

Inside the code a quantity is a `NewType` over an SI float (or an exact integer where the
wire needs one); the unit is the last word of every name. Conversions are exact expressions
and live only here, so that a slipped factor of 1,000 has one place to be found.
"""

from typing import NewType

Joules = NewType("Joules", float)
Watts = NewType("Watts", float)
Seconds = NewType("Seconds", float)
WattHours = NewType("WattHours", float)
WhPer1kTokens = NewType("WhPer1kTokens", float)
"""Watt-hours per 1,000 tokens; the name of the variable says which tokens."""
WhPerMtok = NewType("WhPerMtok", float)
"""Watt-hours per 1,000,000 tokens."""
GramsCo2ePerKwh = NewType("GramsCo2ePerKwh", float)
Pue = NewType("Pue", float)
"""Power usage effectiveness, facility energy over IT energy, >= 1 (ISO/IEC 30134-2)."""

Millijoules = NewType("Millijoules", int)
"""The unit of NVML's energy counter, and of energy on the wire."""
Milliwatts = NewType("Milliwatts", int)
Microseconds = NewType("Microseconds", int)
Nanoseconds = NewType("Nanoseconds", int)
MicroWattHours = NewType("MicroWattHours", int)
PartsPerMillion = NewType("PartsPerMillion", int)
TokenCount = NewType("TokenCount", int)

PPM_ONE = 1_000_000
"""The ratio 1.0 in parts per million."""
U16_MAX = 65_535
"""Largest weight on chain; a full vector sums to it."""

RAO_PER_TAO = 1_000_000_000
"""The chain's smallest unit in its token, TAO (and in a subnet's alpha)."""

_MJ_PER_J = 1_000
_MW_PER_W = 1_000
_J_PER_WH = 3_600
_US_PER_S = 1_000_000
_NS_PER_US = 1_000
_NS_PER_S = 1_000_000_000
_UWH_PER_WH = 1_000_000
_BYTES_PER_MIB = 1_048_576


def joules(energy_mj: float) -> Joules:
    """Energy in J from mJ."""
    return Joules(energy_mj / _MJ_PER_J)


def millijoules(energy: Joules) -> Millijoules:
    """Energy in whole mJ, rounded to nearest, half to even."""
    return Millijoules(round(energy * _MJ_PER_J))


def watts(power_mw: float) -> Watts:
    """Power in W from mW."""
    return Watts(power_mw / _MW_PER_W)


def milliwatts(power: Watts) -> Milliwatts:
    """Power in whole mW, rounded to nearest, half to even."""
    return Milliwatts(round(power * _MW_PER_W))


def seconds(duration_ns: float) -> Seconds:
    """Duration in s from ns."""
    return Seconds(duration_ns / _NS_PER_S)


def seconds_from_us(duration_us: float) -> Seconds:
    """Duration in s from microseconds."""
    return Seconds(duration_us / _US_PER_S)


def seconds_from_ms(duration_ms: float) -> Seconds:
    """Duration in s from ms."""
    return Seconds(duration_ms / 1e3)


def nanoseconds(duration: Seconds) -> Nanoseconds:
    """Duration in whole ns, rounded to nearest."""
    return Nanoseconds(round(duration * _NS_PER_S))


def microseconds(duration_ns: int) -> Microseconds:
    """Duration in whole microseconds from ns, rounded down."""
    return Microseconds(duration_ns // _NS_PER_US)


def milliseconds(duration: Seconds) -> float:
    """Duration in ms."""
    return duration * 1e3


def watt_hours(energy: Joules) -> WattHours:
    """Energy in Wh from J."""
    return WattHours(energy / _J_PER_WH)


def joules_from_wh(energy: WattHours) -> Joules:
    """Energy in J from Wh."""
    return Joules(energy * _J_PER_WH)


def watt_hours_from_kwh(energy_kwh: float) -> WattHours:
    """Energy in Wh from kWh."""
    return WattHours(energy_kwh * 1e3)


def kilowatt_hours(energy: WattHours) -> float:
    """Energy in kWh from Wh."""
    return energy / 1e3


def wh_per_1k(energy: Joules, count: int) -> WhPer1kTokens:
    """Watt-hours per 1,000 of something counted (tokens, queries).

    Args:
        energy: Energy over the window (J).
        count: How many were counted in the window; at least 1.

    Raises:
        ValueError: If `count` is not positive: a failure never becomes a number.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    return WhPer1kTokens(watt_hours(energy) * 1_000 / count)


def uwh_per_1k(energy_mj: int, count: int) -> MicroWattHours:
    """Micro-watt-hours per 1,000 of something counted, in exact integer arithmetic.

    Two validators must agree to the byte, so the division rounds half up on integers
    instead of passing through floats.

    Raises:
        ValueError: If `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    numerator = energy_mj * 1_000 * _UWH_PER_WH
    denominator = count * _J_PER_WH * _MJ_PER_J
    return MicroWattHours((2 * numerator + denominator) // (2 * denominator))


def wh_per_1k_from_uwh(energy_uwh: int) -> WhPer1kTokens:
    """Watt-hours per 1,000 tokens from the wire's micro-watt-hours."""
    return WhPer1kTokens(energy_uwh / _UWH_PER_WH)


def wh_per_mtok(energy: WhPer1kTokens) -> WhPerMtok:
    """Watt-hours per million tokens from watt-hours per thousand."""
    return WhPerMtok(energy * 1_000)


def ratio(share_ppm: int) -> float:
    """A ratio from parts per million."""
    return share_ppm / PPM_ONE


def parts_per_million(share: float) -> PartsPerMillion:
    """A ratio in whole parts per million, rounded to nearest, half to even."""
    return PartsPerMillion(round(share * PPM_ONE))


def tao_from_rao(amount_rao: int) -> float:
    """An amount in TAO (or alpha) from RAO."""
    return amount_rao / RAO_PER_TAO


def rao_from_tao(amount_tao: float) -> int:
    """An amount in whole RAO from TAO (or alpha), rounded to nearest."""
    return round(amount_tao * RAO_PER_TAO)


def mebibytes(size_bytes: int) -> float:
    """A size in MiB from bytes."""
    return size_bytes / _BYTES_PER_MIB
