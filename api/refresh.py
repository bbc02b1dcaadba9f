"""The story of one release: pull, verify, join, encode, swap.

    1. pull the validators' logs; what verifies is kept, a source that does not is refused
       and its last good state goes on
    2. pull grid readings from the live sources that are configured, keep their history
    3. merge network cells, published and modelled figures into one list, nothing averaged
       across methods
    4. join figures x evidence x places x prices into rows
    5. encode, keep the release, and swap it in by reference

A failing source never stops a release: it is named in it, and so is a database that does not
keep it. A refresh that finds nothing new changes nothing.
"""

import asyncio
import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Protocol

import structlog

from api.catalogue import Catalogue, Model, ModelSlug, model_names
from api.energy import EnergyFigure, modelled_figures, served_figures, single_figures
from api.grid.intensity import History
from api.grid.ladder import Ladder
from api.index import Index
from api.network import SignedRecord, network_figures, network_models
from api.offerings import PriceBook, build_table
from api.release import Holder, Release
from api.schemas import SourceState
from protocol.errors import StoreError

log = structlog.get_logger(__name__)


class VerdictLogs(Protocol):
    """The validators' logs, as far as they verify."""

    async def pull(self, now: datetime) -> None:
        """Fetch and verify what is new; never raises for a source's fault."""
        ...

    def records(self) -> Sequence[SignedRecord]:
        """All verified round records, oldest first."""
        ...

    def states(self) -> Sequence[SourceState]:
        """Each source as last seen."""
        ...


class GridReadings(Protocol):
    """Readings of the live grid sources, with their history."""

    async def pull(self, now: datetime) -> None:
        """Fetch what is new; never raises for a source's fault."""
        ...

    def history(self, now: datetime) -> History:
        """Lifecycle average readings of the last 31 days."""
        ...

    def states(self) -> Sequence[SourceState]:
        """Each source as last seen."""
        ...


class ReleaseKeeper(Protocol):
    """Where releases are kept."""

    def keep(self, release: Release, inputs_digest: str) -> None:
        """Keep a release and the prices in it."""
        ...


class Prices(PriceBook, Protocol):
    """Current prices, and how the book was last seen."""

    def states(self) -> Sequence[SourceState]:
        """The book as last read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything that a refresh reads from and writes to."""

    catalogue: Catalogue
    logs: VerdictLogs
    grid: GridReadings
    prices: Prices
    keeper: ReleaseKeeper


async def refresh(sources: Sources, holder: Holder, now: datetime) -> Release:
    """One refresh; the release that answers afterwards.

    Args:
        sources: Where figures come from.
        holder: Where the new release is put.
        now: Aware UTC time.
    """
    await asyncio.gather(sources.logs.pull(now), sources.grid.pull(now))
    held = holder.release
    # In a thread: it takes as long as hundreds of answers.
    release = await asyncio.to_thread(_newest, sources, held, now)
    states = (*_states(sources), *await _kept(sources.keeper, release, held))
    if release.sources != states:
        release = release.with_sources(states)
    if release is not held:
        holder.swap(release)
        log.info(
            "release", release=release.id, rows=len(release.rows), records=len(release.records)
        )
    return release


def _newest(sources: Sources, held: Release | None, now: datetime) -> Release:
    """A release of what the sources hold: the held one when that is the same."""
    records = tuple(sources.logs.records())
    history = sources.grid.history(now)
    digest = _inputs_digest(sources.catalogue, records, history, now)
    if held is not None and held.inputs_digest == digest:
        return held
    known = _known(sources.catalogue, records, held)
    return _build_release(sources, known, records, history, digest, now)


def _states(sources: Sources) -> tuple[SourceState, ...]:
    return (*sources.logs.states(), *sources.grid.states(), *sources.prices.states())


async def _kept(
    keeper: ReleaseKeeper, release: Release, held: Release | None
) -> tuple[SourceState, ...]:
    """Keep a new release; nothing when it went well, else the state that says so.

    Fresh figures are served even when the disk is full: they say that they are not archived,
    and the next refresh tries again.
    """
    if release is held and not any(state.kind == "store" for state in release.sources):
        return ()
    try:
        await asyncio.to_thread(keeper.keep, release, release.inputs_digest)
    except StoreError as fault:
        log.error("release not kept", release=release.id, detail=str(fault), hint=fault.hint)
        return (store_state("archive", f"this release is not archived: {fault}"),)
    return ()


def store_state(name: str, detail: str) -> SourceState:
    """A part of the database that does not keep what it is given."""
    return SourceState(
        name=name,
        kind="store",
        state="unreachable",
        detail=detail,
        data_as_of=None,
        entries=None,
        validator=None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Models and their energy: what follows from tables and logs alone."""

    models: Mapping[ModelSlug, Model]
    names: Mapping[str, ModelSlug]
    figures: tuple[EnergyFigure, ...]


def _known(catalogue: Catalogue, records: Sequence[SignedRecord], held: Release | None) -> _Known:
    """What the held release knows, where tables and logs are still the same."""
    if held is not None and held.catalogue is catalogue and held.records == records:
        return _Known(models=held.models, names=held.names, figures=held.figures)
    models = {
        **catalogue.models,
        **network_models(records, model_names(catalogue.models)),
    }
    names = model_names(models)
    figures = [
        *network_figures(records, names),
        *served_figures(catalogue.served),
        *single_figures(catalogue.single),
    ]
    measured = {figure.model for figure in figures if figure.regime == "served"}
    unmeasured = [model for model in models.values() if model.id not in measured]
    return _Known(models=models, names=names, figures=(*figures, *modelled_figures(unmeasured)))


def _build_release(
    sources: Sources,
    known: _Known,
    records: tuple[SignedRecord, ...],
    history: History,
    digest: str,
    now: datetime,
) -> Release:
    """Join everything into a release."""
    ladder = Ladder(sources.catalogue, history)
    table = build_table(
        catalogue=sources.catalogue,
        models=known.models,
        figures=known.figures,
        ladder=ladder,
        prices=sources.prices,
        now=now,
    )
    return Release(
        id=f"{now:%Y-%m-%d}-{digest[:8]}",
        computed_at=now,
        # A validator whose clock is ahead does not make our data younger than they are.
        data_as_of=min(now, max([_hour(now), *(record.signed_at for record in records)])),
        inputs_digest=digest,
        catalogue=sources.catalogue,
        models=known.models,
        names=known.names,
        figures=known.figures,
        records=records,
        table=table,
        index=Index(table.rows),
        ladder=ladder,
        sources=_states(sources),
    )


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _inputs_digest(
    catalogue: Catalogue, records: Sequence[SignedRecord], history: History, now: datetime
) -> str:
    """Names everything that the figures depend on; time counts by the hour."""
    hashed = hashlib.sha256(catalogue.content_digest.encode())
    hashed.update(f"{now:%Y-%m-%dT%H}".encode())
    for source in records:
        hashed.update(source.digest.encode())
    starts, moments = list[datetime](), array("d")
    for zone in sorted(history):
        hours = history[zone]
        known, starts = starts, sorted(hours)
        if starts != known:
            # Most zones report the same hours.
            moments = array("d", [start.timestamp() for start in starts])
        hashed.update(zone.encode())
        hashed.update(moments)
        hashed.update(array("d", map(_intensity, map(hours.__getitem__, starts))))
    return hashed.hexdigest()


_intensity = attrgetter("intensity_g_per_kwh")
