"""GPU limits: known, unknown, simulated, several at once."""

import json
from importlib.resources import files

import pytest

from protocol.messages import Device
from protocol.units import Watts
from tests.support.factories import DEVICE
from validator.hardware import contradictions, hardware_of, is_simulated, tick_energy


def device(name: str, *, limit_mw: int = 700_000, uuid: str = "GPU-1") -> Device:
    return DEVICE.model_copy(update={"name": name, "uuid": uuid, "power_limit_mw": limit_mw})


def test_a_known_gpu_has_its_datasheets_limits() -> None:
    found = hardware_of([device("NVIDIA H100 80GB HBM3")])

    assert found.known
    assert found.memory_bandwidth_bytes_per_s == 3_350e9
    assert found.power_max == 700.0


def test_a_power_limit_beyond_the_boards_is_cut_to_it() -> None:
    assert hardware_of([device("NVIDIA L4", limit_mw=500_000)]).power_max == 72.0
    assert hardware_of([device("NVIDIA L4", limit_mw=50_000)]).power_max == 50.0


def test_unknown_hardware_gets_wider_bounds_than_any_known() -> None:
    unknown = hardware_of([device("NVIDIA X999", limit_mw=5_000_000)])
    names = [
        gpu["names"][0]
        for gpu in json.loads(files("validator").joinpath("data/hardware.json").read_text())["gpus"]
    ]

    assert not unknown.known
    for known in (hardware_of([device(name, limit_mw=5_000_000)]) for name in names):
        assert unknown.memory_bandwidth_bytes_per_s >= known.memory_bandwidth_bytes_per_s
        assert unknown.peak_flop_per_s >= known.peak_flop_per_s
        assert unknown.power_max >= known.power_max
        assert unknown.idle_min <= known.idle_min
        assert unknown.memory_joules_per_byte <= known.memory_joules_per_byte


def test_two_gpus_add_up() -> None:
    one = hardware_of([device("NVIDIA L4")])
    two = hardware_of([device("NVIDIA L4"), device("NVIDIA L4", uuid="GPU-2")])

    assert two.memory_bandwidth_bytes_per_s == 2 * one.memory_bandwidth_bytes_per_s
    assert two.power_max == 2 * one.power_max
    assert two.idle_min == 2 * one.idle_min


@pytest.mark.parametrize(
    ("name", "uuid", "simulated"),
    [
        ("SIMULATED H100-like", "GPU-1", True),
        ("NVIDIA H100 80GB HBM3", "GPU-SIMULATED-0", True),
        ("simulated", "GPU-1", True),
        ("NVIDIA H100 80GB HBM3", "GPU-1", False),
    ],
)
def test_a_simulated_device_says_so_in_name_or_uuid(
    name: str, uuid: str, *, simulated: bool
) -> None:
    assert is_simulated(device(name, uuid=uuid)) is simulated


def test_every_figure_has_a_source_with_date_and_status() -> None:
    table = json.loads(files("validator").joinpath("data/hardware.json").read_text())
    figures = [
        figure
        for row in (*table["gpus"], table["unknown"], table["simulated"])
        for figure in row.values()
        if isinstance(figure, dict)
    ]

    assert len(figures) >= 4 * len(table["gpus"])
    for figure in figures:
        source = table["sources"][figure["source"]]
        assert len(source["title"]) > 20
        assert source["status"] in {"published", "assumed"}
        assert source["date"].startswith("20")


def test_facts_that_are_not_those_of_the_name_are_counted() -> None:
    honest = device("NVIDIA H100 80GB HBM3")
    lies: dict[str, object] = {
        "architecture": "Ada",
        "memory_mib": 24_564,
        "pci_device_id": 0x2330_1002,
    }

    assert contradictions([honest]) == 0
    assert contradictions([honest.model_copy(update=lies)]) == 3
    assert contradictions([device("NVIDIA X999").model_copy(update=lies)]) == 0


def test_boards_that_may_be_overclocked_get_a_margin() -> None:
    assert hardware_of([device("NVIDIA GeForce RTX 4090")]).memory_bandwidth_bytes_per_s == (
        pytest.approx(1.1 * 1_008e9)
    )


def test_a_tick_is_power_times_time() -> None:
    assert tick_energy(Watts(700.0), 100_000) == pytest.approx(70.0)
