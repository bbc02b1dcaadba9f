"""Current base prices from `genai-prices` (MIT), as a `PriceBook`.

The package carries its own dated price history; nothing is fetched. Imported lazily: it
takes a tenth of a second and only a refresh needs it.
"""

from datetime import datetime
from decimal import Decimal

from api.catalogue import Evidence, ProviderId
from api.offerings import Price

_PROVIDERS = {
    "aws-bedrock": "aws",
    "azure-openai": "azure",
    "fireworks": "fireworks",
    "gcp-vertex": "google",
    "groq": "groq",
    "together": "together",
}
_MTOK = 1_000_000
ABSURD_RATIO = 100
"""A price this many times off the observed one is an error, not a price change."""


class GenaiPrices:
    """The `PriceBook` behind every row whose price does not depend on the region."""

    def __init__(self) -> None:
        import genai_prices  # noqa: PLC0415 - see the module's docstring

        self._package = genai_prices
        self._source = f"genai-prices {genai_prices.__version__}"

    def price(self, evidence: Evidence, now: datetime) -> Price | None:
        """What the package knows for this provider's name of the model."""
        asked = self._ask(evidence.provider, evidence.provider_model, now, _MTOK, 0)
        answered = self._ask(evidence.provider, evidence.provider_model, now, 0, _MTOK)
        if asked is None or answered is None:
            return None
        if is_absurd(asked, evidence.input_usd_per_mtok):
            return None
        return Price(
            input_usd_per_mtok=asked,
            output_usd_per_mtok=answered,
            observed=now.date(),
            source=self._source,
            licence="MIT",
        )

    def _ask(
        self, provider: ProviderId, name: str, now: datetime, tokens_in: int, tokens_out: int
    ) -> Decimal | None:
        package = self._package
        try:
            answer = package.calc_price(
                package.Usage(input_tokens=tokens_in, output_tokens=tokens_out),
                name,
                provider_id=_PROVIDERS[provider],
                genai_request_timestamp=now,
            )
        except LookupError:
            return None
        return answer.total_price if name.startswith(answer.model.id) else None


class NoPrices:
    """A `PriceBook` without a page: the observed prices of the tables stand."""

    def price(self, evidence: Evidence, now: datetime) -> Price | None:
        """Nothing."""
        return None


def is_absurd(price: Decimal, observed: Decimal | None) -> bool:
    """Whether a price is 100-fold off what was observed, or not positive."""
    if price <= 0:
        return True
    if not observed:
        return False
    return max(price / observed, observed / price) >= ABSURD_RATIO
