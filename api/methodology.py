"""How figures come about, for machines: the short form of `docs/methodology.md`."""

from collections.abc import Iterable

from api.footprint import INTERVAL_LEVEL, INTERVAL_METHOD, METHODOLOGY_VERSION, PER
from api.grid.intensity import Tier
from api.offerings import BLEND_INPUT_SHARE
from api.present import ACCOUNTING, BOUNDARY, REGIME_NOTES, SCOPE, factor
from api.pue import assumed_pue
from api.release import Release
from api.schemas import Answer, Boundary, FactorAnswer, Meta
from api.units_of_use import TERM
from protocol.messages import Status

_TIERS = {
    Tier.LIVE: "reported for this very hour; known to within a factor of e^0.05",
    Tier.LIVE_STALE: "the newest report, less than 24 hours old; its error grows with the root of "
    "its age to the measured one of persistence",
    Tier.PERSISTENCE: "the same hour of the day before; error as measured over a year",
    Tier.PROFILE: "yearly level x typical hourly curve; error of the curve as measured",
    Tier.ANNUAL: "yearly mean of the zone; change since the year before, at least 5 %",
    Tier.COUNTRY: "yearly mean of the country (production); as for the zone",
}
_STATUSES = {
    Status.VERIFIED: "measured by miners and checked by validators",
    Status.PUBLISHED: "taken from a named publication",
    Status.MODELLED: "computed from a model, with low and high",
    Status.ASSUMED: "a convention with a stated range",
    Status.ESTIMATED: "without an energy counter",
    Status.SIMULATED: "from a simulated device: demonstrations only",
}
_EMBODIED = (
    "modelled after EcoLogits: the making of the GPUs and of their share of the server, over "
    "three years of full use; known to within a factor of 2 by our assumption; none for `single`"
)
_SPEED = (
    "output tokens per second of one request on the measured machine, published with its energy "
    "figure (1 / time between tokens): source and date are the energy factor's; not the provider's"
)


class Meaning(Answer):
    """A name that answers use, and what it says."""

    name: str
    meaning: str


class Methodology(Answer):
    """How figures come about."""

    version: str
    formula: str
    functional_unit: str
    standard: str
    scope: str
    accounting: str
    boundary: Boundary
    interval_level: float
    interval_method: str
    interval_rule: str
    regimes: list[Meaning]
    statuses: list[Meaning]
    tiers: list[Meaning]
    """Best first."""
    assumed_pue: FactorAnswer
    """Where a provider publishes none."""
    embodied: str
    price: str
    blended_price: str
    speed: str
    defined_term: str
    meta: Meta


def methodology_answer(release: Release) -> bytes:
    """How the figures of a release come about."""
    answer = Methodology(
        version=METHODOLOGY_VERSION,
        formula="carbon = energy (Wh) / 1000 x PUE x grid intensity (gCO2e/kWh) + embodied",
        functional_unit=PER,
        standard="SCI, ISO/IEC 21031:2024: (E x I + M) per R",
        scope=SCOPE,
        accounting=ACCOUNTING,
        boundary=BOUNDARY,
        interval_level=INTERVAL_LEVEL,
        interval_method=INTERVAL_METHOD,
        interval_rule="independent factors: the half-widths of their logarithms add in "
        "quadrature, each side for itself; embodied adds in quadrature on the linear scale",
        regimes=_meanings(REGIME_NOTES.items()),
        statuses=_meanings(_STATUSES.items()),
        tiers=_meanings(_TIERS.items()),
        assumed_pue=factor(assumed_pue("whoever publishes none")),
        embodied=_EMBODIED,
        price="published list price of the provider, USD per 1e6 tokens, on the day observed",
        blended_price=f"{BLEND_INPUT_SHARE} x input + {1 - BLEND_INPUT_SHARE} x output",
        speed=_SPEED,
        defined_term=TERM,
        meta=release.meta(),
    )
    return answer.model_dump_json().encode()


def _meanings(named: Iterable[tuple[str, str]]) -> list[Meaning]:
    return [Meaning(name=str(name), meaning=meaning) for name, meaning in named]
