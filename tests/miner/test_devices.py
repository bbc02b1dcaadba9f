"""Which devices are metered, and which are refused."""

from dataclasses import replace

import pytest

from miner.devices import (
    DeviceFacts,
    Exclusivity,
    exclusivity,
    refuse_foreign,
    refuse_unless_same_devices,
    refuse_unmeasurable,
    visible_indices,
)
from miner.refusals import (
    CounterUnsupportedError,
    DeviceListsDifferError,
    ForeignProcessesError,
    MeterError,
    MigEnabledError,
    NoDevicesError,
    VgpuError,
    WrongScopeError,
)
from protocol.ids import GpuUuid

H100 = DeviceFacts(
    index=0,
    uuid=GpuUuid("GPU-aaaa-0000"),
    name="NVIDIA H100 80GB HBM3",
    architecture=9,
    pci_bus_id="00000000:01:00.0",
    pci_device_id=0x233010DE,
    vbios_version="96.00.30.00.01",
    memory_total_bytes=85_520_809_984,
    power_limit_mw=700_000,
    power_limit_default_mw=700_000,
    power_limit_max_mw=700_000,
    ecc_enabled=True,
    persistence_enabled=True,
    mig_enabled=False,
    virtualization_mode=0,
    module_scope=False,
)
SECOND = replace(H100, index=1, uuid=GpuUuid("GPU-bbbb-0001"))
OTHER = replace(H100, index=1, uuid=GpuUuid("GPU-bbbb-0001"), name="NVIDIA L4")


def test_a_whole_gpu_is_measured() -> None:
    refuse_unmeasurable(H100)
    refuse_unmeasurable(replace(H100, virtualization_mode=1))
    refuse_unmeasurable(replace(H100, architecture=None, virtualization_mode=None))


@pytest.mark.parametrize(
    ("device", "refusal"),
    [
        (replace(H100, mig_enabled=True), MigEnabledError),
        (replace(H100, virtualization_mode=2), VgpuError),
        (replace(H100, virtualization_mode=3), VgpuError),
        (replace(H100, module_scope=True), WrongScopeError),
        (replace(H100, architecture=4), CounterUnsupportedError),
    ],
)
def test_part_of_a_gpu_or_more_than_one_is_refused(
    device: DeviceFacts, refusal: type[MeterError]
) -> None:
    with pytest.raises(refusal):
        refuse_unmeasurable(device)


@pytest.mark.parametrize(
    ("environment", "indices"),
    [
        ({}, (0, 1)),
        ({"CUDA_VISIBLE_DEVICES": "1"}, (1,)),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, (1, 0)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-bbbb"}, (1,)),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, (0,)),
    ],
)
def test_devices_that_cuda_shows_are_chosen(
    environment: dict[str, str], indices: tuple[int, ...]
) -> None:
    assert visible_indices(environment, [H100, SECOND]) == indices


@pytest.mark.parametrize(
    ("selection", "refusal"),
    [
        ("", NoDevicesError),
        ("-1", NoDevicesError),
        ("7", DeviceListsDifferError),
        ("GPU-cccc", DeviceListsDifferError),
        ("GPU-", DeviceListsDifferError),
        ("MIG-aaaa", MigEnabledError),
    ],
)
def test_a_selection_that_names_no_whole_gpu_is_refused(
    selection: str, refusal: type[MeterError]
) -> None:
    with pytest.raises(refusal):
        visible_indices({"CUDA_VISIBLE_DEVICES": selection}, [H100, SECOND])


def test_unlike_gpus_need_the_order_of_the_bus() -> None:
    selected = {"CUDA_VISIBLE_DEVICES": "1"}

    with pytest.raises(DeviceListsDifferError):
        visible_indices(selected, [H100, OTHER])

    in_order = selected | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible_indices(in_order, [H100, OTHER]) == (1,)


def test_cuda_uuids_are_compared_without_prefix_and_case() -> None:
    refuse_unless_same_devices([H100], ["AAAA-0000"])
    refuse_unless_same_devices([H100], ["GPU-aaaa-0000"])

    with pytest.raises(DeviceListsDifferError):
        refuse_unless_same_devices([H100], ["GPU-bbbb-0001"])


@pytest.mark.parametrize(
    ("listed", "state"),
    [
        (None, Exclusivity.UNKNOWN),
        ([], Exclusivity.UNKNOWN),
        ([10], Exclusivity.OURS),
        ([10, 11], Exclusivity.OURS),
        ([10, 99], Exclusivity.FOREIGN),
        ([50], Exclusivity.FOREIGN),
        ([99], Exclusivity.UNKNOWN),
        ([99, 98], Exclusivity.FOREIGN),
    ],
)
def test_who_uses_a_device(listed: list[int] | None, state: Exclusivity) -> None:
    """We are 10 and 11; 50 is somebody else; 98 and 99 are host PIDs that mean nothing here."""
    assert exclusivity(listed, {10, 11}, {10, 11, 50}) is state


def test_foreign_processes_are_refused() -> None:
    refuse_foreign(H100, Exclusivity.UNKNOWN)

    with pytest.raises(ForeignProcessesError):
        refuse_foreign(H100, Exclusivity.FOREIGN)


def test_a_device_says_itself_that_it_is_simulated() -> None:
    assert not H100.is_simulated
    assert replace(H100, name="SIMULATED H100-like").is_simulated
    assert H100.architecture_name == "Hopper"
    assert replace(H100, architecture=99).architecture_name == "unknown"
