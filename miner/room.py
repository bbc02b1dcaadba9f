"""Whether a run fits this machine: memory for the model, disk for its files, GPUs for its class."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from protocol.errors import ConfigurationError, WorkloadError
from protocol.models import Dtype, SizeClass, weights_bytes
from protocol.units import mebibytes

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_MEMORY_FACTS = Path("/proc/meminfo")
_KIBIBYTE = 1024


def refuse_too_small(parameters: int, dtype: Dtype, *, available_bytes: int, where: str) -> None:
    """Refuse a model whose weights alone do not fit, before minutes go into loading it.

    Args:
        parameters: The model's.
        dtype: Number format it is loaded in.
        available_bytes: Memory that is free for it.
        where: Whose memory, for the message.

    Raises:
        WorkloadError: If so.
    """
    needed = weights_bytes(parameters, dtype)
    if needed > available_bytes:
        raise WorkloadError(
            f"the weights need {mebibytes(needed):.0f} MiB in {dtype}, "
            f"{where} has {mebibytes(available_bytes):.0f} MiB free",
            hint="End other processes, choose a smaller model or dtype, or `--device spread`.",
        )


def refuse_wrong_spread(size_class: SizeClass, device: str, gpu_count: int) -> None:
    """Hold class A and B to one GPU: spread over several, a result does not count there.

    Raises:
        ConfigurationError: If such a model is to be spread.
    """
    if device == "auto" and gpu_count > 1 and size_class != "C":
        raise ConfigurationError(
            f"a model of class {size_class} runs on one GPU, not spread over {gpu_count}",
            hint="Leave --device out, or choose the GPU with CUDA_VISIBLE_DEVICES.",
        )


def available_bytes(device: str, gpu_free_bytes: Sequence[int]) -> int:
    """Memory that a model can be loaded into.

    Args:
        device: Torch device: `cpu`, `cuda:1`, or `auto` for all GPUs.
        gpu_free_bytes: Free memory of each GPU.
    """
    if device == "cpu" or not gpu_free_bytes:
        return host_free_bytes()
    if device == "auto":
        return sum(gpu_free_bytes)
    index = device.partition(":")[2]
    number = int(index) if index.isdecimal() else 0
    return gpu_free_bytes[number] if number < len(gpu_free_bytes) else 0


def host_free_bytes() -> int:
    """Memory that this process can still have: of the machine, and within its control group."""
    return min(_machine_free_bytes(), _group_limit_bytes())


def refuse_full_disk(needed_bytes: int, free_bytes: int, folder: Path) -> None:
    """Refuse a download that the disk has no room for.

    Raises:
        WorkloadError: If so.
    """
    if needed_bytes > free_bytes:
        raise WorkloadError(
            f"the files need about {mebibytes(needed_bytes):.0f} MiB, "
            f"{mebibytes(free_bytes):.0f} MiB are free at {folder}",
            hint="Make room, or set CARBONBENCH_CACHE to a folder on a larger disk.",
        )


def free_disk_bytes(folder: Path) -> int:
    """Free space where a folder lies or will lie."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return shutil.disk_usage(existing).free


def _machine_free_bytes() -> int:
    for line in _MEMORY_FACTS.read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * _KIBIBYTE
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _group_limit_bytes() -> int:
    try:
        limit = _CGROUP_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        limit = "max"
    return int(limit) if limit.isdecimal() else _machine_free_bytes()
