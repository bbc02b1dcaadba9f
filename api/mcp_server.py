"""The API's answers as tools of the Model Context Protocol, for assistants.

Each tool asks an API node through `api.client`, so that a figure here is the figure there.
"""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import wraps
from importlib.metadata import version
from typing import Literal, ParamSpec, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import ValidationError

from api import reference_schemas, schemas
from api.catalogue import Certainty
from api.client import ApiError, Client
from api.energy import Regime
from api.grid.intensity import Period
from api.ranking import Sort
from api.routes import LeaderboardQuery, RecommendQuery

INSTRUCTIONS = """\
Carbon, price and speed of language models by provider and place, with intervals.
Every figure carries a status: verified (measured and checked by the network), published,
modelled, assumed, estimated or simulated. Say the status and the interval with the figure,
and call a difference meaningful only where the answer does. Carbon is gCO2e per million output
tokens, energy Wh per million output tokens, grid intensity gCO2e per kWh; each figure names its
unit. Use regime `served` for a provider's API; `single` (one prompt at a time) differs up to
50-fold, so never set the two beside each other."""

RegimeName = Literal["served", "single"]
PeriodName = Literal["year", "30d", "now"]
SortName = Literal["carbon", "energy", "price", "speed"]
CertaintyName = Literal["pinned", "data_zone", "global", "undisclosed"]
Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def build_mcp_server(client: Client) -> MCPServer:
    """A server whose tools ask the node behind a client.

    Args:
        client: Asks the node; it must live as long as the server.
    """
    server = MCPServer(
        "carbonbench",
        instructions=INSTRUCTIONS,
        version=version("carbonbench"),
        log_level="WARNING",
    )
    _add_choosing(server, client)
    _add_details(server, client)
    return server


def _explained(
    tool: Callable[Asked, Awaitable[Answer]],
) -> Callable[Asked, Awaitable[Answer]]:
    """The tool, whose refusals say what the API said: detail, hint and suggestions."""

    @wraps(tool)
    async def asked(*args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
        try:
            return await tool(*args, **kwargs)
        except ApiError as refused:
            raise ToolError(_refusal(refused)) from refused
        except ValidationError as fault:
            faults = (f"{item['loc'][0]}: {item['msg']}" for item in fault.errors())
            raise ToolError("; ".join(faults)) from fault

    return asked


def _refusal(refused: ApiError) -> str:
    text = " ".join(part for part in (f"{refused}.", refused.hint) if part)
    suggestions = refused.problem.suggestions if refused.problem else []
    return f"{text} Suggestions: {', '.join(suggestions)}." if suggestions else text


def _add_choosing(server: MCPServer, client: Client) -> None:
    @server.tool()
    @_explained
    async def rank_models(  # noqa: PLR0913, PLR0917 - a tool has one argument a choice
        family: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        place: str | None = None,
        regime: RegimeName = "served",
        period: PeriodName = "year",
        sort: SortName = "carbon",
        limit: int = 10,
    ) -> schemas.Leaderboard:
        """Rank model x provider x place by carbon, energy, price or speed (limit 1 to 200).

        A place is a place or region such as `us-virginia` or `eu-west-1`, or an area such as `eu`.
        """
        query = LeaderboardQuery(
            family=[family] if family else [],
            model=[model] if model else [],
            provider=[provider] if provider else [],
            place=[place] if place else [],
            regime=Regime(regime),
            period=Period(period),
            sort=Sort(sort),
            limit=limit,
        )
        return await client.leaderboard(query)

    @server.tool()
    @_explained
    async def recommend(  # noqa: PLR0913, PLR0917 - as above
        model: str,
        provider: str | None = None,
        place: str | None = None,
        max_price: float | None = None,
        min_speed: float | None = None,
        certainty: CertaintyName | None = None,
        period: PeriodName = "year",
    ) -> schemas.Recommendation:
        """The lowest-carbon way to run a model, four alternatives, and the best hour.

        max_price is USD per million tokens, min_speed is output tokens per second.
        """
        query = RecommendQuery(
            model=model,
            provider=[provider] if provider else [],
            place=[place] if place else [],
            max_price=Decimal(str(max_price)) if max_price is not None else None,
            min_speed=min_speed,
            certainty=[Certainty(certainty)] if certainty else [],
            period=Period(period),
        )
        return await client.recommend(query)

    @server.tool()
    @_explained
    async def compare(rows: list[str], period: PeriodName = "year") -> reference_schemas.Comparison:
        """Two to four rows of a ranking side by side, and whether they really differ."""
        return await client.compare(rows, period=Period(period))


def _add_details(server: MCPServer, client: Client) -> None:
    @server.tool()
    @_explained
    async def footprint(
        row: str,
        output_tokens: int = 300,
        queries_per_day: int = 1_000,
        input_tokens: int = 0,
    ) -> reference_schemas.FootprintAnswer:
        """Grams of CO2e per query and kilograms per month of a row of a ranking; tokens a query."""
        return await client.footprint(
            row,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            queries_per_day=queries_per_day,
        )

    @server.tool()
    @_explained
    async def grid_forecast(zone: str) -> reference_schemas.GridForecast:
        """The coming hours of a grid zone in gCO2e per kWh, and how it is known."""
        return await client.forecast(zone)

    @server.tool()
    @_explained
    async def list_models(family: str | None = None) -> reference_schemas.Models:
        """All models with what is known of each."""
        return await client.models(family)
