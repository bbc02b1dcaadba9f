"""The real application on a free port, over a fixed data set, at a fixed time."""

import asyncio
import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.catalogue import Catalogue
from api.network_evidence import LoggedVerdict, NoReport
from api.prices import NoPrices
from api.refresh import Sources, refresh
from api.release import Holder, Release
from api.schemas import SourceState
from api.store import Store
from api.stored_evidence import StoredEvidence
from api.tables import load_catalogue
from api.verdicts import LogAddress, ValidatorLogs
from protocol.messages import PowerTrace, Report
from tests.support import factories
from tests.support.log import DevLog, client_of, real_cell, value
from tests.support.refreshing import NoReadings, ReleaseList, StaticLogs

NOW = datetime(2026, 11, 21, 20, 20, tzinfo=UTC)
VALIDATOR_URL = "http://validator.example:8091"
TRACE_ROWS = 240


@dataclass
class Stage:
    """What a browser can be sent to, and what can be changed under it."""

    url: str
    holder: Holder
    release: Release
    empty: Release
    verdict_digest: str
    now: list[datetime] = field(default_factory=lambda: [NOW])
    """The time on the application's clock, as its only item."""

    @contextlib.contextmanager
    def showing(self, release: Release) -> Iterator[None]:
        """Answer from another release for a while."""
        self.holder.swap(release)
        try:
            yield
        finally:
            self.holder.swap(self.release)

    @contextlib.contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """Let the application believe in another time for a while."""
        self.now[0] = moment
        try:
            yield
        finally:
            self.now[0] = NOW

    def with_source_down(self) -> Release:
        """The release after a validator stopped answering."""
        down = SourceState(
            name=VALIDATOR_URL,
            kind="log",
            state="unreachable",
            detail="ConnectError",
            data_as_of=NOW,
            entries=2,
            validator=None,
        )
        return self.release.with_sources([down])


class ShownEvidence(StoredEvidence):
    """Evidence whose reports need no validator that serves them."""

    def report(self, logged: LoggedVerdict) -> Report | NoReport:
        """A run of 24 seconds with load that rises and falls."""
        report = factories.report(prompt_count=120, trace_rows=TRACE_ROWS)
        device = report.device_energy[0].model_copy(update={"trace": _trace()})
        return report.model_copy(update={"device_energy": (device,)})


@contextlib.contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """The application, served until the block ends."""
    store = Store.open(f"sqlite:///{folder / 'api.sqlite3'}")
    log = DevLog()
    log.add_round(
        [
            value(uwh=500_000),
            value(real_cell(), uwh=1_800_000, status="verified", label="verified"),
        ]
    )
    # Playwright's own event loop runs in this thread already.
    with ThreadPoolExecutor(1) as pool:
        release, empty = pool.submit(asyncio.run, _releases(load_catalogue(), store, log)).result()
    now = [NOW]
    holder = Holder(clock=lambda: now[0])
    holder.swap(release)
    holder.succeeded(NOW)
    evidence = ShownEvidence(store)
    with _served(create_app(holder, evidence=evidence)) as url:
        yield Stage(
            url=url,
            holder=holder,
            release=release,
            empty=empty,
            verdict_digest=evidence.newest(1)[0].digest,
            now=now,
        )
    store.close()


@contextlib.contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


async def _releases(catalogue: Catalogue, store: Store, log: DevLog) -> tuple[Release, Release]:
    async with client_of({VALIDATOR_URL: log}) as client:
        full = Sources(
            catalogue=catalogue,
            logs=ValidatorLogs([LogAddress(url=VALIDATOR_URL)], store, client),
            grid=NoReadings(),
            prices=NoPrices(),
            keeper=ReleaseList(),
        )
        release = await refresh(full, Holder(), NOW)
    bare = replace(
        full,
        logs=StaticLogs(),
        catalogue=replace(catalogue, served=[], single=[], evidence=[], models={}),
    )
    return release, await refresh(bare, Holder(), NOW)


def _trace() -> PowerTrace:
    rows = range(TRACE_ROWS)
    powers = tuple(
        70_000 if row < 4 or row > TRACE_ROWS - 5 else round(320_000 + 60_000 * math.sin(row / 5))
        for row in rows
    )
    return factories.power_trace(TRACE_ROWS).model_copy(
        update={"power_mw": powers, "elapsed_ms": tuple(100 * row - 400 for row in rows)}
    )
