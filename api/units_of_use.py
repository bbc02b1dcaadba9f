"""Carbon per request, query and month from carbon per million output tokens. Pure.

The units of the CASRAI term *inference carbon footprint*: gCO2e per query, kgCO2e per month.
Prompt tokens do not count apart: the measured energy per output token includes reading the
prompts of its benchmark.
"""

from dataclasses import dataclass

from api.footprint import Estimate
from api.grid.intensity import Period
from api.offerings import Row
from protocol.units import WattHours, kilowatt_hours

TOKENS_PER_MTOK = 10**6
TOKENS_PER_REQUEST = 10**3
GRAMS_PER_KG = 10**3
DAYS_PER_MONTH = 365.25 / 12
TERM = "https://casrai.org/dictionary/term/inference-carbon-footprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How a model is used."""

    output_tokens_per_query: int
    queries_per_day: int
    input_tokens_per_query: int = 0
    """Priced; their energy is in the measured figure, at the prompts of its benchmark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sci:
    """The parts of the software carbon intensity, SCI = (E x I + M) per R (ISO/IEC 21031)."""

    energy_kwh: float
    """E: facility energy, PUE included."""
    intensity_g_per_kwh: float
    """I, location-based."""
    embodied_g: float | None
    """M; None where it is not known."""
    score_g: float
    """SCI: E x I + M per R."""
    tokens: int = TOKENS_PER_MTOK
    """R: output tokens."""


def scaled(carbon: Estimate, share: float) -> Estimate:
    """So many times a footprint, its interval with it."""
    return Estimate(value=carbon.value * share, low=carbon.low * share, high=carbon.high * share)


def per_request(carbon: Estimate) -> Estimate:
    """gCO2e of a request that gives 1,000 output tokens."""
    return scaled(carbon, TOKENS_PER_REQUEST / TOKENS_PER_MTOK)


def per_query(carbon: Estimate, use: Use) -> Estimate:
    """gCO2e of one query."""
    return scaled(carbon, use.output_tokens_per_query / TOKENS_PER_MTOK)


def per_month_kg(carbon: Estimate, use: Use) -> Estimate:
    """kgCO2e of a month of queries."""
    queries = use.queries_per_day * DAYS_PER_MONTH
    return scaled(per_query(carbon, use), queries / GRAMS_PER_KG)


def sci(row: Row, period: Period) -> Sci:
    """A row's score and its parts."""
    return Sci(
        energy_kwh=kilowatt_hours(WattHours(row.energy.estimate.value)) * row.pue.estimate.value,
        intensity_g_per_kwh=row.grid[period].factor.estimate.value,
        embodied_g=row.figure.embodied.estimate.value if row.figure.embodied else None,
        score_g=row.carbon[period].total.value,
    )
