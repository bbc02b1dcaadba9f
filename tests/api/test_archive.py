"""The past: frozen releases, changes, the history of a row, and a database that fails."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from api import export_schemas as shown
from api.app import create_app
from api.archive import Archive
from api.catalogue import Catalogue, ZoneId
from api.grid.intensity import Reading
from api.prices import NoPrices
from api.refresh import Sources, refresh
from api.release import Holder, Release
from api.store import Store
from protocol.errors import StoreError
from tests.support.refreshing import NoReadings, ReleaseList, StaticLogs

NOW = datetime(2026, 11, 21, 20, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


def sources_of(catalogue: Catalogue, store: Store) -> Sources:
    return Sources(
        catalogue=catalogue,
        logs=StaticLogs(),
        grid=NoReadings(),
        prices=NoPrices(),
        keeper=store,
    )


def dearer(catalogue: Catalogue) -> Catalogue:
    """The catalogue with one price raised and one model's offers gone."""
    first = catalogue.evidence[0]
    raised = dataclasses.replace(first, output_usd_per_mtok=Decimal("77.7"))
    kept = [item for item in catalogue.evidence[1:] if item.model != "gpt-5"]
    return dataclasses.replace(catalogue, evidence=[raised, *kept], content_digest="other")


@pytest.fixture(scope="module")
def past(
    small_catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Holder, Archive]]:
    """Three releases: two alike but for the hour, then one with changed tables."""
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('past') / 'api.sqlite3'}")
    holder = Holder(clock=lambda: NOW + 3 * HOUR)
    for hours, tables in enumerate([small_catalogue, small_catalogue, dearer(small_catalogue)]):
        asyncio.run(refresh(sources_of(tables, store), holder, NOW + hours * HOUR))
    yield holder, Archive.beside(store)
    store.close()


@pytest.fixture
async def client(past: tuple[Holder, Archive]) -> AsyncIterator[httpx.AsyncClient]:
    holder, archive = past
    transport = httpx.ASGITransport(app=create_app(holder, archive=archive))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as opened:
        yield opened


async def get(client: httpx.AsyncClient, path: str, **params: str | int) -> dict[str, Any]:
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def test_releases_are_listed_newest_first_and_page_back(client: httpx.AsyncClient) -> None:
    first = await get(client, "/api/v1/releases", limit=2)
    rest = await get(client, "/api/v1/releases", limit=2, cursor=first["next"])

    times = [each["computed_at"] for each in (*first["releases"], *rest["releases"])]
    assert len(times) == 3
    assert times == sorted(times, reverse=True)
    assert rest["next"] is None
    shown.Releases.model_validate(first)


async def test_a_frozen_release_keeps_its_figures_when_the_tables_change(
    client: httpx.AsyncClient,
) -> None:
    releases = (await get(client, "/api/v1/releases"))["releases"]
    newest, middle, oldest = [
        await get(client, f"/api/v1/releases/{each['id']}") for each in releases
    ]

    def figures(answer: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**row, "release": None} for row in answer["rows"]]

    assert figures(middle) == figures(oldest)
    assert figures(newest) != figures(oldest)
    assert {row["release"] for row in middle["rows"]} == {middle["release"]["id"]}
    assert len(oldest["rows"]) == releases[2]["row_count"]
    shown.FrozenRelease.model_validate(newest)


async def test_a_release_is_found_by_its_day_and_as_latest(client: httpx.AsyncClient) -> None:
    newest = (await get(client, "/api/v1/releases"))["releases"][0]["id"]

    assert (await get(client, "/api/v1/releases/latest"))["release"]["id"] == newest
    assert (await get(client, "/api/v1/releases/2026-11-21"))["release"]["id"] == newest


async def test_changes_say_what_was_before_and_after(client: httpx.AsyncClient) -> None:
    changes = (await get(client, "/api/v1/changes", limit=200))["changes"]

    kinds = {change["kind"] for change in changes}
    assert kinds == {"changed", "removed"}
    (raised,) = [change for change in changes if change["kind"] == "changed"]
    assert raised["after"]["output_usd_per_mtok"] == "77.7"
    assert raised["before"]["output_usd_per_mtok"] != "77.7"
    assert all("gpt-5" in change["row"] for change in changes if change["kind"] == "removed")


async def test_a_row_has_one_point_for_each_change(client: httpx.AsyncClient) -> None:
    changes = (await get(client, "/api/v1/changes", limit=200))["changes"]
    (raised,) = [change["row"] for change in changes if change["kind"] == "changed"]
    gone = next(change["row"] for change in changes if change["kind"] == "removed")

    history = await get(client, f"/api/v1/history/{raised}")
    ended = await get(client, f"/api/v1/history/{gone}")

    assert len(history["points"]) == 2
    assert history["is_current"]
    assert [point["state"] is None for point in ended["points"]] == [False, True]
    assert not ended["is_current"]
    shown.RowHistory.model_validate(history)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/releases/1999-01-01", 404, "unknown_release"),
        ("/api/v1/releases/yesterday", 422, "invalid_parameters"),
        ("/api/v1/history/nothing", 404, "unknown_row"),
        ("/api/v1/releases?cursor=!!!", 422, "invalid_parameters"),
        ("/api/v1/releases?cursor=MjAyNg", 422, "invalid_parameters"),
        ("/api/v1/changes?cursor=_w", 422, "invalid_parameters"),
        ("/api/v1/changes?limit=0", 422, "invalid_parameters"),
    ],
)
async def test_what_never_was_is_a_problem(
    client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    response = await client.get(path)

    assert (response.status_code, response.json()["code"]) == (status, code)


def test_keeping_a_release_twice_adds_nothing(small_catalogue: Catalogue, store: Store) -> None:
    release = asyncio.run(refresh(sources_of(small_catalogue, store), Holder(), NOW))
    before = Archive.beside(store).row_changes(release.rows[0].id)
    store.keep(release, release.inputs_digest)

    assert Archive.beside(store).row_changes(release.rows[0].id) == before
    assert len(store.releases()) == 1


class FullDisk(ReleaseList):
    """A keeper whose disk is full until it is told otherwise."""

    is_full = True

    def keep(self, release: object, inputs_digest: str) -> None:
        if self.is_full:
            raise StoreError("database or disk is full", hint="Free some space.")
        super().keep(release, inputs_digest)  # type: ignore[arg-type]  # the same release


async def test_a_full_disk_is_named_in_the_release_and_kept_again_later(
    small_catalogue: Catalogue, store: Store
) -> None:
    keeper = FullDisk()
    sources = dataclasses.replace(sources_of(small_catalogue, store), keeper=keeper)
    holder = Holder()

    unkept = await refresh(sources, holder, NOW)
    keeper.is_full = False
    kept = await refresh(sources, holder, NOW)

    (state,) = unkept.sources
    assert (state.kind, state.state) == ("store", "unreachable")
    assert "disk is full" in state.detail
    assert kept.sources == ()
    assert keeper.kept == [kept.id] == [unkept.id]


async def test_an_archive_that_fails_is_a_problem_and_the_ranking_goes_on(
    small_catalogue: Catalogue, store: Store
) -> None:
    holder = Holder()
    await refresh(sources_of(small_catalogue, store), holder, NOW)
    archive = Archive.beside(store)
    with archive.writing() as session:
        session.connection().exec_driver_sql("DROP TABLE api_row_change")
    transport = httpx.ASGITransport(app=create_app(holder, archive=archive))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        broken = await client.get("/api/v1/changes")
        ranking = await client.get("/api/v1/leaderboard")

    assert (broken.status_code, broken.json()["code"]) == (503, "archive_unavailable")
    assert ranking.status_code == 200


async def test_signals_beside_the_average_are_shown_apart(release: Release, store: Store) -> None:
    hour = NOW.replace(minute=0, second=0, microsecond=0)

    def reading(back: int, signal: str, basis: str, source: str, *, is_open: bool) -> Reading:
        return Reading(
            zone=ZoneId("NL"),
            start=hour - back * HOUR,
            end=hour - (back - 1) * HOUR,
            intensity_g_per_kwh=100.0 + back,
            basis=basis,
            signal=signal,
            is_estimated=False,
            source=source,
            licence="terms",
            is_redistributable=is_open,
        )

    store.keep_readings(
        [
            reading(2, "marginal", "direct", "WattTime v3", is_open=False),
            reading(3, "marginal", "direct", "WattTime v3", is_open=False),
            reading(2, "average", "lifecycle-production", "EIA-930", is_open=True),
            reading(2, "average", "lifecycle", "Electricity Maps v3", is_open=False),
        ]
    )
    holder = Holder(clock=lambda: NOW)
    holder.swap(release)
    transport = httpx.ASGITransport(app=create_app(holder, archive=Archive.beside(store)))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as opened:
        found = await get(opened, "/api/v1/grid/eu-netherlands/signals")

    assert [(each["source"], each["intensity_g_per_kwh"]) for each in found["newest"]] == [
        ("EIA-930", 102.0),
        ("WattTime v3", 102.0),
    ]
    assert [each["basis"] for each in found["readings"]] == ["lifecycle-production"]
    assert found["withheld"] == 2
