"""The typed client and the assistant's tools, against the application in this process."""

import httpx
import pytest
from mcp.client import Client as McpClient

from api import reference_schemas, schemas
from api.app import create_app
from api.client import ApiError, Client
from api.mcp_server import build_mcp_server
from api.release import Holder, Release
from api.routes import LeaderboardQuery, RecommendQuery


def client_of(release: Release | None) -> Client:
    holder = Holder()
    if release is not None:
        holder.swap(release)
    return Client("http://node", transport=httpx.ASGITransport(app=create_app(holder)))


async def test_each_method_gives_what_the_route_gives(release: Release) -> None:
    async with client_of(release) as client:
        ranking = await client.leaderboard(LeaderboardQuery(family=["Llama"], limit=3))
        first, second = (row.id for row in ranking.rows[:2])
        best = await client.recommend(RecommendQuery(model="llama-3.1-8b"))
        models = await client.models("Llama")
        regions = await client.regions()
        model = await client.model("llama-3.1-8b")
        intensity = await client.intensity("FR")
        forecast = await client.forecast("FR")
        sources = await client.sources()
        footprint = await client.footprint(first, output_tokens=200, queries_per_day=10)
        comparison = await client.compare([first, second])

    assert len(ranking.rows) == 3
    assert isinstance(best, schemas.Recommendation)
    assert models.models
    assert regions.regions
    assert {figure.regime for figure in model.figures} == {"served", "single"}
    assert intensity.now == forecast.hours[0]
    assert len(forecast.hours) == 24
    assert sources.tables
    assert isinstance(footprint, reference_schemas.FootprintAnswer)
    assert {comparison.lowest.id, comparison.others[0].row.id} == {first, second}


async def test_paths_and_answers_are_those_of_the_description(release: Release) -> None:
    described = create_app(Holder()).openapi()["paths"]
    asked: list[tuple[str, set[str]]] = []

    def record(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, set(request.url.params)))
        return httpx.Response(404, json={})

    async with Client("http://node", transport=httpx.MockTransport(record)) as client:
        calls = (
            client.leaderboard(LeaderboardQuery(family=["x"], max_price=1)),
            client.recommend(RecommendQuery(model="x", min_speed=1)),
            client.models("x"),
            client.regions(),
            client.model("{name}"),
            client.intensity("{zone}"),
            client.forecast("{zone}"),
            client.history("{row}"),
            client.releases(),
            client.release("{name}"),
            client.sources(),
            client.footprint("x", output_tokens=1, queries_per_day=1),
            client.compare(["x", "y"]),
        )
        for call in calls:
            with pytest.raises(ApiError, match="404"):
                await call

    for path, parameters in asked:
        names = {one["name"] for one in described[path]["get"].get("parameters", [])}
        assert parameters <= names, path


async def test_a_refusal_keeps_the_problem(release: Release) -> None:
    async with client_of(release) as client:
        with pytest.raises(ApiError) as refusal:
            await client.recommend(RecommendQuery(model="llama"))

    assert refusal.value.problem is not None
    assert refusal.value.problem.code == "unknown_model"
    assert refusal.value.problem.suggestions


async def test_a_silent_node_and_a_strange_one_are_told_apart() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with Client("http://node", transport=httpx.MockTransport(refuse)) as client:
        with pytest.raises(ApiError, match="does not answer"):
            await client.regions()
    strange = httpx.MockTransport(lambda _request: httpx.Response(200, json={"a": 1}))
    async with Client("http://node", transport=strange) as client:
        with pytest.raises(ApiError, match="another shape"):
            await client.regions()


async def test_an_assistant_gets_the_same_figures(release: Release) -> None:
    async with client_of(release) as client, McpClient(build_mcp_server(client)) as assistant:
        tools = {tool.name for tool in (await assistant.list_tools()).tools}
        answer = await assistant.call_tool("rank_models", {"family": "Llama", "limit": 2})
        refused = await assistant.call_tool("recommend", {"model": "llama"})
        absurd = await assistant.call_tool("rank_models", {"limit": 9_999})
        direct = await client.leaderboard(LeaderboardQuery(family=["Llama"], limit=2))

    assert tools == {
        "rank_models",
        "recommend",
        "compare",
        "footprint",
        "grid_forecast",
        "list_models",
    }
    assert schemas.Leaderboard.model_validate(answer.structured_content) == direct
    assert refused.is_error
    assert "Suggestions: " in str(refused.content)
    assert absurd.is_error
    assert "limit" in str(absurd.content)
