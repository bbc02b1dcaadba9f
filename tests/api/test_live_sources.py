"""All live adapters against a server on this machine, in recorded shapes and in broken ones."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from api.catalogue import Catalogue, Method, PlaceId, ZoneId
from api.cli import _grid_sources
from api.grid import asking
from api.grid.entso_e import EntsoE, parsed
from api.grid.errors import measured_errors
from api.grid.intensity import Period, Tier
from api.grid.ladder import HOUR, Ladder
from api.grid.readings import LiveReadings
from api.prices import NoPrices
from api.refresh import Sources, refresh
from api.release import Holder
from api.settings import Settings
from api.store import Store
from protocol.errors import SourceError
from tests.support.refreshing import ReleaseList, StaticLogs

NOW = datetime(2026, 11, 21, 20, 15, tzinfo=UTC)
THIS_HOUR = NOW.replace(minute=0)
NL, FR = ZoneId("NL"), ZoneId("FR")
Answer = tuple[int, bytes]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(asking, "LONGEST_PAUSE_SECONDS", 0.0)


def recorded(path: str, query: dict[str, str]) -> Answer:
    """What the five services answer, in the shapes that were recorded."""
    if path == "/v3/carbon-intensity/history":
        hours = [
            {
                "zone": query["zone"],
                "carbonIntensity": 200 + back,
                "datetime": (THIS_HOUR - back * HOUR).isoformat(),
                "emissionFactorType": "lifecycle",
                "isEstimated": False,
            }
            for back in range(24)
        ]
        return 200, json.dumps({"zone": query["zone"], "history": hours}).encode()
    if path == "/login":
        return 200, b'{"token": "t"}'
    if path == "/v3/historical":
        point = {"point_time": (THIS_HOUR - HOUR).isoformat(), "value": 900.0}
        return 200, json.dumps({"data": [point], "meta": {}}).encode()
    if path == "/v2/electricity/rto/fuel-type-data/data/":
        item = {"period": "2026-11-20T10", "respondent": "PJM", "fueltype": "NG", "value": "100"}
        return 200, json.dumps({"response": {"total": 1, "data": [item]}}).encode()
    if path.startswith("/intensity/"):
        half_hour = (
            b'{"data": [{"from": "2026-11-21T18:00Z", "to": "2026-11-21T18:30Z",'
            b' "intensity": {"forecast": 95, "actual": 90, "index": "low"}}]}'
        )
        return 200, half_hour
    return 200, generation({"B14": [300.0] * 4, "B04": [100.0] * 4})


def generation(mixes: dict[str, list[float]], resolution: str = "PT15M", steps: int = 4) -> bytes:
    """An A75 document of one hour and its steps."""
    series = "".join(
        f"""<TimeSeries><inBiddingZone_Domain.mRID>x</inBiddingZone_Domain.mRID>
        <MktPSRType><psrType>{kind}</psrType></MktPSRType><Period><timeInterval>
        <start>2026-11-21T18:00Z</start><end>2026-11-21T19:00Z</end></timeInterval>
        <resolution>{resolution}</resolution>{points(values, steps)}</Period></TimeSeries>"""
        for kind, values in mixes.items()
    )
    return (
        '<?xml version="1.0"?><GL_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-6:'
        f'generationloaddocument:3:0">{series}</GL_MarketDocument>'
    ).encode()


def points(values: list[float], steps: int) -> str:
    return "".join(
        f"<Point><position>{at}</position><quantity>{value}</quantity></Point>"
        for at, value in enumerate(values[:steps], start=1)
    )


@contextmanager
def server(answer: Callable[[str, dict[str, str]], Answer]) -> Iterator[str]:
    """A server on this machine; its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            status, body = answer(parts.path, query)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            return

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def settings_for(url: str) -> Settings:
    """Settings with the operator's own keys, each service at this address."""
    return Settings.model_validate(
        {
            "electricity_maps_token": "token",
            "electricity_maps_url": url,
            "watttime_user": "user",
            "watttime_password": "password",
            "watttime_url": url,
            "eia_key": "key",
            "eia_url": url,
            "entso_e_token": "token",
            "entso_e_url": url,
            "great_britain": True,
            "great_britain_url": url,
        }
    )


async def refreshed(
    url: str, catalogue: Catalogue, store: Store, holder: Holder, now: datetime = NOW
) -> dict[str, str]:
    """States of the live sources after a refresh with all keys."""
    zones = tuple({place.zone for place in catalogue.places.values() if place.tabulated})
    async with httpx.AsyncClient(timeout=0.5, trust_env=False) as client:
        sources = Sources(
            catalogue=catalogue,
            logs=StaticLogs(),
            grid=LiveReadings(_grid_sources(settings_for(url), client), zones, store),
            prices=NoPrices(),
            keeper=ReleaseList(),
        )
        release = await refresh(sources, holder, now)
    return {state.name: state.state for state in release.sources}


def few_zones(catalogue: Catalogue) -> Catalogue:
    """The tables with a place for each source and no more, so that a round is quick."""
    kept = {"eu-netherlands", "us-virginia", "uk-london"}
    return replace(
        catalogue,
        places={
            slug: replace(place, tabulated=slug in kept) for slug, place in catalogue.places.items()
        },
    )


def tier_of(holder: Holder, place: str) -> Tier:
    release = holder.release
    assert release is not None
    return release.ladder.at(release.catalogue.places[PlaceId(place)], Period.NOW, NOW).tier


async def test_with_keys_every_live_source_is_used(
    small_catalogue: Catalogue, store: Store
) -> None:
    holder = Holder()
    with server(recorded) as url:
        states = await refreshed(url, few_zones(small_catalogue), store, holder)

    assert states == {
        "Electricity Maps v3": "ok",
        "WattTime v3": "ok",
        "EIA-930": "ok",
        "ENTSO-E": "ok",
        "GB Carbon Intensity (NESO)": "ok",
    }
    assert tier_of(holder, "eu-netherlands") is Tier.LIVE
    kept = {(r.source, r.basis, r.signal) for r in store.readings_since(NOW - timedelta(days=3))}
    assert ("ENTSO-E", "lifecycle-production", "average") in kept
    assert ("WattTime v3", "direct", "marginal") in kept


def slow() -> Answer:
    time.sleep(0.7)
    return 200, b"{}"


BROKEN: dict[str, Callable[[str, dict[str, str]], Answer]] = {
    "401": lambda *_: (401, b"{}"),
    "429": lambda *_: (429, b"slow down"),
    "500": lambda *_: (500, b"oops"),
    "not JSON": lambda *_: (200, b"<html>maintenance</html>"),
    "other JSON": lambda *_: (200, b'{"unexpected": []}'),
    "an endless list": lambda *_: (200, b"[" * 50_000),
    "slow": lambda *_: slow(),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_broken_services_are_named_and_the_offline_curve_answers(
    small_catalogue: Catalogue, store: Store, kind: str
) -> None:
    holder = Holder()
    with server(BROKEN[kind]) as url:
        states = await refreshed(url, few_zones(small_catalogue), store, holder)

    assert set(states.values()) == {"unreachable"}
    assert tier_of(holder, "eu-netherlands") is Tier.PROFILE


@pytest.mark.parametrize("value", [-40.0, 1e9])
async def test_impossible_values_never_become_a_figure(
    small_catalogue: Catalogue, store: Store, value: float
) -> None:
    def absurd(path: str, query: dict[str, str]) -> Answer:
        status, body = recorded(path, query)
        if not path.endswith("history"):
            return status, body
        found = json.loads(body)
        for item in found["history"]:
            item["carbonIntensity"] = value
        return 200, json.dumps(found).encode()

    holder = Holder()
    with server(absurd) as url:
        states = await refreshed(url, few_zones(small_catalogue), store, holder)

    assert states["Electricity Maps v3"] == "empty"
    assert tier_of(holder, "eu-netherlands") is Tier.PROFILE


async def test_a_source_that_falls_silent_goes_down_the_ladder_and_recovers(
    small_catalogue: Catalogue, store: Store
) -> None:
    tables = few_zones(small_catalogue)
    place = tables.places[PlaceId("eu-netherlands")]
    with server(recorded) as url:
        await refreshed(url, tables, store, Holder())
    seen = []
    for later in (0, 2, 10, 30):
        holder, now = Holder(), NOW + later * HOUR
        with server(BROKEN["500"]) as url:
            await refreshed(url, tables, store, holder, now)
        assert holder.release is not None
        seen.append(holder.release.ladder.at(place, Period.NOW, now).tier)

    assert seen == [Tier.LIVE, Tier.LIVE_STALE, Tier.PERSISTENCE, Tier.PROFILE]


async def entso_e(body: bytes, zones: tuple[ZoneId, ...] = (FR,)) -> list[tuple[datetime, float]]:
    with server(lambda *_: (200, body)) as url:
        async with httpx.AsyncClient(trust_env=False) as client:
            found = await EntsoE(client, "token", url).readings(zones, NOW)
    return [(reading.start, reading.intensity_g_per_kwh) for reading in found]


async def test_entso_e_weighs_fuels_by_what_they_generated() -> None:
    body = generation({"B14": [300.0] * 4, "B04": [100.0] * 4, "B10": [50.0] * 4})

    assert await entso_e(body) == [
        (datetime(2026, 11, 21, 18, tzinfo=UTC), (300 * 12 + 100 * 490) / 400)
    ]


async def test_entso_e_repeats_a_position_that_is_left_out() -> None:
    short = generation({"B14": [300.0]}, steps=1)

    ((_, value),) = await entso_e(short)

    assert value == pytest.approx(12.0)


async def test_entso_e_without_data_is_empty_and_a_refusal_is_a_fault() -> None:
    def acknowledged(text: str) -> bytes:
        return (
            '<Acknowledgement_MarketDocument xmlns="urn:x"><Reason><code>999</code>'
            f"<text>{text}</text></Reason></Acknowledgement_MarketDocument>"
        ).encode()

    assert await entso_e(acknowledged("No matching data found for Data item")) == []
    with pytest.raises(SourceError, match="Unauthorized"):
        await entso_e(acknowledged("Unauthorized. Missing security token"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", "entities"),
        (b"not xml", "not XML"),
        (b"<Publication/>", "not a generation document"),
        (generation({"B14": [1.0]}, resolution="P1Y"), "resolution"),
        (generation({"B14": []}), "first point"),
    ],
)
async def test_what_is_no_generation_document_is_a_fault(body: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        await entso_e(body)


def test_an_empty_document_parses() -> None:
    assert len(parsed(generation({}))) == 0


def test_errors_are_measured_on_the_nodes_own_hours(catalogue: Catalogue) -> None:
    # 100 and 300 in turn: yesterday's same hour is always right, three hours ago never.
    values = {THIS_HOUR - back * HOUR: 100.0 + 200.0 * (back % 2) for back in range(24 * 20)}

    found = {e.method: e for e in measured_errors(NL, values, None, "own", "CC0")}

    assert found[Method.PERSISTENCE].mean_absolute_error == 0
    assert found[Method.STALE].mean_absolute_error == pytest.approx(1.0)
    assert found[Method.PERSISTENCE].hours == 24 * 19
    assert Method.PROFILE not in found
    assert list(measured_errors(NL, dict(list(values.items())[:50]), None, "own", "CC0")) == []


def test_a_measured_error_widens_the_interval_of_persistence(catalogue: Catalogue) -> None:
    place = catalogue.places[PlaceId("eu-netherlands")]

    assert Ladder(catalogue, {}).error_of(place, Method.PERSISTENCE) == 0.14
    assert [error.method for error in Ladder(catalogue, {}).errors_of(place)] == ["persistence"]
