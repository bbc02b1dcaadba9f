"""What the API's tests share: the tables, a store, a release on published figures."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from api.catalogue import Catalogue
from api.prices import NoPrices
from api.refresh import Sources, refresh
from api.release import Holder, Release
from api.store import Store
from api.tables import load_catalogue
from tests.support.refreshing import NoReadings, ReleaseList, StaticLogs

NOW = datetime(2026, 11, 21, 20, 15, tzinfo=UTC)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The packaged tables."""
    return load_catalogue()


@pytest.fixture(scope="session")
def small_catalogue(catalogue: Catalogue) -> Catalogue:
    """The packaged tables with few models: a release of them is built at once."""
    kept = {"llama-3.1-8b", "llama-3.1-70b", "mistral-7b", "gpt-5", "falcon-7b", "gpt-oss-20b"}
    return replace(
        catalogue,
        models={slug: model for slug, model in catalogue.models.items() if slug in kept},
        served=[point for point in catalogue.served if point.model in kept],
        single=[record for record in catalogue.single if record.model in kept],
        evidence=[item for item in catalogue.evidence if item.model in kept],
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A migrated SQLite store."""
    opened = Store.open(f"sqlite:///{tmp_path / 'api.sqlite3'}")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def release(catalogue: Catalogue) -> Release:
    """A release without any network figure."""
    sources = Sources(
        catalogue=catalogue,
        logs=StaticLogs(),
        grid=NoReadings(),
        prices=NoPrices(),
        keeper=ReleaseList(),
    )
    return asyncio.run(refresh(sources, Holder(), NOW))


@pytest.fixture
async def client(release: Release) -> httpx.AsyncClient:
    """A client of an application over that release."""
    from api.app import create_app

    holder = Holder()
    holder.swap(release)
    holder.succeeded(datetime.now(UTC))
    transport = httpx.ASGITransport(app=create_app(holder))
    return httpx.AsyncClient(transport=transport, base_url="http://api")
