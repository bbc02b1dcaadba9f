"""Files and descriptions: the same figures in CSV, JSON and Parquet, nothing withheld leaks."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.catalogue import Catalogue, ZoneId
from api.export_schemas import Export, ExportRow
from api.exports import export_json
from api.grid.intensity import History, Period, Reading
from api.methodology import Methodology
from api.prices import NoPrices
from api.ranking import Filters
from api.refresh import Sources, refresh
from api.release import Holder
from tests.support.refreshing import NoReadings, ReleaseList, StaticLogs

pyarrow = pytest.importorskip("pyarrow", reason="pip install pyarrow")
NOW = datetime(2026, 11, 21, 20, 15, tzinfo=UTC)


async def test_the_three_files_hold_the_same_ranking(client: httpx.AsyncClient) -> None:
    from pyarrow import parquet

    params = {"family": "Llama", "certainty": "pinned"}
    as_csv = await client.get("/api/v1/export.csv", params=params)
    as_json = await client.get("/api/v1/export.json", params=params)
    as_parquet = await client.get("/api/v1/export.parquet", params=params)

    Export.model_validate_json(as_json.content)
    rows = as_json.json()["rows"]
    table = parquet.read_table(io.BytesIO(as_parquet.content))
    lines = list(csv.DictReader(io.StringIO(as_csv.text)))
    assert len(rows) > 5
    assert list(lines[0]) == list(rows[0]) == table.column_names == list(ExportRow.model_fields)
    assert [line["id"] for line in lines] == [row["id"] for row in rows]
    assert table.column("id").to_pylist() == [row["id"] for row in rows]
    assert [float(line["carbon_g_per_mtok"]) for line in lines] == [
        row["carbon_g_per_mtok"] for row in rows
    ]
    prices = [
        None if row is None else float(row) for row in table["output_usd_per_mtok"].to_pylist()
    ]
    assert prices == [
        None if row["output_usd_per_mtok"] is None else float(row["output_usd_per_mtok"])
        for row in rows
    ]
    assert b"ODbL" in table.schema.metadata[b"licence"]


async def test_an_export_has_the_order_of_the_leaderboard(client: httpx.AsyncClient) -> None:
    params = {"sort": "price", "family": "Llama"}
    ranking = (await client.get("/api/v1/leaderboard", params=params)).json()["rows"]
    rows = (await client.get("/api/v1/export.json", params=params)).json()["rows"]

    assert [row["id"] for row in rows[: len(ranking)]] == [row["id"] for row in ranking]


async def test_every_exported_figure_has_its_interval_status_source_and_date(
    client: httpx.AsyncClient,
) -> None:
    export = Export.model_validate_json((await client.get("/api/v1/export.json")).content)

    for row in export.rows:
        assert row.rank_low <= (row.rank or 0) <= row.rank_high
        for low, value, high in (
            (row.carbon_low, row.carbon_g_per_mtok, row.carbon_high),
            (row.energy_low, row.energy_wh_per_mtok, row.energy_high),
            (row.pue_low, row.pue, row.pue_high),
            (row.intensity_low, row.intensity_g_per_kwh, row.intensity_high),
            (row.embodied_low or 0, row.embodied_g_per_mtok or 0, row.embodied_high or 0),
        ):
            assert low <= value <= high
        for named in ("energy", "pue", "grid"):
            assert getattr(row, f"{named}_source"), named
            assert getattr(row, f"{named}_date"), named
        assert row.status
        assert row.pue_status
        assert row.grid_status
        assert (row.embodied_g_per_mtok is None) == (row.embodied_source is None)
        assert (row.output_usd_per_mtok is None) or row.price_source


async def test_an_export_is_the_leaderboard(client: httpx.AsyncClient) -> None:
    ranking = (await client.get("/api/v1/leaderboard", params={"limit": 5})).json()
    rows = (await client.get("/api/v1/export.json")).json()["rows"]

    assert len(rows) == ranking["total"]
    for row, shown in zip(rows, ranking["rows"], strict=False):
        assert (row["id"], row["rank"]) == (shown["id"], shown["rank"])
        assert row["carbon_g_per_mtok"] == shown["carbon"]["value"]


async def test_rows_on_readings_that_may_not_be_passed_on_are_left_out(
    small_catalogue: Catalogue,
) -> None:
    hour = NOW.replace(minute=0)
    reading = Reading(
        zone=ZoneId("NL"),
        start=hour,
        end=hour + timedelta(hours=1),
        intensity_g_per_kwh=111.0,
        basis="lifecycle",
        signal="average",
        is_estimated=False,
        source="paid source",
        licence="terms",
        is_redistributable=False,
    )
    history: History = {ZoneId("NL"): {hour: reading}}
    sources = Sources(
        catalogue=small_catalogue,
        logs=StaticLogs(),
        grid=NoReadings(held=history),
        prices=NoPrices(),
        keeper=ReleaseList(),
    )
    release = await refresh(sources, Holder(), NOW)

    def export(period: Period) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(export_json(release, Filters(), period))
        return found

    now, year = export(Period.NOW), export(Period.YEAR)
    assert now["withheld"] > 0
    assert "paid source" not in json.dumps(now["rows"])
    assert year["withheld"] == 0
    assert len(year["rows"]) == len(now["rows"]) + now["withheld"]
    open_one = replace(reading, is_redistributable=True)
    shown = await refresh(
        replace(sources, grid=NoReadings(held={ZoneId("NL"): {hour: open_one}})), Holder(), NOW
    )
    assert json.loads(export_json(shown, Filters(), Period.NOW))["withheld"] == 0


async def test_the_methodology_is_machine_readable(client: httpx.AsyncClient) -> None:
    answer = Methodology.model_validate_json((await client.get("/api/v1/methodology")).content)

    assert [tier.name for tier in answer.tiers] == [
        "live", "live_stale", "persistence", "profile", "annual", "country",
    ]  # fmt: skip
    assert "training" in answer.boundary.excludes
    pue = answer.assumed_pue
    assert (pue.value, pue.low, pue.high, pue.status) == (1.25, 1.1, 1.5, "assumed")


async def test_the_croissant_describes_the_csv_as_it_is(client: httpx.AsyncClient) -> None:
    import hashlib

    found = (await client.get("/croissant.json")).json()
    (file,) = found["distribution"]
    (records,) = found["recordSet"]
    ranking = await client.get(file["contentUrl"])

    assert found["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-z-]+", found["version"])
    assert all(field["description"] for field in records["field"])
    assert hashlib.sha256(ranking.content).hexdigest() == file["sha256"]
    columns = [each["source"]["extract"]["column"] for each in records["field"]]
    assert columns == ranking.text.splitlines()[0].split(",")


async def test_the_dataset_links_the_defined_term(client: httpx.AsyncClient) -> None:
    dataset = await client.get("/api/v1/dataset.jsonld")
    term = (await client.get("/api/v1/term.jsonld")).json()

    assert dataset.headers["content-type"] == "application/ld+json"
    assert dataset.json()["about"]["@type"] == "DefinedTerm"
    assert term["@id"] == "https://casrai.org/dictionary/term/inference-carbon-footprint"
    for each in dataset.json()["distribution"]:
        assert (await client.get(each["contentUrl"])).status_code == 200
