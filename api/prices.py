"""Current base prices from `genai-prices` (MIT), as a `PriceBook`.

The package carries its own dated price history; nothing is fetched. Imported lazily: it
takes a tenth of a second and only a refresh needs it.
"""

from datetime import datetime
from decimal import Decimal

from api.catalogue import Evidence, ProviderId
from api.offerings import Price
from api.schemas import SourceState

_PROVIDERS = {
    "aws-bedrock": "aws",
    "azure-openai": "azure",
    "fireworks": "fireworks",
    "gcp-vertex": "google",
    "groq": "groq",
    "together": "together",
}
_ASKED = 1_000
_PER_MTOK = Decimal(1_000)
ABSURD_RATIO = 100
"""A price this many times off the observed one is an error, not a price change."""


class GenaiPrices:
    """The `PriceBook` behind every row whose price does not depend on the region."""

    def __init__(self) -> None:
        import genai_prices  # noqa: PLC0415 - see the module's docstring

        self._package = genai_prices
        self._source = f"genai-prices {genai_prices.__version__}"
        self._unknown: set[tuple[ProviderId, str]] = set()
        self._quarantined: dict[tuple[ProviderId, str], str] = {}

    def price(self, evidence: Evidence, now: datetime) -> Price | None:
        """What the package knows for this provider's name of the model."""
        found = self._ask(evidence.provider, evidence.provider_model, now)
        if found is None:
            return None
        asked, answered = found
        observed = (evidence.input_usd_per_mtok, evidence.output_usd_per_mtok)
        if is_absurd(asked, observed[0]) or is_absurd(answered, observed[1]):
            self._quarantined[evidence.provider, evidence.provider_model] = (
                f"{evidence.provider} {evidence.provider_model}: {asked:f} in, {answered:f} out"
            )
            return None
        self._quarantined.pop((evidence.provider, evidence.provider_model), None)
        return Price(
            input_usd_per_mtok=asked,
            output_usd_per_mtok=answered,
            observed=now.date(),
            source=self._source,
            licence="MIT",
        )

    def states(self) -> tuple[SourceState, ...]:
        """The price book as last read, with what was put into quarantine."""
        absurd = sorted(self._quarantined.values())
        detail = f"{len(absurd)} prices in quarantine, {ABSURD_RATIO}-fold off the observed ones"
        return (
            SourceState(
                name=self._source,
                kind="prices",
                state="ok",
                detail="; ".join([detail, *absurd[:5]]) if absurd else "no price is in quarantine",
                data_as_of=None,
                entries=None,
                validator=None,
            ),
        )

    def _ask(
        self, provider: ProviderId, name: str, now: datetime
    ) -> tuple[Decimal, Decimal] | None:
        """Prices of a million tokens in and out; None for a name that the package lacks."""
        if (provider, name) in self._unknown:
            return None
        package = self._package
        try:
            # Few tokens: a long request would be asked the price of the highest tier.
            answer = package.calc_price(
                package.Usage(input_tokens=_ASKED, output_tokens=_ASKED),
                name,
                provider_id=_PROVIDERS[provider],
                genai_request_timestamp=now,
            )
        except LookupError:
            self._unknown.add((provider, name))
            return None
        if not name.startswith(answer.model.id):
            self._unknown.add((provider, name))
            return None
        return answer.input_price * _PER_MTOK, answer.output_price * _PER_MTOK


class NoPrices:
    """A `PriceBook` without a page: the observed prices of the tables stand."""

    def price(self, evidence: Evidence, now: datetime) -> Price | None:
        """Nothing."""
        return None

    def states(self) -> tuple[SourceState, ...]:
        """No source, no state."""
        return ()


def is_absurd(price: Decimal, observed: Decimal | None) -> bool:
    """Whether a price is 100-fold off what was observed, or not positive."""
    if price <= 0:
        return True
    if not observed:
        return False
    return max(price / observed, observed / price) >= ABSURD_RATIO
