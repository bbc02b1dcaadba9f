"""A day of refreshes in which every source fails at random: nothing unlabelled, no 5xx, recovery.

Time is virtual and the faults are seeded, so a day takes seconds and a failure can be repeated.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.archive import Archive
from api.catalogue import Catalogue
from api.grid import asking
from api.grid.electricity_maps import ElectricityMaps
from api.grid.readings import LiveReadings
from api.prices import SteadyPrices
from api.refresh import Sources, refresh
from api.release import Holder
from api.tables import load_catalogue
from api.verdicts import LogAddress, ValidatorLogs
from tests.support.faults import (
    FlakyBook,
    FlakyGrid,
    FlakyLog,
    FlakyStore,
    Weather,
    true_intensity,
)
from tests.support.log import real_cell, value

START = datetime(2026, 11, 21, 0, 7, tzinfo=UTC)
STEP = timedelta(minutes=10)
HOUR = timedelta(hours=1)
TRUE_UWH = 1_800_000
PATHS = (
    "/api/v1/leaderboard?period=now&limit=200",
    "/api/v1/leaderboard?regime=single&status=verified&period=now",
    "/api/v1/recommend?model=llama-3.1-8b&period=now",
    "/api/v1/grid/NL/latest",
    "/api/v1/grid/NL/forecast",
    "/api/v1/sources",
    "/api/v1/subnet/validators",
    "/emissions/bylocation?location=eu-netherlands",
)


class Day:
    """A node with flaky sources on a clock of its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.now = START
        self.weather = Weather(random.Random(seed))  # noqa: S311 - faults, not secrets
        self.grid = FlakyGrid(self.weather, START)
        self.log = FlakyLog(self.weather)
        self.log.log.add_round([value(real_cell(), uwh=TRUE_UWH, status="verified")])
        self.store = FlakyStore.open(f"sqlite:///{folder / 'api.sqlite3'}")
        self.store.weather = self.weather
        self.holder = Holder(clock=lambda: self.now)
        self.app = create_app(self.holder, archive=Archive.beside(self.store))
        self.sources = self._sources()
        self.seen: Counter[str] = Counter()

    def _sources(self) -> Sources:
        catalogue = few(load_catalogue())
        em = httpx.AsyncClient(transport=httpx.MockTransport(self.grid.answer))
        logs = httpx.AsyncClient(transport=httpx.MockTransport(self.log.answer))
        zones = tuple({place.zone for place in catalogue.places.values() if place.tabulated})
        return Sources(
            catalogue=catalogue,
            logs=ValidatorLogs([LogAddress(url="http://v")], self.store, logs),
            grid=LiveReadings([ElectricityMaps(em, "token", "http://em")], zones, self.store),
            prices=SteadyPrices(FlakyBook(self.weather)),
            keeper=self.store,
        )

    async def step(self) -> None:
        """One refresh, then every question; some steps have a clock that is wrong."""
        self.now += STEP
        if self.weather.fails() and self.weather.fails() and self.weather.fails():
            self.now -= 3 * STEP
        self.grid.now = self.now
        await refresh(self.sources, self.holder, self.now)
        self.holder.succeeded(self.now)
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            answers = {path: await client.get(path) for path in (*PATHS, "/readyz")}
        for path, answer in answers.items():
            assert answer.status_code in ({200, 404} if "single" in path else {200}), answer.text
        self._check(answers)

    def _check(self, answers: dict[str, httpx.Response]) -> None:
        ranking = answers[PATHS[0]].json()
        assert datetime.fromisoformat(ranking["meta"]["computed_at"]) > self.now - HOUR
        for row in ranking["rows"]:
            self._check_grid(row["factors"]["grid"])
            self._check_price(row)
        self._check_grid(answers[PATHS[3]].json()["now"])
        states = {each["name"]: each["state"] for each in ranking["meta"]["sources"]}
        self.seen.update(f"{name} {state}" for name, state in states.items())
        for row in answers[PATHS[1]].json()["rows"]:
            assert row["factors"]["energy"]["value"] == TRUE_UWH / 1_000
            assert row["status"] == "verified"
        if self.log.is_forged:
            assert states["http://v"] == "refused"

    def _check_grid(self, grid: dict[str, Any]) -> None:
        """A reported value is a true one, and its tier says how old it is."""
        tier, start = grid["tier"], datetime.fromisoformat(grid["interval_start"])
        hour = self.now.replace(minute=0, second=0)
        self.seen[tier] += 1
        if grid["zone"] == "multiple" or tier not in {"live", "live_stale", "persistence"}:
            assert tier not in {"live", "live_stale", "persistence"} or grid["zone"] == "multiple"
            return
        assert grid["value"] == pytest.approx(true_intensity(start), rel=1e-3)
        if tier == "live":
            assert start == hour
        elif tier == "live_stale":
            assert hour - 24 * HOUR < start < hour
        else:
            assert start == hour - 24 * HOUR

    def _check_price(self, row: dict[str, Any]) -> None:
        price = row["price"]
        if price and price["source"] == "book":
            assert Decimal(price["output_usd_per_mtok"]) < 1_000
            assert price["observed"] <= self.now.date().isoformat()


def few(catalogue: Catalogue) -> Catalogue:
    """Two models, four places."""
    kept = {"llama-3.1-8b", "mistral-7b"}
    places = {"eu-netherlands", "us-virginia", "ap-singapore", "eu-stockholm"}
    return replace(
        catalogue,
        models={slug: model for slug, model in catalogue.models.items() if slug in kept},
        served=[point for point in catalogue.served if point.model in kept],
        single=[record for record in catalogue.single if record.model in kept],
        evidence=[item for item in catalogue.evidence if item.model in kept],
        places={
            slug: replace(place, tabulated=slug in places)
            for slug, place in catalogue.places.items()
        },
    )


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(asking, "LONGEST_PAUSE_SECONDS", 0.0)


@pytest.fixture
def day(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Day]:
    opened = Day(tmp_path, seed=request.param)
    yield opened
    opened.store.close()


async def run(day: Day, steps: int) -> None:
    for _ in range(steps):
        await day.step()
    day.weather.calm()
    for _ in range(3):
        await day.step()
    release = day.holder.release
    assert release is not None
    assert {state.state for state in release.sources} == {"ok"}
    assert {row.status.value for row in release.rows} >= {"verified", "published"}
    assert day.seen["live"]
    assert Archive.beside(day.store).rows_json(release.id) is not None


@pytest.mark.parametrize("day", [1], indirect=True)
async def test_three_hours_of_failing_sources(day: Day) -> None:
    await run(day, 18)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("day", [2, 3], indirect=True)
async def test_a_day_of_failing_sources(day: Day) -> None:
    await run(day, 144)

    assert day.seen["live_stale"] + day.seen["persistence"]
    assert {"http://v refused", "http://v unreachable", "archive unreachable"} <= set(day.seen)
