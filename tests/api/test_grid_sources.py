"""Live grid sources against a server in their recorded shapes, faults included."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.catalogue import Catalogue, ZoneId
from api.grid import asking
from api.grid.asking import RefusedError
from api.grid.eia import Eia
from api.grid.electricity_maps import ElectricityMaps
from api.grid.fitting import fit_shape
from api.grid.great_britain import GreatBritain
from api.grid.intensity import IntensitySource, Reading
from api.grid.readings import LiveReadings, is_sane
from api.grid.shape import relative
from api.grid.watttime import WattTime
from api.store import Store
from protocol.errors import SourceError

NOW = datetime(2026, 11, 21, 20, 15, tzinfo=UTC)
NL = ZoneId("NL")
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(asking, "LONGEST_PAUSE_SECONDS", 0.0)


def client(handler: Handler) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(handler))


def em_answer(request: httpx.Request) -> httpx.Response:
    assert request.headers["auth-token"] == "token"
    assert request.url.params["disableCallerLookup"] == "true"
    zone = request.url.params["zone"]
    hours = [
        {
            "zone": zone,
            "carbonIntensity": 200 + back,
            "datetime": (NOW.replace(minute=0) - timedelta(hours=back)).isoformat(),
            "updatedAt": NOW.isoformat(),
            "emissionFactorType": "lifecycle",
            "isEstimated": back < 2,
            "estimationMethod": None,
        }
        for back in range(24)
    ]
    return httpx.Response(200, json={"zone": zone, "history": hours})


async def test_electricity_maps_gives_the_hours_of_a_day() -> None:
    source = ElectricityMaps(client(em_answer), "token", "http://em")

    found = await source.readings([NL], NOW)

    assert len(found) == 24
    assert found[0].intensity_g_per_kwh == 200
    assert found[0].is_estimated
    assert not found[5].is_estimated
    assert not found[0].is_redistributable


async def test_zones_outside_the_plan_are_left_out() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return em_answer(request) if request.url.params["zone"] == "NL" else httpx.Response(403)

    found = await ElectricityMaps(client(answer), "token", "http://em").readings(
        [NL, ZoneId("DE")], NOW
    )

    assert {reading.zone for reading in found} == {"NL"}


@pytest.mark.parametrize(
    ("answer", "fault", "said"),
    [
        (httpx.Response(401), RefusedError, "401"),
        (httpx.Response(429, headers={"retry-after": "3600"}), SourceError, "429"),
        (httpx.Response(500), SourceError, "500"),
        (httpx.Response(200, content=b"<html>"), SourceError, "not JSON"),
        (httpx.Response(200, content=b"[" * 100_000), SourceError, "not JSON"),
        (httpx.Response(200, json=[1]), SourceError, "not for NL"),
        (httpx.Response(200, json={"zone": "FR", "history": []}), SourceError, "not for NL"),
        (httpx.Response(200, json={"zone": "NL"}), SourceError, "no list"),
        (
            httpx.Response(200, json={"zone": "NL", "history": [{"datetime": "soon"}]}),
            SourceError,
            "not a time",
        ),
        (
            httpx.Response(
                200,
                content=b'{"zone":"NL","history":[{"datetime":"2026-11-21T20:00Z",'
                b'"carbonIntensity":NaN}]}',
            ),
            SourceError,
            "not a number",
        ),
    ],
)
async def test_a_bad_answer_is_a_source_error(
    answer: httpx.Response, fault: type[SourceError], said: str
) -> None:
    source = ElectricityMaps(client(lambda _: answer), "token", "http://em")

    with pytest.raises(fault, match=said):
        await source.readings([NL], NOW)


async def test_a_passing_fault_is_tried_again() -> None:
    answers = iter([httpx.Response(503), httpx.Response(429)])
    source = ElectricityMaps(
        client(lambda request: next(answers, None) or em_answer(request)), "token", "http://em"
    )

    assert len(await source.readings([NL], NOW)) == 24


async def test_a_slow_source_is_a_source_error() -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too slow", request=request)

    with pytest.raises(SourceError, match="ReadTimeout"):
        await ElectricityMaps(client(slow), "token", "http://em").readings([NL], NOW)


async def test_great_britain_is_direct_and_averages_half_hours() -> None:
    body = {
        "data": [
            {
                "from": "2026-11-21T18:00Z",
                "to": "2026-11-21T18:30Z",
                "intensity": {"forecast": 100, "actual": 90, "index": "low"},
            },
            {
                "from": "2026-11-21T18:30Z",
                "to": "2026-11-21T19:00Z",
                "intensity": {"forecast": 100, "actual": 110, "index": "low"},
            },
            {
                "from": "2026-11-21T20:00Z",
                "to": "2026-11-21T20:30Z",
                "intensity": {"forecast": 100, "actual": None, "index": "low"},
            },
        ]
    }
    source = GreatBritain(client(lambda _: httpx.Response(200, json=body)), "http://gb")

    (found,) = await source.readings([ZoneId("GB")], NOW)

    assert (found.intensity_g_per_kwh, found.basis) == (100.0, "direct")
    assert await source.readings([NL], NOW) == []


async def test_watttime_is_marginal_and_converts_pounds() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/login":
            return httpx.Response(200, json={"token": "t"})
        if request.url.params["region"] != "NL":
            return httpx.Response(403)
        data = [{"point_time": "2026-11-21T18:05:00+00:00", "value": 1000.0}]
        return httpx.Response(200, json={"data": data})

    source = WattTime(client(answer), "user", "password", "http://wt")

    (found,) = await source.readings([NL, ZoneId("DE")], NOW)

    assert found.intensity_g_per_kwh == pytest.approx(453.59237)
    assert found.signal == "marginal"


async def test_one_region_that_watttime_does_not_answer_for_spares_the_others() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/login":
            return httpx.Response(200, json={"token": "t"})
        if request.url.params["region"] != "NL":
            return httpx.Response(500)
        data = [{"point_time": "2026-11-21T18:05:00+00:00", "value": 1000.0}]
        return httpx.Response(200, json={"data": data})

    source = WattTime(client(answer), "user", "password", "http://wt")

    (found,) = await source.readings([ZoneId("DE"), NL], NOW)

    assert found.zone == NL


async def test_eia_is_computed_from_generation() -> None:
    def item(fuel: str, value: str) -> dict[str, str]:
        return {"period": "2026-11-21T10", "respondent": "PJM", "fueltype": fuel, "value": value}

    data = [item("COL", "100"), item("NUC", "300"), item("WAT", "-50"), item("???", "100")]
    body = {"response": {"total": 4, "data": data}}
    source = Eia(client(lambda _: httpx.Response(200, json=body)), "key", "http://eia")

    (found,) = await source.readings([ZoneId("US-MIDA-PJM"), NL], NOW)

    assert found.intensity_g_per_kwh == pytest.approx((82_000 + 3_600 + 23_000) / 500)
    assert found.basis == "lifecycle-production"


THIS_HOUR = NOW.replace(minute=0)


def reading(value: float, start: datetime = THIS_HOUR) -> Reading:
    return Reading(
        zone=NL,
        start=start,
        end=start + timedelta(hours=1),
        intensity_g_per_kwh=value,
        basis="lifecycle",
        signal="average",
        is_estimated=False,
        source="test",
        licence="CC0",
        is_redistributable=True,
    )


@pytest.mark.parametrize("value", [-1.0, 3_001.0])
def test_impossible_values_are_dropped(value: float) -> None:
    assert not is_sane(reading(value), NOW)


def test_values_from_the_future_are_dropped() -> None:
    assert is_sane(reading(100.0), NOW)
    assert not is_sane(reading(100.0, NOW + timedelta(hours=2)), NOW)


class Source:
    """An `IntensitySource` that says what it is told to."""

    def __init__(self, name: str, answer: list[Reading] | SourceError) -> None:
        self.name = name
        self.answer = answer
        self.asked = 0

    async def readings(self, zones: object, now: datetime) -> list[Reading]:
        self.asked += 1
        if isinstance(self.answer, SourceError):
            raise self.answer
        return self.answer


async def test_one_failing_source_is_named_and_the_other_goes_on(store: Store) -> None:
    good, bad = Source("good", [reading(250.0), reading(-5.0)]), Source("bad", SourceError("401"))
    sources: list[IntensitySource] = [good, bad]
    live = LiveReadings(sources, [NL], store)

    await live.pull(NOW)

    assert {state.name: state.state for state in live.states()} == {
        "good": "ok",
        "bad": "unreachable",
    }
    assert [r.intensity_g_per_kwh for r in live.history(NOW)[NL].values()] == [250.0]


async def test_no_source_is_asked_twice_within_ten_minutes(store: Store) -> None:
    source = Source("good", [reading(250.0)])
    live = LiveReadings([source], [NL], store)

    for minutes in (0, 5, 9, 11):
        await live.pull(NOW + timedelta(minutes=minutes))

    assert source.asked == 2


async def test_a_clock_that_was_set_back_does_not_silence_a_source(store: Store) -> None:
    source = Source("good", [reading(250.0)])
    live = LiveReadings([source], [NL], store)

    for hours in (0, -3):
        await live.pull(NOW + timedelta(hours=hours))

    assert source.asked == 2


async def test_direct_and_marginal_readings_never_enter_the_ladder(store: Store) -> None:
    from dataclasses import replace

    direct = replace(reading(1.0), basis="direct")
    marginal = replace(reading(2.0), signal="marginal", source="other")
    live = LiveReadings([Source("s", [direct, marginal])], [NL], store)

    await live.pull(NOW)

    assert live.history(NOW) == {}


def test_a_fit_finds_the_curve_that_made_the_samples(catalogue: Catalogue) -> None:
    shape = catalogue.shapes[NL]
    start = datetime(2025, 1, 1, tzinfo=UTC)
    hours = [start + timedelta(hours=5 * step) for step in range(365 * 24 // 5)]

    fitted = fit_shape(NL, [(h, 250 * relative(shape, h)) for h in hours], "test", "CC0")

    for mine, theirs in zip(fitted.coefficients, shape.coefficients, strict=True):
        assert mine == pytest.approx(theirs, abs=2e-3)
    assert fitted.mean_absolute_error < 1e-3


def test_too_short_a_history_is_not_fitted() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit_shape(NL, [(NOW, 1.0)], "test", "CC0")
