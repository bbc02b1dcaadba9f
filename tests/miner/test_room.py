"""What does not fit the machine is refused before it is loaded."""

from pathlib import Path

import pytest

from miner import room
from miner.room import (
    available_bytes,
    free_disk_bytes,
    host_free_bytes,
    refuse_full_disk,
    refuse_too_small,
    refuse_wrong_spread,
)
from protocol.errors import ConfigurationError, WorkloadError
from protocol.models import SizeClass

GIB = 2**30


def test_weights_that_do_not_fit_are_refused_with_both_sizes() -> None:
    with pytest.raises(WorkloadError, match=r"need 15259 MiB in bfloat16, the GPU has 8192 MiB"):
        refuse_too_small(8_000_000_000, "bfloat16", available_bytes=8 * GIB, where="the GPU")
    refuse_too_small(8_000_000_000, "bfloat16", available_bytes=16 * GIB, where="the GPU")


@pytest.mark.parametrize("size_class", ["A", "B"])
def test_classes_a_and_b_stay_on_one_gpu(size_class: SizeClass) -> None:
    with pytest.raises(ConfigurationError, match=f"class {size_class} runs on one GPU"):
        refuse_wrong_spread(size_class, "auto", 2)
    refuse_wrong_spread(size_class, "auto", 1)
    refuse_wrong_spread(size_class, "cuda:0", 2)


def test_class_c_may_be_spread() -> None:
    refuse_wrong_spread("C", "auto", 8)


@pytest.mark.parametrize(
    ("device", "free"), [("cuda:0", 3), ("cuda:1", 5), ("cuda", 3), ("auto", 8), ("cuda:9", 0)]
)
def test_free_memory_is_that_of_the_device(device: str, free: int) -> None:
    assert available_bytes(device, (3, 5)) == free


def test_without_a_gpu_the_host_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_bytes("cpu", (3, 5)) > GIB // 4
    assert available_bytes("auto", ()) > GIB // 4


def test_a_control_group_may_allow_less_than_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(room, "_CGROUP_LIMIT", limit)
    machine = host_free_bytes()

    limit.write_text("1000000\n")
    assert host_free_bytes() == 1_000_000
    limit.write_text("max\n")
    assert host_free_bytes() == pytest.approx(machine, rel=0.5)


def test_a_download_that_the_disk_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="need about 2048 MiB, 1024 MiB are free") as caught:
        refuse_full_disk(2 * GIB, GIB, tmp_path)
    assert "CARBONBENCH_CACHE" in caught.value.hint
    refuse_full_disk(GIB, GIB, tmp_path)


def test_disk_is_asked_where_the_folder_will_lie(tmp_path: Path) -> None:
    assert free_disk_bytes(tmp_path / "not" / "yet") > 0
