"""The look-ups: models, providers, regions, grid, footprint, compare, export."""

import csv
import io
import json
from typing import Any

import httpx
import pytest

from api import reference_schemas
from api.release import Release


async def get(client: httpx.AsyncClient, path: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def refused(client: httpx.AsyncClient, path: str, status: int, **params: Any) -> str:  # noqa: ANN401
    response = await client.get(path, params=params)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return str(response.json()["code"])


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("models", "Models"),
        ("models/llama-3.1-8b", "ModelDetail"),
        ("models/meta-llama/Llama-3.1-8B-Instruct", "ModelDetail"),
        ("providers", "Providers"),
        ("regions", "Regions"),
        ("sources", "Sources"),
        ("grid/NL/latest", "GridNow"),
        ("grid/eu-netherlands/forecast", "GridForecast"),
        ("grid/CA-QC/forecast", "GridForecast"),
        ("grid/NL/typical-day", "TypicalDay"),
        ("grid/NL/history", "GridHistory"),
    ],
)
async def test_an_answer_is_what_the_document_says(
    client: httpx.AsyncClient, path: str, schema: str
) -> None:
    answer = await get(client, f"/api/v1/{path}")

    getattr(reference_schemas, schema).model_validate_json(json.dumps(answer))
    assert answer["meta"]["release"]


async def test_the_table_is_full(client: httpx.AsyncClient) -> None:
    models = (await get(client, "/api/v1/models"))["models"]
    providers = (await get(client, "/api/v1/providers"))["providers"]
    regions = (await get(client, "/api/v1/regions"))["regions"]

    assert len(models) >= 85
    measured = [m for m in models if {"verified", "published"} & set(m["statuses"])]
    assert len(measured) >= 39
    assert {p["id"] for p in providers} >= {
        "aws-bedrock", "gcp-vertex", "azure-openai", "together", "groq", "fireworks",
    }  # fmt: skip
    assert len({region["place"] for region in regions}) >= 18


async def test_a_model_shows_every_method_apart(client: httpx.AsyncClient) -> None:
    answer = await get(client, "/api/v1/models/llama-3.1-8b")

    methods = {(f["energy"]["method"], f["energy"]["hardware"]) for f in answer["figures"]}
    assert ("ML.ENERGY v3", "B200") in methods
    assert ("ML.ENERGY v2", "A100-40GB") in methods
    assert ("AI Energy Score v1", "H100-80GB") in methods
    assert sum(f["is_primary"] for f in answer["figures"]) == 2


async def test_reasoning_scores_stay_per_query(client: httpx.AsyncClient) -> None:
    answer = await get(client, "/api/v1/models/gpt-oss-20b")

    assert {f["reasoning_effort"] for f in answer["query_figures"]} == {"low", "medium", "high"}


async def test_a_forecast_has_24_hours_and_names_the_cleanest(client: httpx.AsyncClient) -> None:
    answer = await get(client, "/api/v1/grid/US-CAL-CISO/forecast")

    values = [hour["value"] for hour in answer["hours"]]
    cleanest = answer["hours"][values.index(min(values))]
    assert len(values) == 24
    assert answer["cleanest_start"] == cleanest["interval_start"]
    assert answer["swing_percent"] > 30


async def test_hours_that_are_not_told_apart_have_no_cleanest(client: httpx.AsyncClient) -> None:
    answer = await get(client, "/api/v1/grid/PL/forecast")

    assert answer["cleanest_start"] is None
    assert {hour["tier"] for hour in answer["hours"]} == {"annual"}


@pytest.mark.parametrize("name", ["latest", "forecast", "typical-day", "history"])
async def test_every_grid_answer_shows_the_measured_errors(
    client: httpx.AsyncClient, name: str
) -> None:
    answer = await get(client, f"/api/v1/grid/US-MIDA-PJM/{name}")

    errors = {error["method"]: error for error in answer["errors"]}
    assert errors["persistence"]["mean_absolute_error_percent"] == 4.0
    assert errors["persistence"]["hours"] == 8_760
    assert 5 < errors["profile"]["mean_absolute_error_percent"] < 10
    assert all(error["source"] and error["licence"] for error in errors.values())


async def test_a_typical_day_averages_to_its_level(client: httpx.AsyncClient) -> None:
    answer = await get(client, "/api/v1/grid/DE/typical-day")

    table = answer["intensity_g_per_kwh"]
    assert (len(table), len(table[0])) == (12, 24)
    mean = sum(map(sum, table)) / (12 * 24)
    assert mean == pytest.approx(answer["level"]["value"], rel=0.03)


async def test_a_region_shows_the_pue_and_where_it_is_from(client: httpx.AsyncClient) -> None:
    regions = (await get(client, "/api/v1/regions"))["regions"]

    shown = {(one["provider"], one["region"]): one for one in regions}
    assert shown["aws-bedrock", "eu-west-1"]["pue"]["status"] == "published"
    assert shown["aws-bedrock", "eu-west-3"]["pue"]["status"] == "assumed"
    assert all(one["pue"]["date"] and one["source"] for one in regions)


async def test_the_sources_name_what_stands_behind_every_figure(client: httpx.AsyncClient) -> None:
    answer = await get(client, "/api/v1/sources")

    named = {table["source"] for table in answer["tables"]}
    assert {"EcoLogits 0.11.3", "litellm 1.109.1", "Electricity Maps hourly 2022"} <= named
    assert all(table["licence"] and table["lines"] for table in answer["tables"])


@pytest.fixture
def row(release: Release) -> str:
    return "llama-3.1-8b~self-hosted~eu-netherlands~ml.energy-v3-h100-80gb"


async def test_a_footprint_scales_to_query_and_month(client: httpx.AsyncClient, row: str) -> None:
    answer = await get(
        client, "/api/v1/footprint", row=row, output_tokens=500, queries_per_day=10_000
    )

    assert answer["g_per_mtok"]["value"] == 12.44
    assert answer["g_per_1k_token_request"]["value"] == pytest.approx(0.01244)
    assert answer["g_per_query"]["value"] == pytest.approx(0.00622)
    monthly = 12.44 * 500 / 1e6 * 10_000 * 365.25 / 12 / 1e3
    assert answer["kg_per_month"]["value"] == pytest.approx(monthly, rel=1e-3)
    assert answer["usd_per_month"] is None
    assert answer["defined_term"].endswith("inference-carbon-footprint")
    sci = answer["sci"]
    score = sci["energy_kwh"] * sci["intensity_g_per_kwh"] + sci["embodied_g"]
    assert score == pytest.approx(answer["g_per_mtok"]["value"], rel=1e-3)
    assert sci["score_g"] == answer["g_per_mtok"]["value"]
    assert answer["interval_level"] == 0.95


async def test_a_sold_row_has_a_monthly_price(client: httpx.AsyncClient) -> None:
    sold = "mistral-7b~aws-bedrock~eu-west-3~ml.energy-v2-h100-80gb"

    answer = await get(
        client, "/api/v1/footprint", row=sold, output_tokens=1_000, queries_per_day=1_000
    )

    assert answer["usd_per_month"] == "7.91"
    both = await get(
        client,
        "/api/v1/footprint",
        row=sold,
        input_tokens=2_000,
        output_tokens=1_000,
        queries_per_day=1_000,
    )
    # (2,000 x 0.20 + 1,000 x 0.26) USD per million x 1,000 a day x 30.4375 days
    assert both["usd_per_month"] == "20.09"
    assert both["g_per_query"] == answer["g_per_query"]


async def test_rows_are_compared_on_what_differs(client: httpx.AsyncClient, row: str) -> None:
    other = row.replace("eu-netherlands", "ap-singapore")

    answer = await get(client, "/api/v1/compare", row=[row, other])

    assert answer["lowest"]["id"] == row
    (held,) = answer["others"]
    assert held["shared"] == ["energy", "pue"]
    assert held["is_meaningful"]


async def test_regimes_are_never_compared(client: httpx.AsyncClient, row: str) -> None:
    single = "llama-3.1-8b~self-hosted~eu-netherlands~ai-energy-score-v1-h100-80gb"

    assert await refused(client, "/api/v1/compare", 422, row=[row, single]) == "invalid_parameters"


async def test_an_export_holds_the_whole_ranking(client: httpx.AsyncClient) -> None:
    total = (await get(client, "/api/v1/leaderboard", limit=1))["total"]

    response = await client.get("/api/v1/export.csv")

    lines = list(csv.DictReader(io.StringIO(response.text)))
    assert response.headers["content-type"].startswith("text/csv")
    assert len(lines) == total
    assert all(line["release"] and line["grid_source"] for line in lines)


@pytest.mark.parametrize(
    ("path", "params", "status", "code"),
    [
        ("/api/v1/models/zzzzz", {}, 404, "unknown_model"),
        ("/api/v1/models", {"famly": "x"}, 422, "invalid_parameters"),
        ("/api/v1/grid/ATLANTIS/latest", {}, 404, "unknown_zone"),
        ("/api/v1/grid/NL/yesterday", {}, 404, "not_found"),
        ("/api/v1/footprint", {"row": "nothing"}, 404, "unknown_row"),
        ("/api/v1/footprint", {}, 422, "invalid_parameters"),
        ("/api/v1/footprint", {"row": "x", "output_tokens": "0"}, 422, "invalid_parameters"),
        ("/api/v1/compare", {"row": "only-one"}, 422, "invalid_parameters"),
    ],
)
async def test_bad_input_is_named(
    client: httpx.AsyncClient, path: str, params: dict[str, str], status: int, code: str
) -> None:
    assert await refused(client, path, status, **params) == code


async def test_every_row_of_a_page_can_be_looked_up(client: httpx.AsyncClient) -> None:
    rows = (await get(client, "/api/v1/leaderboard", limit=20))["rows"]

    for each in rows:
        answer = await get(client, "/api/v1/footprint", row=each["id"])
        assert answer["g_per_mtok"]["value"] == each["carbon"]["value"]


async def test_the_carbon_aware_sdk_finds_its_routes(client: httpx.AsyncClient) -> None:
    names = ["eu-paris", "eu-frankfurt"]
    both = (await client.get("/emissions/bylocations", params={"location": names})).json()
    best = (await client.get("/emissions/bylocations/best", params={"location": names})).json()
    ahead = (await client.get("/emissions/forecasts/current", params={"location": "NL"})).json()

    assert [item["location"] for item in both] == names
    assert [item["location"] for item in best] == ["eu-paris"]
    (forecast,) = ahead
    assert set(forecast) == {
        "generatedAt", "requestedAt", "location", "dataStartAt", "dataEndAt", "windowSize",
        "optimalDataPoints", "forecastData",
    }  # fmt: skip
    assert len(forecast["forecastData"]) == 24
    assert forecast["location"] == "NL"
    assert set(forecast["forecastData"][0]) == {"location", "timestamp", "duration", "value"}
    assert forecast["forecastData"][0]["duration"] == forecast["windowSize"] == 60


async def test_the_locations_are_places_and_regions(client: httpx.AsyncClient) -> None:
    locations = (await client.get("/locations")).json()

    assert locations["westeurope"] == {"Latitude": None, "Longitude": None, "Name": "westeurope"}
    assert "us-virginia" in locations
    for name in ("westeurope", "eu-west-1", "us-central1"):
        answer = await client.get("/emissions/bylocation", params={"location": name})
        assert answer.json()[0]["location"] == name


async def test_a_current_forecast_is_cut_to_what_is_asked(client: httpx.AsyncClient) -> None:
    whole = (await client.get("/emissions/forecasts/current", params={"location": "DE"})).json()
    hours = [point["timestamp"] for point in whole[0]["forecastData"]]
    params = {"location": "DE", "dataStartAt": hours[2], "dataEndAt": hours[8], "windowSize": 120}
    (cut,) = (await client.get("/emissions/forecasts/current", params=params)).json()
    params["dataStartAt"] = hours[8]
    (none,) = (await client.get("/emissions/forecasts/current", params=params)).json()

    assert [point["timestamp"] for point in cut["forecastData"]] == hours[2:7]
    assert cut["windowSize"] == cut["forecastData"][0]["duration"] == 120
    values = [point["value"] for point in whole[0]["forecastData"]]
    assert cut["forecastData"][0]["value"] == pytest.approx(sum(values[2:4]) / 2, rel=1e-3)
    assert (none["forecastData"], none["optimalDataPoints"]) == ([], [])


@pytest.mark.parametrize(
    ("time", "until"),
    [
        ("2026-01-02T00:00Z", "2026-01-01T00:00Z"),
        ("2026-01-01T00:00Z", "2027-01-01T00:00Z"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
    ],
)
async def test_spans_that_make_no_sense_are_refused(
    client: httpx.AsyncClient, time: str, until: str
) -> None:
    params = {"location": "NL", "time": time, "toTime": until}

    assert await refused(client, "/emissions/bylocation", 422, **params) == "invalid_parameters"


async def test_a_span_is_averaged_like_its_hours(client: httpx.AsyncClient) -> None:
    span = {"startTime": "2026-06-01T00:00Z", "endTime": "2026-06-01T06:00Z"}
    params = {"location": "eu-netherlands", **span}
    hours = {"location": "NL", "time": span["startTime"], "toTime": span["endTime"]}

    one = (await client.get("/emissions/average-carbon-intensity", params=params)).json()
    many = await client.post("/emissions/average-carbon-intensity/batch", json=[params, params])
    ratings = [
        item["rating"] for item in (await client.get("/emissions/bylocation", params=hours)).json()
    ]

    assert many.json() == [one, one]
    assert len(ratings) == 6
    assert one["carbonIntensity"] == pytest.approx(sum(ratings) / 6, rel=1e-3)


async def test_a_window_is_found_where_its_mean_is_lowest(client: httpx.AsyncClient) -> None:
    wanted = {
        "location": "us-california",
        "requestedAt": "2026-06-21T00:00Z",
        "dataStartAt": "2026-06-21T00:00Z",
        "dataEndAt": "2026-06-22T00:00Z",
        "windowSize": 180,
    }

    (found,) = (await client.post("/emissions/forecasts/batch", json=[wanted])).json()

    hours = {"location": "us-california", "time": "2026-06-21", "toTime": "2026-06-22"}
    ratings = [
        item["rating"] for item in (await client.get("/emissions/bylocation", params=hours)).json()
    ]
    means = [sum(ratings[at : at + 3]) / 3 for at in range(22)]
    assert [point["value"] for point in found["forecastData"]] == pytest.approx(means, rel=1e-3)
    (best,) = found["optimalDataPoints"]
    assert best == found["forecastData"][means.index(min(means))]
    assert best["duration"] == 180
    # Solar noon in California is about 20 UTC.
    assert best["timestamp"][11:13] in {"17", "18", "19", "20"}


@pytest.mark.parametrize("body", [b"\xff", b"{}", b'[{"location": "NL"}]', b"[1]"])
async def test_a_batch_that_is_none_is_a_problem(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post(
        "/emissions/forecasts/batch", content=body, headers={"content-type": "application/json"}
    )

    assert response.status_code in {400, 422}
    assert response.headers["content-type"] == "application/problem+json"
