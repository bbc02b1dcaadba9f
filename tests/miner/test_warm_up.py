"""A warm-up ends when power and temperature stand still, or when its time is up."""

import pytest

from miner.power_trace import TraceRow
from miner.refusals import GpuLostError
from miner.warm_up import is_steady
from scripts.devnet.gpu.config import Segment
from tests.support.metering import meter_bench

GPU_IS_LOST = 15


def rows(
    *, seconds: int, watts_per_second: float = 0.0, celsius_per_second: float | None = 0.0
) -> list[TraceRow]:
    return [
        TraceRow(
            at_ns=n * 100_000_000,
            power_mw=round(400_000 + 100 * watts_per_second * n),
            average_power_mw=400_000,
            temperature_c=(
                None if celsius_per_second is None else round(60 + celsius_per_second * n / 10)
            ),
            sm_clock_mhz=1980,
        )
        for n in range(10 * seconds)
    ]


@pytest.mark.parametrize(
    ("trace", "steady"),
    [
        (rows(seconds=31), True),
        (rows(seconds=31, celsius_per_second=None), True),
        (rows(seconds=20), False),
        ([], False),
        (rows(seconds=31, watts_per_second=0.1), True),
        (rows(seconds=31, watts_per_second=0.5), False),
        (rows(seconds=31, celsius_per_second=0.2), False),
        (rows(seconds=100, celsius_per_second=0.2), False),
        ([*rows(seconds=31, celsius_per_second=1.0)[:20], *rows(seconds=60)[20:]], True),
    ],
)
def test_steady_is_what_stood_still_for_half_a_minute(trace: list[TraceRow], steady: bool) -> None:
    assert is_steady(trace) is steady


def test_a_warm_up_ends_once_the_device_is_steady() -> None:
    """The simulated heat sink needs 30 s, so 40 to 60 s of constant load are enough."""
    with meter_bench() as bench:
        warmed = bench.meter.warm_up(lambda: bench.load(400, 1.0), longest_seconds=120)

    assert warmed.is_steady
    assert 30 <= warmed.duration < 90
    assert warmed.turns == pytest.approx(warmed.duration, rel=0.02)


def test_a_warm_up_of_a_load_that_never_settles_ends_when_its_time_is_up() -> None:
    with meter_bench() as bench:
        ramp = Segment(duration_seconds=300, start_watts=100, end_watts=600)
        bench.device.play([ramp])
        warmed = bench.meter.warm_up(lambda: bench.timer.sleep(1.0))

    assert not warmed.is_steady
    assert 60 <= warmed.duration <= 62


def test_a_gpu_lost_while_it_warms_up_is_named() -> None:
    with meter_bench() as bench:

        def work() -> None:
            bench.timer.sleep(1.0)
            bench.device.fail("nvmlDeviceGetFieldValues", code=GPU_IS_LOST)

        with pytest.raises(GpuLostError):
            bench.meter.warm_up(work, longest_seconds=5)


def test_a_window_after_a_warm_up_is_measured_as_ever() -> None:
    with meter_bench() as bench:
        bench.meter.warm_up(lambda: bench.load(400, 1.0), longest_seconds=3)
        with bench.meter.window() as window:
            bench.load(400, 1.0)

    assert window.measurement.energy == pytest.approx(400, rel=1e-3)
