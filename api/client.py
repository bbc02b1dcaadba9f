"""A typed client of the API, for programs that want answers instead of JSON.

async with Client("http://127.0.0.1:8080") as client:
    found = await client.recommend(RecommendQuery(model="llama-3.1-8b"))
    print(found.best.place.name, found.best.carbon.value)
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from api import export_schemas, reference_schemas, schemas
from api.grid.intensity import Period
from api.routes import LeaderboardQuery, RecommendQuery
from protocol.errors import Error

Answer = TypeVar("Answer", bound=schemas.Answer)
Value = str | int | float | Sequence[str] | None
TIMEOUT_SECONDS = 10.0


class ApiError(Error):
    """The API refused, or could not be reached or understood.

    Attributes:
        problem: What the API said (RFC 9457); None when it said nothing that we understand.
    """

    def __init__(
        self, message: str, *, hint: str = "", problem: schemas.Problem | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.problem = problem


class Client:
    """Asks one API node. Every method raises `ApiError` when there is no answer."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Nothing is sent yet.

        Args:
            base_url: Where the node serves, such as `http://127.0.0.1:8080`.
            key: API key, for more requests a minute.
            transport: Another way to the node, such as an application in this process.
            timeout_seconds: Longest wait for one answer.
        """
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"authorization": f"Bearer {key}"} if key else {},
            transport=transport,
            timeout=timeout_seconds,
        )

    async def __aenter__(self) -> Self:
        """Use it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def leaderboard(self, query: LeaderboardQuery | None = None) -> schemas.Leaderboard:
        """The ranking of model x provider x place; what is not given is as the API decides."""
        return await self._get("/api/v1/leaderboard", schemas.Leaderboard, _given(query))

    async def recommend(self, query: RecommendQuery) -> schemas.Recommendation:
        """The lowest-carbon way to run a model under constraints."""
        return await self._get("/api/v1/recommend", schemas.Recommendation, _given(query))

    async def models(self, family: str | None = None) -> reference_schemas.Models:
        """All models, or those of a family."""
        return await self._get("/api/v1/models", reference_schemas.Models, {"family": family})

    async def regions(self) -> reference_schemas.Regions:
        """All places with their grid zones."""
        return await self._get("/api/v1/regions", reference_schemas.Regions, {})

    async def model(self, name: str) -> reference_schemas.ModelDetail:
        """Every energy figure of one model, method by method."""
        return await self._get(f"/api/v1/models/{name}", reference_schemas.ModelDetail, {})

    async def intensity(self, zone: str) -> reference_schemas.GridNow:
        """A zone or place at this hour, over 30 days and over the newest year."""
        return await self._get(f"/api/v1/grid/{zone}/latest", reference_schemas.GridNow, {})

    async def forecast(self, zone: str) -> reference_schemas.GridForecast:
        """The coming hours of a grid zone or place."""
        path = f"/api/v1/grid/{zone}/forecast"
        return await self._get(path, reference_schemas.GridForecast, {})

    async def history(self, row: str) -> export_schemas.RowHistory:
        """How a row changed since it is known."""
        return await self._get(f"/api/v1/history/{row}", export_schemas.RowHistory, {})

    async def releases(self) -> export_schemas.Releases:
        """The newest releases."""
        return await self._get("/api/v1/releases", export_schemas.Releases, {})

    async def release(self, name: str = "latest") -> export_schemas.FrozenRelease:
        """The frozen figures of a release, by id, day or `latest`."""
        return await self._get(f"/api/v1/releases/{name}", export_schemas.FrozenRelease, {})

    async def sources(self) -> reference_schemas.Sources:
        """Where figures come from, with licences and states."""
        return await self._get("/api/v1/sources", reference_schemas.Sources, {})

    async def footprint(
        self,
        row: str,
        *,
        period: Period | None = None,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        queries_per_day: int | None = None,
    ) -> reference_schemas.FootprintAnswer:
        """What a row means per query and per month."""
        given: dict[str, Value] = {
            "row": row,
            "period": period,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "queries_per_day": queries_per_day,
        }
        return await self._get("/api/v1/footprint", reference_schemas.FootprintAnswer, given)

    async def compare(
        self, rows: Sequence[str], *, period: Period | None = None
    ) -> reference_schemas.Comparison:
        """Two to four rows side by side, and whether they differ."""
        given = {"row": rows, "period": period}
        return await self._get("/api/v1/compare", reference_schemas.Comparison, given)

    async def _get(self, path: str, shape: type[Answer], given: Mapping[str, Value]) -> Answer:
        params = {name: value for name, value in given.items() if value not in (None, ())}
        try:
            response = await self._http.get(path, params=params)
        except httpx.HTTPError as fault:
            raise ApiError(
                f"{self._http.base_url} does not answer: {fault}", hint="Is the node running?"
            ) from fault
        if response.status_code != httpx.codes.OK:
            raise _refused(response)
        try:
            return shape.model_validate_json(response.content)
        except ValidationError as fault:
            raise ApiError(
                f"{path} answered in another shape: {fault.errors()[0]['msg']}",
                hint="The node may be of another version.",
            ) from fault


def _given(query: BaseModel | None) -> Mapping[str, Value]:
    return query.model_dump(mode="json", exclude_unset=True) if query else {}


def _refused(response: httpx.Response) -> ApiError:
    try:
        problem = schemas.Problem.model_validate_json(response.content)
    except ValidationError:
        return ApiError(f"the API answered {response.status_code}")
    return ApiError(problem.detail, hint=problem.hint or "", problem=problem)
