"""The price book: what it knows, and the quarantine in front of it."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from api.catalogue import Catalogue, Evidence
from api.offerings import Price
from api.prices import GenaiPrices, SteadyPrices, is_absurd
from protocol.errors import SourceError

NOW = datetime(2026, 11, 21, 20, 15, tzinfo=UTC)


@dataclass
class Book:
    """A book that says what it is told to."""

    output: Decimal | None = Decimal(2)
    is_down: bool = False
    name: str = "book"

    def price(self, evidence: Evidence, now: datetime) -> Price | None:
        if self.is_down:
            raise SourceError("the book is closed")
        if self.output is None:
            return None
        return Price(
            input_usd_per_mtok=Decimal(1),
            output_usd_per_mtok=self.output,
            observed=now.date(),
            source=self.name,
            licence="MIT",
        )


@pytest.fixture
def evidence(catalogue: Catalogue) -> Evidence:
    """An offer without an observed price."""
    from dataclasses import replace

    return replace(catalogue.evidence[0], input_usd_per_mtok=None, output_usd_per_mtok=None)


def test_a_hundredfold_jump_is_kept_out_and_the_price_before_goes_on(evidence: Evidence) -> None:
    book = Book()
    steady = SteadyPrices(book)
    before = steady.price(evidence, NOW)
    book.output = Decimal(200)

    after = steady.price(evidence, NOW + timedelta(days=1))

    assert after == before
    assert after is not None
    assert after.observed == date(2026, 11, 21)
    (state,) = steady.states()
    assert "1 in quarantine" in state.detail


def test_a_jump_off_the_observed_price_of_the_tables_is_kept_out_at_once(
    catalogue: Catalogue,
) -> None:
    offer = next(item for item in catalogue.evidence if item.output_usd_per_mtok)
    assert offer.output_usd_per_mtok is not None
    book = Book(output=offer.output_usd_per_mtok * 100)

    assert SteadyPrices(book).price(offer, NOW) is None


def test_an_ordinary_change_of_price_is_taken(evidence: Evidence) -> None:
    book = Book()
    steady = SteadyPrices(book)
    steady.price(evidence, NOW)
    book.output = Decimal(3)

    found = steady.price(evidence, NOW)

    assert found is not None
    assert found.output_usd_per_mtok == 3
    assert "quarantine" not in steady.states()[0].detail


def test_a_price_that_comes_back_leaves_the_quarantine(evidence: Evidence) -> None:
    book = Book()
    steady = SteadyPrices(book)
    for output in (Decimal(2), Decimal(500)):
        book.output = output
        steady.price(evidence, NOW)
    book.output = Decimal("2.1")
    found = steady.price(evidence, NOW)

    assert found is not None
    assert found.output_usd_per_mtok == Decimal("2.1")
    assert steady.states()[0].state == "ok"
    assert "quarantine" not in steady.states()[0].detail


def test_a_book_that_is_down_is_named_and_its_last_prices_go_on(evidence: Evidence) -> None:
    book = Book()
    steady = SteadyPrices(book)
    before = steady.price(evidence, NOW)
    book.is_down = True

    assert steady.price(evidence, NOW) == before
    assert steady.states()[0].state == "unreachable"


@pytest.mark.parametrize(
    ("price", "before", "absurd"),
    [
        ("1", "1", False),
        ("99", "1", False),
        ("100", "1", True),
        ("0.01", "1", True),
        ("0", None, True),
        ("-1", "1", True),
        ("5", None, False),
        (None, "5", False),
    ],
)
def test_what_is_absurd(price: str | None, before: str | None, absurd: bool) -> None:
    found = is_absurd(
        None if price is None else Decimal(price), None if before is None else Decimal(before)
    )

    assert found is absurd


def test_the_packages_price_is_that_of_a_short_request(catalogue: Catalogue) -> None:
    # From 200,000 input tokens on this model costs twice as much.
    offer = next(
        item
        for item in catalogue.evidence
        if item.provider == "gcp-vertex" and item.provider_model.startswith("claude-sonnet-4-5")
    )

    found = GenaiPrices().price(offer, NOW)

    assert found is not None
    assert (found.input_usd_per_mtok, found.output_usd_per_mtok) == (Decimal(3), Decimal(15))


def test_money_is_never_a_float(catalogue: Catalogue) -> None:
    prices = GenaiPrices()
    found = [prices.price(offer, NOW) for offer in catalogue.evidence]

    kinds = {type(price.blended_usd_per_mtok) for price in found if price}
    assert kinds == {Decimal}
