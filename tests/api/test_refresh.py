"""The story of a release: network cells join published figures, faults stop nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.app import create_app
from api.catalogue import Catalogue, ModelSlug
from api.energy import Regime
from api.grid.intensity import Period
from api.present import row_body
from api.prices import NoPrices
from api.ranking import Filters
from api.refresh import Sources, refresh
from api.release import Holder
from api.store import Store
from api.verdicts import LogAddress, ValidatorLogs
from protocol.messages import Status
from tests.support.keys import BOB
from tests.support.log import DevLog, cell, client_of, real_cell, value
from tests.support.refreshing import NoReadings

NOW = datetime(2026, 11, 21, 20, 15, tzinfo=UTC)


@pytest.fixture
def log() -> DevLog:
    made = DevLog()
    made.add_round(
        [
            value(uwh=500_000),
            value(real_cell(), uwh=1_800_000, status="verified", label="verified"),
        ]
    )
    return made


def sources_of(catalogue: Catalogue, store: Store, logs: dict[str, DevLog]) -> Sources:
    addresses = [LogAddress(url=url) for url in logs]
    return Sources(
        catalogue=catalogue,
        logs=ValidatorLogs(addresses, store, client_of(logs)),
        grid=NoReadings(),
        prices=NoPrices(),
        keeper=store,
    )


async def test_a_verified_cell_is_set_on_every_tabulated_grid_and_never_sold(
    small_catalogue: Catalogue, store: Store, log: DevLog
) -> None:
    release = await refresh(sources_of(small_catalogue, store, {"http://v": log}), Holder(), NOW)

    rows = [row for row in release.rows if row.status is Status.VERIFIED]
    assert len(rows) == 18
    assert {row.provider.id for row in rows} == {"self-hosted"}
    assert {row.price for row in rows} == {None}
    assert {row.model.id for row in rows} == {"llama-3.1-8b"}
    assert {row.regime for row in rows} == {Regime.SINGLE}
    assert rows[0].energy.estimate.value == pytest.approx(1_800.0)


async def test_a_simulated_cell_stays_out_of_rankings_unless_asked_for(
    small_catalogue: Catalogue, store: Store, log: DevLog
) -> None:
    holder = Holder()
    await refresh(sources_of(small_catalogue, store, {"http://v": log}), holder, NOW)
    app = create_app(holder)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://api"
    ) as client:
        asked = {"regime": "single", "limit": "200"}
        default = (await client.get("/api/v1/leaderboard", params=asked)).json()
        simulated = (
            await client.get("/api/v1/leaderboard", params={**asked, "status": "simulated"})
        ).json()
        page = (await client.get("/", params={**asked, "status": "simulated"})).text

    assert "simulated" not in {row["status"] for row in default["rows"]}
    assert {row["status"] for row in simulated["rows"]} == {"simulated"}
    assert simulated["total"] == 18
    assert simulated["rows"][0]["factors"]["energy"]["operator_count"] == 3
    assert "<strong>Simulated.</strong>" in page


async def test_a_simulated_cell_never_stands_for_a_provider(
    small_catalogue: Catalogue, store: Store
) -> None:
    log = DevLog()
    log.add_round([value(cell(small_catalogue.models[ModelSlug("mistral-7b")].repositories[0]))])

    release = await refresh(sources_of(small_catalogue, store, {"http://v": log}), Holder(), NOW)

    assert {row.access.value for row in release.rows if row.status is Status.SIMULATED} == {
        "self-hosted"
    }


async def test_a_verified_cell_of_a_shortened_workload_is_in_no_ranking(
    small_catalogue: Catalogue, store: Store
) -> None:
    log = DevLog()
    smoke = cell("meta-llama/Llama-3.1-8B-Instruct", gpu="NVIDIA H100 80GB HBM3")
    log.add_round([value(smoke, status="verified")])

    release = await refresh(sources_of(small_catalogue, store, {"http://v": log}), Holder(), NOW)

    rows = [row for row in release.rows if row.status is Status.VERIFIED]
    filters = Filters(regime=Regime.SINGLE, statuses=frozenset(Status))
    assert rows
    assert not any(filters.admits(row) for row in rows)


async def test_the_network_view_shows_rounds_and_miners(
    small_catalogue: Catalogue, store: Store, log: DevLog
) -> None:
    log.add_round([value(uwh=510_000)])
    holder = Holder()
    await refresh(sources_of(small_catalogue, store, {"http://v": log}), holder, NOW)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=create_app(holder)), base_url="http://api"
    ) as client:
        rounds = (await client.get("/api/v1/subnet/rounds")).json()["rounds"]
        miners = (await client.get("/api/v1/subnet/miners")).json()["miners"]
        validators = (await client.get("/api/v1/subnet/validators")).json()["validators"]

    assert [each["round"] for each in rounds] == [2, 1]
    assert [miner["weight_u16"] for miner in miners] == [13_107]
    assert validators[0]["entries"] == 4


async def test_a_refused_log_is_named_and_its_last_good_cells_stay(
    small_catalogue: Catalogue, store: Store, log: DevLog
) -> None:
    holder = Holder()
    sources = sources_of(small_catalogue, store, {"http://v": log})
    first = await refresh(sources, holder, NOW)
    log.head_signer = BOB

    second = await refresh(sources, holder, NOW)

    assert [state.state for state in second.sources] == ["refused"]
    assert second.id == first.id
    assert len(second.rows) == len(first.rows)


async def test_nothing_new_changes_nothing(
    small_catalogue: Catalogue, store: Store, log: DevLog
) -> None:
    holder = Holder()
    sources = sources_of(small_catalogue, store, {"http://v": log})
    first = await refresh(sources, holder, NOW)

    second = await refresh(sources, holder, NOW + timedelta(minutes=5))

    assert second is first


async def test_a_new_round_or_a_new_hour_makes_a_new_release(
    small_catalogue: Catalogue, store: Store, log: DevLog
) -> None:
    holder = Holder()
    sources = sources_of(small_catalogue, store, {"http://v": log})
    first = await refresh(sources, holder, NOW)
    log.add_round([value(uwh=600_000)])
    second = await refresh(sources, holder, NOW)
    third = await refresh(sources, holder, NOW + timedelta(hours=1))

    assert len({first.id, second.id, third.id}) == 3
    cells = {f.energy.estimate.value for f in second.figures if f.status is Status.SIMULATED}
    assert cells == {600.0}


async def test_two_validators_are_merged_by_the_median_and_their_span_is_shown(
    small_catalogue: Catalogue, store: Store, log: DevLog
) -> None:
    other = DevLog(signer=BOB)
    other.add_round([value(uwh=700_000)])

    release = await refresh(
        sources_of(small_catalogue, store, {"http://v": log, "http://w": other}), Holder(), NOW
    )

    (figure,) = [f for f in release.figures if f.status is Status.SIMULATED]
    assert figure.energy.estimate.value == 500.0
    assert figure.energy.estimate.high > 770.0
    assert "differ by 40.0%" in figure.energy.note
    row = next(row for row in release.rows if row.figure is figure)
    shown = row_body(row, Period.YEAR).factors.energy
    assert (shown.validator_count, shown.disagreement_percent) == (2, 40.0)


async def test_a_validator_with_most_of_the_stake_decides_the_median(
    small_catalogue: Catalogue, store: Store, log: DevLog
) -> None:
    other = DevLog(signer=BOB)
    other.add_round([value(uwh=700_000)])
    sources = sources_of(small_catalogue, store, {})
    addresses = [LogAddress(url="http://v"), LogAddress(url="http://w", weight=3.0)]
    client = client_of({"http://v": log, "http://w": other})

    release = await refresh(
        replace(sources, logs=ValidatorLogs(addresses, store, client)), Holder(), NOW
    )

    (figure,) = [f for f in release.figures if f.status is Status.SIMULATED]
    assert figure.energy.estimate.value == 700.0


async def test_a_validator_whose_clock_is_ahead_does_not_make_data_younger(
    small_catalogue: Catalogue, store: Store, log: DevLog
) -> None:
    log.head_changes = {"unix_ms": int((NOW + timedelta(days=400)).timestamp() * 1_000)}

    release = await refresh(sources_of(small_catalogue, store, {"http://v": log}), Holder(), NOW)

    assert release.data_as_of <= NOW
    assert any(row.status is Status.VERIFIED for row in release.rows)


async def test_a_model_that_only_the_network_knows_can_be_asked_for(
    small_catalogue: Catalogue, store: Store
) -> None:
    log = DevLog()
    log.add_round([value(real_cell("acme/Nova-3B"), status="verified")])

    release = await refresh(sources_of(small_catalogue, store, {"http://v": log}), Holder(), NOW)

    assert release.names["acme/nova-3b"] == "nova-3b"
    assert any(row.model.id == "nova-3b" for row in release.rows)


async def test_each_release_and_its_prices_are_kept(
    small_catalogue: Catalogue, store: Store, log: DevLog
) -> None:
    holder = Holder()
    sources = sources_of(small_catalogue, store, {"http://v": log})
    await refresh(sources, holder, NOW)
    before = store.price_count()
    await refresh(sources, holder, NOW + timedelta(hours=1))

    assert len(store.releases()) == 2
    assert before > 10
    assert store.price_count() == before


async def test_the_same_inputs_give_the_same_figures(
    small_catalogue: Catalogue, store: Store
) -> None:
    first = await refresh(sources_of(small_catalogue, store, {}), Holder(), NOW)
    second = await refresh(sources_of(small_catalogue, store, {}), Holder(), NOW)

    assert first.id == second.id
    assert [row.carbon[Period.YEAR] for row in first.rows] == [
        row.carbon[Period.YEAR] for row in second.rows
    ]
    assert first.meta() == second.meta()
