"""Charts as text: axes, intervals, frontier, lowest hour, thinned traces."""

import hashlib
import itertools
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.charts.curve import Hour, curve
from api.charts.heat import heat_map
from api.charts.palette import CIVIDIS, step
from api.charts.power import SLICES, power_trace, thinned
from api.charts.scale import Axis, linear_axis, log_axis, written
from api.charts.scatter import Mark, frontier, scatter
from api.charts.small import interval_bar, sparkline
from api.footprint import Estimate

ROOT = Path(__file__).parents[2]
POSITIVE = st.floats(1e-3, 1e6)
START = datetime(2026, 11, 21, 14, tzinfo=UTC)


def mark(name: str, x: float, grams: float, status: str = "published") -> Mark:
    carbon = Estimate(value=grams, low=grams / 2, high=grams * 2)
    return Mark(name=name, href=f"/row/{name}", x=x, carbon=carbon, status=status)


@pytest.mark.parametrize(
    ("value", "text"),
    [(12.44, "12.4"), (1234.5, "1,230"), (0.00012345, "0.000123"), (0, "0"), (100, "100")],
)
def test_a_figure_is_written_without_exponent_to_three_digits(value: float, text: str) -> None:
    assert written(value) == text


@given(st.lists(POSITIVE, min_size=1, max_size=30))
def test_a_log_axis_keeps_every_value_and_its_order(values: list[float]) -> None:
    axis = log_axis(values, 0.0, 1_000.0)
    places = [axis.at(value) for value in sorted(values)]

    assert places == sorted(places)
    assert places[0] > 0
    assert places[-1] < 1_000
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())


@given(POSITIVE)
def test_a_linear_axis_has_few_round_ticks_from_zero(high: float) -> None:
    ticks = linear_axis(high, 0.0, 100.0).ticks()

    assert ticks[0] == 0
    assert 3 <= len(ticks) <= 6


def test_values_beyond_an_axis_stick_to_its_ends() -> None:
    axis = Axis(low=0, high=10, start_px=0, end_px=100)

    assert (axis.at(-5), axis.at(50)) == (0, 100)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=40))
def test_nothing_beats_the_frontier_in_both(points: list[tuple[float, float]]) -> None:
    marks = [mark(str(index), x, grams) for index, (x, grams) in enumerate(points)]
    best = frontier(marks)

    for kept in best:
        assert not any(
            other.x < kept.x and other.carbon.value < kept.carbon.value for other in marks
        )
    for other in marks:
        assert any(kept.x <= other.x and kept.carbon.value <= other.carbon.value for kept in best)


def test_a_scatter_draws_each_status_in_a_shape_of_its_own() -> None:
    marks = [mark("a", 1, 10), mark("b", 2, 5, "modelled"), mark("c", 3, 1, "simulated")]
    svg = scatter(marks, x_title="USD", summary="three rows")

    assert svg.count("<circle") == 2
    assert 'class="mark modelled' in svg
    assert "<title>c: 1 g (0.5 to 2), simulated</title><path" in svg
    assert 'aria-label="three rows"' in svg
    assert scatter([], x_title="USD", summary="") == ""


def test_names_in_a_chart_are_escaped() -> None:
    svg = scatter([mark("<b>&", 1, 10)], x_title="USD", summary='"')

    assert "<b>" not in svg
    assert "&lt;b&gt;&amp;" in svg


def test_an_interval_bar_names_its_ends_and_keeps_within_its_scale() -> None:
    svg = interval_bar(Estimate(value=50, low=20, high=400), 100)

    assert 'aria-label="95 % interval 20 to 400"' in svg
    assert 'x="24.0"' in svg
    assert 'width="96.0"' in svg


def test_a_sparkline_marks_the_lowest_hour_and_leaves_a_flat_day_flat() -> None:
    day = sparkline([100.0 + hour % 2 for hour in range(24)], "flat")
    heights = {
        float(point.split(",")[1]) for point in day.split('points="')[1].split('"')[0].split()
    }

    assert max(heights) - min(heights) < 2
    assert 'class="low"' in day


def test_a_curve_marks_now_and_the_lowest_hour() -> None:
    hours = [
        Hour(
            start=START + timedelta(hours=hour),
            intensity=Estimate(value=value, low=value - 10, high=value + 10),
        )
        for hour, value in enumerate([300.0, 200, 100, 250, 400, 300])
    ]
    svg = curve(hours, now_index=1, lowest_index=2, summary="falls, then rises")

    assert "lowest 16:00 UTC: 100 g" in svg
    assert svg.count('class="now"') == 1


def test_a_heat_map_spans_the_whole_scale() -> None:
    table = [[float(month * 24 + hour) for hour in range(24)] for month in range(12)]
    svg = heat_map(table, "rises")

    assert svg.count("<title>") == 288
    assert set(re.findall(r'rx="2" fill="(#\w+)"', svg)) == set(CIVIDIS)


def test_the_scale_grows_evenly_in_lightness() -> None:
    grey = [
        0.2126 * int(c[1:3], 16) + 0.7152 * int(c[3:5], 16) + 0.0722 * int(c[5:7], 16)
        for c in CIVIDIS
    ]

    assert grey == sorted(grey)
    assert min(later - earlier for earlier, later in itertools.pairwise(grey)) > 10
    assert [step(-1), step(0), step(1), step(2)] == [0, 0, 8, 8]


@given(st.lists(st.floats(0, 700), min_size=1, max_size=3_000))
def test_thinning_keeps_extremes_and_order(powers: list[float]) -> None:
    times = [index / 10 for index in range(len(powers))]
    points = thinned(times, powers)

    assert len(points) <= 2 * SLICES
    assert [second for second, _ in points] == sorted(second for second, _ in points)
    assert max(watts for _, watts in points) == max(powers)
    assert min(watts for _, watts in points) == min(powers)


def test_a_trace_without_points_is_no_picture() -> None:
    assert power_trace([], end_s=1.0, summary="none") == ""
    assert "GPU power, W" in power_trace([(0.0, 70.0), (1.0, 300.0)], end_s=1.0, summary="one")


def test_vendored_scripts_are_those_that_the_notice_names() -> None:
    notice = (ROOT / "NOTICE").read_text()

    for name in ("htmx.min.js", "uplot.min.js", "uplot.min.css"):
        digest = hashlib.sha256((ROOT / "api" / "static" / name).read_bytes()).hexdigest()
        assert digest in notice, name
