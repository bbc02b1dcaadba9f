"""`python -m scripts.bench.api_server ours|anchor`: what is measured, in a process of its own.

`ours` is the API as `carbonbench-api serve` wires it: guard, rates, metrics, database, scheduled
refresh. Only two things are made up, for there is no network: a grid source that reports every
zone, and the clock, on which each refresh is an hour after the last one, so that no refresh is
spared. `anchor` is a FastAPI application with one trivial route that gives the same bytes.
Both are served by `build_server` on the same kind of event loop. The port is printed; the process
ends with its standard input.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import httpx
import structlog
import uvloop
from fastapi import FastAPI
from fastapi.responses import Response

from api.app import create_app
from api.archive import Archive
from api.callers import Callers
from api.catalogue import (
    Catalogue,
    Evidence,
    Model,
    ModelSlug,
    ServedPoint,
    SingleRecord,
    ZoneId,
)
from api.grid.intensity import Reading
from api.grid.readings import HISTORY_SPAN, LiveReadings
from api.keys import KeyRing
from api.metrics import Metrics
from api.prices import GenaiPrices
from api.refresh import Sources
from api.release import Holder
from api.serving import Upkeep, build_server, free_port, serve
from api.store import Store
from api.stored_evidence import StoredEvidence
from api.tables import load_catalogue
from api.verdicts import ValidatorLogs
from scripts.bench.api_load import HOST

ANCHOR_PATH = "/anchor"
REQUESTS_PER_MINUTE = 1e9
"""The limits are at work, and refuse nothing: every answer of the load has status 200."""
Line = TypeVar("Line", ServedPoint, SingleRecord, Evidence)
_HOUR = timedelta(hours=1)
_DAY_HOURS = 24
_START = datetime(2026, 11, 21, 20, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reported:
    """A grid source that knows every hour of every zone."""

    name: str = "benchmark"

    async def readings(self, zones: Sequence[ZoneId], now: datetime) -> Sequence[Reading]:
        """The last 24 hours."""
        return reported(zones, now, _DAY_HOURS)


def reported(zones: Sequence[ZoneId], now: datetime, hours: int) -> list[Reading]:
    """Readings of the hours before a moment, which vary a little."""
    last = now.replace(minute=0, second=0, microsecond=0)
    starts = [last - _HOUR * back for back in range(hours)]
    return [
        Reading(
            zone=zone,
            start=start,
            end=start + _HOUR,
            intensity_g_per_kwh=300.0 + (start.day * 24 + start.hour + 11 * place) % 100,
            basis="lifecycle",
            signal="average",
            is_estimated=False,
            source="benchmark",
            licence="none",
            is_redistributable=True,
        )
        for place, zone in enumerate(zones)
        for start in starts
    ]


def multiplied(catalogue: Catalogue, copies: int) -> Catalogue:
    """The tables with each model so many times, under names of their own."""
    numbers = range(1, copies)
    copied = [_copy(model, number) for number in numbers for model in catalogue.models.values()]
    return replace(
        catalogue,
        models={**catalogue.models, **{model.id: model for model in copied}},
        served=[
            *catalogue.served,
            *(_line_copy(line, number) for number in numbers for line in catalogue.served),
        ],
        single=[
            *catalogue.single,
            *(_line_copy(line, number) for number in numbers for line in catalogue.single),
        ],
        evidence=[
            *catalogue.evidence,
            *(_line_copy(line, number) for number in numbers for line in catalogue.evidence),
        ],
    )


def _copy(model: Model, number: int) -> Model:
    slug, name = _copied_slug(model.id, number), f"{model.name} ({number})"
    return replace(model, id=slug, name=name, repositories=())


def _line_copy(line: Line, number: int) -> Line:
    return replace(line, model=_copied_slug(line.model, number))


def _copied_slug(slug: ModelSlug, number: int) -> ModelSlug:
    return ModelSlug(f"{slug}-copy{number}")


async def serve_ours(copies: int, refresh_seconds: float, store: Store) -> None:
    """Serve the API over a table so many times as long as the packaged one."""
    started = time.monotonic()

    def clock() -> datetime:
        return _START + _HOUR * ((time.monotonic() - started) / refresh_seconds)

    catalogue = multiplied(load_catalogue(), copies)
    zones = tuple(dict.fromkeys(place.zone for place in catalogue.places.values()))
    store.keep_readings(reported(zones, _START, HISTORY_SPAN // _HOUR))
    holder = Holder(clock)
    metrics = Metrics(holder)
    callers = Callers(anonymous_per_minute=REQUESTS_PER_MINUTE)
    application = create_app(
        holder,
        evidence=StoredEvidence(store),
        archive=Archive.beside(store),
        callers=callers,
        metrics=metrics,
    )
    async with httpx.AsyncClient() as client:
        upkeep = Upkeep(
            sources=Sources(
                catalogue=catalogue,
                logs=ValidatorLogs([], store, client),
                grid=LiveReadings([Reported()], zones, store),
                prices=GenaiPrices(),
                keeper=store,
            ),
            holder=holder,
            metrics=metrics,
            callers=callers,
            keys=KeyRing.beside(store),
            refresh_seconds=refresh_seconds,
        )
        await serve(application, HOST, free_port(HOST, 0), upkeep, _announce)


async def serve_anchor(body: bytes) -> None:
    """Serve the bytes from one trivial route."""
    application = FastAPI()

    @application.get(ANCHOR_PATH)
    async def answer() -> Response:
        return Response(body, media_type="application/json")

    port = free_port(HOST, 0)
    _announce(f"http://{HOST}:{port}")
    await build_server(application, HOST, port).serve()


def _announce(url: str) -> None:
    print(url.rsplit(":", 1)[1], flush=True)


def _end_with_standard_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.api_server")
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--refresh-seconds", type=float, default=86_400.0)
    parser.add_argument("--anchor", type=Path, help="file with the bytes that the anchor gives")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    if asked.anchor:
        uvloop.run(serve_anchor(asked.anchor.read_bytes()))
        return
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{folder}/api.sqlite3")
        uvloop.run(serve_ours(asked.copies, asked.refresh_seconds, store))


if __name__ == "__main__":
    main()
