"""Current base prices from `genai-prices` (MIT), as a `PriceBook`.

The package carries its own dated price history; nothing is fetched. Imported lazily: it
takes a tenth of a second and only a refresh needs it.
"""

from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Protocol

from api.catalogue import Evidence, ProviderId
from api.offerings import Price, PriceBook
from api.schemas import SourceState
from protocol.errors import SourceError

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
"""A price this many times off the one before is an error, not a price change."""
_Key = tuple[ProviderId, str, str]


class Book(PriceBook, Protocol):
    """A price book with a name."""

    @property
    def name(self) -> str:
        """Its name in the table of sources."""
        ...


class SteadyPrices:
    """A price book behind a quarantine: what jumps 100-fold does not get in.

    A price is held against the one that was accepted before, at first against the observed one
    of the tables. While a price is in quarantine, or the book does not deliver, the accepted one
    goes on under the day of its own observation.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._accepted: dict[_Key, Price] = {}
        self._quarantined: dict[_Key, str] = {}
        self._fault = ""

    def price(self, evidence: Evidence, now: datetime) -> Price | None:
        """The book's price if it can be true, else the last one that could."""
        key = (evidence.provider, evidence.provider_model, evidence.region)
        try:
            found = self._book.price(evidence, now)
            self._fault = ""
        except SourceError as fault:
            self._fault = str(fault)
            return self._accepted.get(key)
        if found is None:
            return None
        if self._is_absurd(found, evidence, self._accepted.get(key)):
            self._quarantined[key] = (
                f"{evidence.provider} {evidence.provider_model}: "
                f"{found.input_usd_per_mtok} in, {found.output_usd_per_mtok} out"
            )
            return self._accepted.get(key)
        self._quarantined.pop(key, None)
        self._accepted[key] = found
        return found

    def states(self) -> tuple[SourceState, ...]:
        """The price book as last read, with what was put into quarantine."""
        absurd = sorted(self._quarantined.values())
        known = f"{len(self._accepted)} prices"
        if absurd:
            known += f", {len(absurd)} in quarantine, {ABSURD_RATIO}-fold off: "
            known += "; ".join(absurd[:5])
        newest = max((price.observed for price in self._accepted.values()), default=None)
        return (
            SourceState(
                name=self._book.name,
                kind="prices",
                state="unreachable" if self._fault else "ok",
                detail=self._fault or known,
                data_as_of=datetime.combine(newest, time(), UTC) if newest else None,
                entries=None,
                validator=None,
            ),
        )

    def _is_absurd(self, found: Price, evidence: Evidence, accepted: Price | None) -> bool:
        before = accepted or evidence
        return is_absurd(found.input_usd_per_mtok, before.input_usd_per_mtok) or is_absurd(
            found.output_usd_per_mtok, before.output_usd_per_mtok
        )


class GenaiBook:
    """What the installed package says."""

    def __init__(self) -> None:
        import genai_prices  # noqa: PLC0415 - see the module's docstring

        self._package = genai_prices
        self.name = f"genai-prices {genai_prices.__version__}"
        self._unknown: set[tuple[ProviderId, str]] = set()
        self._steady: dict[tuple[ProviderId, str], tuple[Decimal, Decimal]] = {}
        """Prices that depend on no date and no hour."""

    def price(self, evidence: Evidence, now: datetime) -> Price | None:
        """What the package knows for this provider's name of the model."""
        found = self._ask(evidence.provider, evidence.provider_model, now)
        if found is None:
            return None
        return Price(
            input_usd_per_mtok=found[0],
            output_usd_per_mtok=found[1],
            observed=now.date(),
            source=self.name,
            licence="MIT",
        )

    def _ask(
        self, provider: ProviderId, name: str, now: datetime
    ) -> tuple[Decimal, Decimal] | None:
        """Prices of a million tokens in and out; None for a name that the package lacks."""
        if (provider, name) in self._unknown:
            return None
        if (provider, name) in self._steady:
            return self._steady[(provider, name)]
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
        found = answer.input_price * _PER_MTOK, answer.output_price * _PER_MTOK
        if not isinstance(answer.model.prices, list):
            self._steady[(provider, name)] = found
        return found


class GenaiPrices(SteadyPrices):
    """The prices of every row that does not depend on the region."""

    def __init__(self) -> None:
        super().__init__(GenaiBook())


class NoPrices:
    """A `PriceBook` without a page: the observed prices of the tables stand."""

    def price(self, evidence: Evidence, now: datetime) -> Price | None:
        """Nothing."""
        return None

    def states(self) -> tuple[SourceState, ...]:
        """No source, no state."""
        return ()


def is_absurd(price: Decimal | None, before: Decimal | None) -> bool:
    """Whether a price is 100-fold off what it was, or not positive."""
    if price is None:
        return False
    if price <= 0:
        return True
    if not before:
        return False
    return max(price / before, before / price) >= ABSURD_RATIO
