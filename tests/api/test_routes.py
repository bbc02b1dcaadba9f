"""The HTTP face: answers, conditional requests, cursors, problems."""

import json
from typing import Any

import httpx
import pytest

from api import schemas
from api.app import create_app
from api.known_names import refuse_unknown
from api.ranking import Filters, place_keys
from api.release import Holder, Release

Params = str | int
Json = Any
"""Decoded JSON: its shape is what the tests look at."""


async def get(client: httpx.AsyncClient, path: str, **params: Params) -> dict[str, Json]:
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    found: dict[str, Json] = response.json()
    return found


async def problem(
    client: httpx.AsyncClient, path: str, status: int, **params: Params
) -> dict[str, Any]:
    response = await client.get(path, params=params)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    schemas.Problem.model_validate(found)
    assert found["status"] == status
    return found


async def test_the_default_ranking_is_served_by_providers(client: httpx.AsyncClient) -> None:
    answer = await get(client, "/api/v1/leaderboard")

    assert answer["query"]["regime"] == "served"
    assert {row["provider"]["access"] for row in answer["rows"]} == {"api"}
    assert len(answer["rows"]) == 20
    assert answer["total"] > 200
    schemas.Leaderboard.model_validate_json(json.dumps(answer))


async def test_every_factor_has_value_interval_source_and_date(client: httpx.AsyncClient) -> None:
    answer = await get(client, "/api/v1/leaderboard", limit=200)

    for row in answer["rows"]:
        for name in ("energy", "pue", "grid", "embodied"):
            factor = row["factors"][name]
            assert factor["low"] <= factor["value"] <= factor["high"]
            assert factor["source"]
            assert factor["date"]
            assert factor["status"]
        assert row["carbon"]["low"] < row["carbon"]["value"] < row["carbon"]["high"]
        assert row["now"]["interval_start"] < row["now"]["interval_end"]


async def test_money_is_a_decimal_string(client: httpx.AsyncClient) -> None:
    answer = await get(client, "/api/v1/leaderboard", sort="price", limit=1)

    price = answer["rows"][0]["price"]
    assert isinstance(price["input_usd_per_mtok"], str)
    assert isinstance(price["blended_usd_per_mtok"], str)


async def test_pages_follow_each_other_without_gap_or_double(client: httpx.AsyncClient) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 120} | ({"cursor": cursor} if cursor else {})
        answer = await get(client, "/api/v1/leaderboard", **params)
        seen += [row["id"] for row in answer["rows"]]
        cursor = answer["next"]
        if cursor is None:
            break

    assert len(seen) == len(set(seen)) == answer["total"]


async def test_a_cursor_of_another_release_is_gone(
    client: httpx.AsyncClient, release: Release
) -> None:
    from api.cursors import page_cursor

    found = await problem(
        client, "/api/v1/leaderboard", 410, cursor=page_cursor(50, "2020-01-01-00000000")
    )

    assert found["code"] == "stale_cursor"


async def test_a_known_answer_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/api/v1/leaderboard")
    again = await client.get(
        "/api/v1/leaderboard", headers={"if-none-match": first.headers["etag"]}
    )

    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]


async def test_a_hot_answer_is_the_same_as_the_first(client: httpx.AsyncClient) -> None:
    first = await client.get("/api/v1/leaderboard?limit=7")
    again = await client.get("/api/v1/leaderboard?limit=7")

    assert again.content == first.content
    assert dict(again.headers) == dict(first.headers)


async def test_an_answer_is_compressed_only_for_who_accepts_it(
    client: httpx.AsyncClient,
) -> None:
    plain = await client.get("/api/v1/leaderboard", headers={"accept-encoding": "identity"})
    small = await client.get("/api/v1/leaderboard", headers={"accept-encoding": "gzip"})

    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert int(small.headers["content-length"]) * 5 < int(plain.headers["content-length"])
    assert small.content == plain.content
    assert small.headers["etag"] != plain.headers["etag"]


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"regime": "both"}, "/query/regime"),
        ({"limit": 0}, "/query/limit"),
        ({"limit": 201}, "/query/limit"),
        ({"limit": "ten"}, "/query/limit"),
        ({"sort": "beauty"}, "/query/sort"),
        ({"min_speed": "nan"}, "/query/min_speed"),
        ({"min_speed": "inf"}, "/query/min_speed"),
        ({"max_price": "NaN"}, "/query/max_price"),
        ({"max_price": "-1"}, "/query/max_price"),
        ({"nonsense": "1"}, "/query/nonsense"),
        ({"family": "x" * 101}, "/query/family/0"),
        ({"cursor": "!!!"}, ""),
    ],
)
async def test_nonsense_is_named(
    client: httpx.AsyncClient, params: dict[str, Params], pointer: str
) -> None:
    found = await problem(client, "/api/v1/leaderboard", 422, **params)

    assert found["code"] == "invalid_parameters"
    if pointer:
        assert pointer in [error["pointer"] for error in found["errors"]]


async def test_an_over_long_query_is_refused(client: httpx.AsyncClient) -> None:
    assert (await problem(client, "/api/v1/leaderboard", 414, family="x" * 3_000))["hint"] == ""


async def test_an_over_long_path_is_refused(client: httpx.AsyncClient) -> None:
    await problem(client, "/" + "x" * 2_000, 414)


async def test_an_unknown_path_is_a_problem(client: httpx.AsyncClient) -> None:
    await problem(client, "/api/v1/nothing", 404)


async def test_another_method_is_a_problem(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/leaderboard")

    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"
    assert response.headers["allow"] == "GET"


async def test_a_recommendation_has_four_alternatives_and_reasons(
    client: httpx.AsyncClient,
) -> None:
    answer = await get(client, "/api/v1/recommend", model="Llama 3.1 8B")

    schemas.Recommendation.model_validate_json(json.dumps(answer))
    assert answer["model"]["id"] == "llama-3.1-8b"
    assert len(answer["alternatives"]) == 4
    assert "Groq" in {reason["option"] for reason in answer["why_not"]}
    best = answer["best"]["carbon"]["value"]
    sold = [row for row in answer["alternatives"] if row["provider"]["access"] == "api"]
    assert sold
    assert all(row["carbon"]["value"] >= best for row in sold)
    assert answer["best"]["model"]["name"] in answer["insight"]


async def test_the_alias_gives_the_same_answer(client: httpx.AsyncClient) -> None:
    one = await client.get("/api/v1/recommend", params={"model": "mistral-7b"})
    other = await client.get("/api/recommend", params={"model": "mistral-7b"})

    assert one.content == other.content


async def test_an_insight_does_not_claim_a_difference_that_means_nothing(
    client: httpx.AsyncClient, release: Release
) -> None:
    for slug in sorted({row.model.id for row in release.rows})[::9]:
        response = await client.get("/api/v1/recommend", params={"model": slug})
        if response.status_code == 404:
            continue
        answer = response.json()
        savings = answer["savings"]
        claims = "% less than" in answer["insight"]
        assert claims == bool(savings and savings["is_meaningful"])


@pytest.mark.parametrize("name", ["lama-3.1-8b", "llama", "gpt"])
async def test_an_ambiguous_or_misspelt_model_gets_suggestions(
    client: httpx.AsyncClient, name: str
) -> None:
    response = await client.get("/api/v1/recommend", params={"model": name})
    if response.status_code == 200:
        assert response.json()["model"]["id"] == "llama-3.1-8b"
    else:
        assert response.json()["suggestions"]


async def test_suggestions_begin_as_what_was_asked(client: httpx.AsyncClient) -> None:
    found = await problem(client, "/api/v1/recommend", 404, model="llama")

    assert all(name.startswith("llama-") for name in found["suggestions"])


async def test_an_unknown_model_is_a_problem(client: httpx.AsyncClient) -> None:
    found = await problem(client, "/api/v1/recommend", 404, model="zzzzzz")

    assert found["code"] == "unknown_model"


async def test_impossible_constraints_name_the_binding_one(client: httpx.AsyncClient) -> None:
    found = await problem(
        client, "/api/v1/recommend", 404, model="mistral-7b", max_price="0.000001"
    )

    assert found["code"] == "no_option"
    assert "max_price" in found["hint"]


@pytest.mark.parametrize(
    ("path", "parameter", "name", "meant"),
    [
        ("leaderboard", "family", "Lama", "llama"),
        ("leaderboard", "provider", "azure", "azure-openai"),
        ("leaderboard", "place", "eu-irland", "eu-ireland"),
        ("export.csv", "provider", "fireworx", "fireworks"),
        ("models", "family", "Gema", "gemma"),
        ("recommend?model=mistral-7b", "place", "virgina", "virginia"),
    ],
)
async def test_an_unknown_name_is_refused_with_what_may_be_meant(
    client: httpx.AsyncClient, path: str, parameter: str, name: str, meant: str
) -> None:
    joined = "&" if "?" in path else "?"
    response = await client.get(f"/api/v1/{path}{joined}{parameter}={name}")

    assert response.status_code == 404
    found = schemas.Problem.model_validate_json(response.content)
    assert found.code == f"unknown_{parameter}"
    assert meant in found.suggestions


def test_every_name_of_a_row_can_be_asked_for(release: Release) -> None:
    names = {name for row in release.rows for name in place_keys(row)}

    refuse_unknown(release, Filters(places=frozenset(names)))


async def test_a_provider_whose_figure_is_missing_says_why(client: httpx.AsyncClient) -> None:
    found = await problem(client, "/api/v1/recommend", 404, model="gpt-oss-20b", provider="groq")

    assert "Groq: runs on LPUs" in found["detail"]


async def test_a_model_without_an_offer_is_advised_on_own_hardware(
    client: httpx.AsyncClient,
) -> None:
    answer = await get(client, "/api/v1/recommend", model="falcon-7b")

    assert answer["best"]["provider"]["access"] == "self-hosted"
    assert "any provider" in {reason["option"] for reason in answer["why_not"]}


async def test_health_and_readiness(client: httpx.AsyncClient) -> None:
    assert (await get(client, "/healthz")) == {"status": "ok"}
    ready = await get(client, "/readyz")
    schemas.Readiness.model_validate_json(json.dumps(ready))
    assert ready["is_ready"] is True


async def test_without_a_release_nothing_is_served_and_nothing_breaks() -> None:
    transport = httpx.ASGITransport(app=create_app(Holder()))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        await problem(client, "/api/v1/leaderboard", 503)


async def test_a_fault_of_ours_is_a_problem_without_its_traceback(release: Release) -> None:
    class Broken(Holder):
        asked = 0

        @property
        def release(self) -> Release | None:
            self.asked += 1
            if self.asked > 1:
                raise RuntimeError("secret detail")
            return None

    transport = httpx.ASGITransport(app=create_app(Broken()))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        found = await problem(client, "/api/v1/leaderboard", 500)

    assert "secret" not in json.dumps(found)


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    for path, policy in (
        ("/", "script-src 'self'"),
        ("/static/style.css", "script-src 'self'"),
        ("/nothing", "script-src 'self'"),
        ("/api/v1/leaderboard", "default-src 'none'; frame-ancestors 'none'"),
    ):
        headers = (await client.get(path)).headers
        assert policy in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers.get_list("access-control-allow-origin") == ["*"]


async def test_the_document_names_every_route(client: httpx.AsyncClient) -> None:
    document = await get(client, "/openapi.json")

    assert {
        "/api/v1/leaderboard",
        "/api/v1/recommend",
        "/api/recommend",
        "/healthz",
        "/readyz",
    } <= set(document["paths"])
