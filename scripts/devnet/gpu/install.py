"""Put simulated GPUs under the real `pynvml`, in this process or in child processes."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pynvml

from protocol.errors import ConfigurationError
from scripts.devnet.gpu.config import GpuConfig
from scripts.devnet.gpu.device import SimulatedDevice
from scripts.devnet.gpu.library import SimulatedLibrary

ENVIRONMENT_VARIABLE = "CARBONBENCH_SIMULATED_GPU"
"""JSON of a `GpuConfig`, or the path of a file that holds it; set by orchestrators for children."""
_SITE_FOLDER = Path(__file__).parent / "site"
_REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedGpus:
    """Simulated GPUs that are installed."""

    devices: tuple[SimulatedDevice, ...]
    library: SimulatedLibrary


def install(config: GpuConfig, *, now_ns: Callable[[], int] = time.monotonic_ns) -> SimulatedGpus:
    """Put simulated GPUs under `pynvml` for the rest of this process.

    Args:
        config: The machine's GPUs.
        now_ns: Monotonic clock, real or virtual.
    """
    devices = tuple(
        SimulatedDevice(device, index=index, now_ns=now_ns)
        for index, device in enumerate(config.devices)
    )
    library = SimulatedLibrary(config, devices)
    _put_under_pynvml(library)
    return SimulatedGpus(devices=devices, library=library)


@contextmanager
def simulated_gpus(
    config: GpuConfig | None = None, *, now_ns: Callable[[], int] = time.monotonic_ns
) -> Iterator[SimulatedGpus]:
    """Simulated GPUs within a `with` block; what was under `pynvml` before comes back."""
    before = pynvml.nvmlLib
    gpus = install(config or GpuConfig(), now_ns=now_ns)
    try:
        yield gpus
    finally:
        _put_under_pynvml(before)


def install_from_environment() -> SimulatedGpus:
    """Install what `CARBONBENCH_SIMULATED_GPU` describes.

    Raises:
        ConfigurationError: If it is neither JSON of a `GpuConfig` nor a readable file of it.
    """
    return install(config_from_text(os.environ[ENVIRONMENT_VARIABLE]))


def config_from_text(text: str) -> GpuConfig:
    """The configuration in a JSON text, or in the file that the text names.

    Raises:
        ConfigurationError: If it is neither.
    """
    try:
        document = text if text.lstrip().startswith("{") else Path(text).read_text()
        return GpuConfig.model_validate(json.loads(document))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{ENVIRONMENT_VARIABLE} describes no simulated GPU: {error}",
            hint="Unset it to use the real GPU, or give the JSON of a GpuConfig.",
        ) from error


def child_environment(config: GpuConfig) -> dict[str, str]:
    """Environment under which a Python child process sees simulated GPUs.

    The fake goes in at the child's first `import pynvml`; a child that never imports it pays
    nothing. Merge with (and over) the environment that the child gets anyway.
    """
    inherited = os.environ.get("PYTHONPATH", "")
    folders = [str(_SITE_FOLDER), str(_REPOSITORY), *([inherited] if inherited else [])]
    return {
        ENVIRONMENT_VARIABLE: config.model_dump_json(exclude_defaults=True),
        "PYTHONPATH": os.pathsep.join(folders),
    }


def _put_under_pynvml(library: object | None) -> None:
    pynvml.nvmlLib = library
    pynvml._nvmlGetFunctionPointer_cache.clear()
