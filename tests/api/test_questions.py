"""The front's answers to rankings and recommendations are those of the routes."""

import httpx
import pytest

from api.app import create_app
from api.callers import Callers
from api.release import Holder, Release
from tests.api.conftest import NOW


def holder_of(release: Release) -> Holder:
    holder = Holder(lambda: NOW)
    holder.swap(release)
    return holder


def clients(release: Release) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
    """One with the front, one that asks the routes."""
    app = create_app(holder_of(release), callers=Callers(anonymous_per_minute=0))
    fronted, behind = (httpx.ASGITransport(app=asked) for asked in (app, app.behind))
    return (
        httpx.AsyncClient(transport=fronted, base_url="http://api"),
        httpx.AsyncClient(transport=behind, base_url="http://api"),
    )


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/leaderboard",
        "/api/v1/leaderboard?limit=3&sort=price&period=now",
        "/api/v1/leaderboard?family=Llama&family=gpt&limit=2&limit=3",
        "/api/v1/leaderboard?provider=aws-bedrock&place=us-east-1&certainty=pinned&max_price=5",
        "/api/v1/leaderboard?model=Llama+3.1+8B&regime=single&limit=200",
        "/api/v1/recommend?model=llama-3.1-8b",
        "/api/v1/recommend?model=llama-3.1-8b&period=30d&min_speed=0.5",
        "/api/v1/recommend?model=mistral%2d7b&access=self-hosted&place=eu",
    ],
)
async def test_the_front_answers_as_the_routes_do(release: Release, path: str) -> None:
    front, behind = clients(release)
    async with front, behind:
        ours, theirs = await front.get(path), await behind.get(path)

    assert ours.status_code == 200
    assert ours.content == theirs.content
    assert ours.headers["etag"] == theirs.headers["etag"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/leaderboard?limit=0", 422),
        ("/api/v1/leaderboard?no_such=1", 422),
        ("/api/v1/leaderboard?cursor=nonsense", 422),
        ("/api/v1/recommend", 422),
        ("/api/v1/recommend?model=a&model=llama", 404),
        ("/api/v1/recommend?model=llama-3.1-8b&max_price=0.0001", 404),
    ],
)
async def test_what_has_no_answer_gets_the_problem_of_the_routes(
    release: Release, path: str, status: int
) -> None:
    front, behind = clients(release)
    async with front, behind:
        ours, theirs = await front.get(path), await behind.get(path)

    assert ours.status_code == status
    assert ours.json() == theirs.json()


async def test_constraints_that_admit_the_same_rows_share_an_answer(release: Release) -> None:
    front, _ = clients(release)
    async with front:
        one, same, other = [
            await front.get(f"/api/v1/recommend?model=llama-3.1-8b&{asked}")
            for asked in ("max_price=1000", "max_price=2000", "place=eu")
        ]

    assert one.headers["etag"] == same.headers["etag"] != other.headers["etag"]
    assert one.content == same.content != other.content


async def test_the_metrics_name_the_route(release: Release) -> None:
    front, _ = clients(release)
    async with front:
        await front.get("/api/v1/recommend?model=llama-3.1-8b")
        exposition = (await front.get("/metrics")).text

    counted = 'carbonbench_api_requests_total{route="/api/v1/recommend",status="200"} 1.0'
    assert counted in exposition


async def test_an_answer_that_only_the_front_gives_is_compressed_when_asked(
    release: Release,
) -> None:
    front, _ = clients(release)
    plain = {"accept-encoding": "identity"}
    async with front:
        small = await front.get("/api/v1/leaderboard?limit=7", headers={"accept-encoding": "br"})
        whole = await front.get("/api/v1/leaderboard?limit=7", headers=plain)

    assert small.headers["content-encoding"] == "br"
    assert "content-encoding" not in whole.headers
    assert small.json() == whole.json()
