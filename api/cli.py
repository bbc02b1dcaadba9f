"""`carbonbench-api`: check, refresh once, serve. The only place that wires things."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from api.cli_keys import keys
from protocol.errors import ConfigurationError, Error

if TYPE_CHECKING:
    import httpx

    from api.app import Application
    from api.callers import Callers
    from api.grid.intensity import IntensitySource
    from api.metrics import Metrics
    from api.refresh import Sources
    from api.release import Holder
    from api.settings import Settings
    from api.store import Store

app = App(
    name="carbonbench-api",
    help="Serve carbon, price and speed of language models by provider and place.",
)
grid = App(name="grid", help="Grid intensity: this node's own history.")
app.command(grid)
app.command(keys)
FITTED_SHAPES = "grid_shape.csv"
"""Under the data directory: curves that this node fitted."""
_EXTRA = (
    "fastapi",
    "granian",
    "uvloop",
    "brotli",
    "prometheus_client",
    "sqlalchemy",
    "alembic",
    "jinja2",
    "genai_prices",
    "psycopg",
)


@app.command
def serve(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on; 0 picks one.")] = None,
    workers: Annotated[
        int | None,
        Parameter(help="Processes that answer, 1 to 64, each with its own rate limits. Default: 1"),
    ] = None,
    data_dir: Annotated[Path | None, Parameter(help="Where the SQLite database lives.")] = None,
) -> None:
    """Serve the API and the page, refreshing on schedule, until stopped."""
    import contextlib

    import uvloop

    from api.opening import open_counts, open_store, read_settings
    from api.serving import free_port

    settings = read_settings(host=host, port=port, workers=workers, data_dir=data_dir)
    log_to_stderr()
    chosen_port = free_port(settings.host, settings.port)
    with (
        contextlib.closing(open_store(settings)) as store,
        open_counts(settings) as counts,
        contextlib.suppress(KeyboardInterrupt),
    ):
        uvloop.run(_serve(settings, chosen_port, store, counts))


async def _serve(settings: "Settings", port: int, store: "Store", counts: Path | None) -> None:
    from api.keys import KeyRing
    from api.metrics import Metrics, share_counts
    from api.release import Holder
    from api.serving import Alone, Upkeep, serve
    from api.workers import Workers

    if counts is not None:
        share_counts(counts, 0)
    holder = Holder()
    callers, metrics = build_callers(settings), Metrics(holder, counts)
    application = build_application(settings, store, holder, callers, metrics)
    async with _client() as client:
        upkeep = Upkeep(
            sources=_sources(settings, store, client),
            holder=holder,
            metrics=metrics,
            callers=callers,
            keys=KeyRing.beside(store),
            refresh_seconds=settings.refresh_seconds,
            others=Workers(holder, settings, port, counts) if counts else Alone(),
        )
        await serve(application, settings.host, port, upkeep, _announce)


def build_callers(settings: "Settings") -> "Callers":
    """Who may ask how often, by the settings, without the keys."""
    from api.callers import Callers

    return Callers(
        anonymous_per_minute=settings.requests_per_minute,
        trusted_proxies=settings.trusted_proxies,
    )


def build_application(
    settings: "Settings", store: "Store", holder: "Holder", callers: "Callers", metrics: "Metrics"
) -> "Application":
    """The application of any of the processes that answer."""
    from api.app import create_app
    from api.archive import Archive
    from api.stored_evidence import StoredEvidence

    return create_app(
        holder,
        max_age_seconds=settings.max_age_seconds,
        evidence=StoredEvidence(store),
        archive=Archive.beside(store),
        callers=callers,
        metrics=metrics,
    )


def _announce(url: str) -> None:
    print(f"CarbonBench API at {url}", flush=True)


@app.command
def mcp(
    *,
    url: Annotated[str | None, Parameter(help="Node to ask; none answers from the tables.")] = None,
    key: Annotated[
        str | None, Parameter(help="API key of that node.", env_var="CARBONBENCH_API_KEY")
    ] = None,
) -> None:
    """Answer assistants over the Model Context Protocol, on standard input and output."""
    import asyncio

    from api.client import Client
    from api.mcp_server import build_mcp_server

    log_to_stderr()

    async def run() -> None:
        transport = None if url else await _transport_of_tables()
        async with Client(url or "http://tables", key=key, transport=transport) as client:
            await build_mcp_server(client).run_stdio_async()

    asyncio.run(run())


async def _transport_of_tables() -> "httpx.ASGITransport":
    """An application in this process, over the packaged tables."""
    import tempfile
    from datetime import UTC, datetime

    import httpx

    from api.app import create_app
    from api.opening import read_settings
    from api.refresh import refresh
    from api.release import Holder
    from api.store import Store

    holder = Holder()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{folder}/api.sqlite3")
        async with _client() as client:
            now = datetime.now(UTC)
            await refresh(_sources(read_settings(), store, client), holder, now)
            holder.succeeded(now)
        store.close()
    return httpx.ASGITransport(app=create_app(holder))


@app.command
def refresh(
    *,
    data_dir: Annotated[Path | None, Parameter(help="Where the SQLite database lives.")] = None,
) -> None:
    """Refresh once and say what the release holds."""
    import asyncio
    from datetime import UTC, datetime

    from api.opening import open_store, read_settings
    from api.refresh import refresh as refresh_sources
    from api.release import Holder

    settings = read_settings(data_dir=data_dir)
    log_to_stderr()
    store = open_store(settings)
    holder = Holder()

    async def run() -> None:
        async with _client() as client:
            sources = _sources(settings, store, client)
            await refresh_sources(sources, holder, datetime.now(UTC))

    asyncio.run(run())
    release = holder.release
    if release is None:
        raise ConfigurationError("no release was built")
    models = {row.model.id for row in release.rows}
    print(f"release {release.id}: {len(release.rows)} rows, {len(models)} models")
    for source in release.sources:
        print(f"  {source.kind} {source.name}: {source.state}, {source.detail}")
    store.close()


@app.command
def check(
    *,
    data_dir: Annotated[Path | None, Parameter(help="Where the SQLite database lives.")] = None,
) -> None:
    """Show the effective settings, the tables, the database and the sources."""
    import os

    from api.opening import open_store, read_settings
    from api.settings import Settings
    from api.tables import load_catalogue

    settings = read_settings(data_dir=data_dir)
    for name in Settings.model_fields:
        print(f"{name} = {_shown(name, getattr(settings, name))}")
    known = {f"API_{name.upper()}" for name in Settings.model_fields}
    for name in sorted(set(filter(_is_ours, os.environ)) - known):
        print(f"unknown variable {name}: it has no effect")
    catalogue = load_catalogue()
    print(
        f"tables: {len(catalogue.models)} models, {len(catalogue.places)} places, "
        f"{len(catalogue.evidence)} offers, {len(catalogue.served)} served measurements"
    )
    store = open_store(settings)
    for setting in settings.validator_logs:
        source = store.log_source(setting.url.rstrip("/"))
        print(f"log {setting.url}: {source.size if source else 0} entries kept")
    store.close()
    print("ready")


@grid.command
def fit(
    *,
    data_dir: Annotated[Path | None, Parameter(help="Where the database lives.")] = None,
) -> None:
    """Fit each zone's hourly curve to this node's own history of readings."""
    from datetime import UTC, datetime, timedelta

    from api.catalogue import ZoneId
    from api.grid.errors import measured_errors
    from api.grid.fitting import MIN_HOURS, fit_shape
    from api.opening import open_store, read_settings
    from api.tables import errors_path, write_errors, write_shapes

    settings = read_settings(data_dir=data_dir)
    store = open_store(settings)
    samples: dict[tuple[ZoneId, str, str], list[tuple[datetime, float]]] = {}
    for reading in store.readings_since(datetime.now(UTC) - timedelta(days=366)):
        if reading.signal == "average" and reading.basis.startswith("lifecycle"):
            key = (reading.zone, reading.source, reading.licence)
            samples.setdefault(key, []).append((reading.start, reading.intensity_g_per_kwh))
    store.close()
    longest = sorted(samples.items(), key=lambda item: len(item[1]))
    shapes = {
        zone: fit_shape(zone, hours, f"own fit to {source}", licence)
        for (zone, source, licence), hours in longest
        if len(hours) >= MIN_HOURS
    }
    if not shapes:
        raise ConfigurationError(
            f"no zone has {MIN_HOURS} hours of readings yet",
            hint="Configure a live grid source and let the node serve for two months.",
        )
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = settings.data_dir / FITTED_SHAPES
    write_shapes(shapes.values(), path)
    errors = [
        error
        for (zone, source, licence), hours in longest
        if zone in shapes
        for error in measured_errors(zone, dict(hours), shapes[zone], f"own {source}", licence)
    ]
    write_errors(errors, errors_path(path))
    print(f"{len(shapes)} curves in {path}; a node that serves reads them at its next start")
    for error in errors:
        print(
            f"{error.zone}: {error.method} off by {error.mean_absolute_error:.1%} of the mean "
            f"over {error.hours} hours"
        )


def main() -> None:
    """Entry point: our errors end with exit code 1, one line and a hint."""
    try:
        app()
    except Error as fault:
        print(f"error: {fault}", file=sys.stderr)
        if fault.hint:
            print(f"hint: {fault.hint}", file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(f"error: {fault.name} is not installed", file=sys.stderr)
        print("hint: pip install 'carbonbench[api]'", file=sys.stderr)
        sys.exit(1)


def _sources(settings: "Settings", store: "Store", client: "httpx.AsyncClient") -> "Sources":
    from api.grid.readings import LiveReadings
    from api.prices import GenaiPrices
    from api.refresh import Sources
    from api.tables import load_catalogue, with_fitted_shapes
    from api.verdicts import LogAddress, ValidatorLogs
    from protocol.ids import Hotkey

    catalogue = with_fitted_shapes(load_catalogue(), settings.data_dir / FITTED_SHAPES)
    addresses = [
        LogAddress(
            url=setting.url.rstrip("/"),
            validator=Hotkey(setting.hotkey) if setting.hotkey else None,
            weight=setting.stake,
        )
        for setting in settings.validator_logs
    ]
    zones = tuple(dict.fromkeys(place.zone for place in catalogue.places.values()))
    return Sources(
        catalogue=catalogue,
        logs=ValidatorLogs(addresses, store, client),
        grid=LiveReadings(_grid_sources(settings, client), zones, store),
        prices=GenaiPrices(),
        keeper=store,
    )


def _grid_sources(settings: "Settings", client: "httpx.AsyncClient") -> "list[IntensitySource]":
    from api.grid.eia import Eia
    from api.grid.electricity_maps import ElectricityMaps
    from api.grid.entso_e import EntsoE
    from api.grid.great_britain import GreatBritain
    from api.grid.watttime import WattTime

    found: list[IntensitySource] = []
    if settings.electricity_maps_token:
        token = settings.electricity_maps_token.get_secret_value()
        found.append(ElectricityMaps(client, token, settings.electricity_maps_url))
    if settings.watttime_user and settings.watttime_password:
        password = settings.watttime_password.get_secret_value()
        found.append(WattTime(client, settings.watttime_user, password, settings.watttime_url))
    if settings.eia_key:
        found.append(Eia(client, settings.eia_key.get_secret_value(), settings.eia_url))
    if settings.entso_e_token:
        token = settings.entso_e_token.get_secret_value()
        found.append(EntsoE(client, token, settings.entso_e_url))
    if settings.great_britain:
        found.append(GreatBritain(client, settings.great_britain_url))
    return found


def _client() -> "httpx.AsyncClient":

    import httpx

    from api.verdicts import TIMEOUT_SECONDS

    return httpx.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False)


def log_to_stderr() -> None:
    """What is logged goes beside what is printed."""
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _is_ours(name: str) -> bool:
    return name.startswith("API_")


def _shown(name: str, value: object) -> str:
    from api.store import shown_url

    return shown_url(str(value)) if name == "database_url" and value else str(value)


if __name__ == "__main__":
    main()
