"""The meter of rounds: NVML's measurement, held to what a miner signs."""

import platform
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import TypeVar

from miner.evidence import build_device, build_nvml_environment
from miner.measurement import refuse_unless_consistent
from miner.meter import NvmlMeter
from miner.nvml import mapped_library_digest
from miner.ports import Stamp
from miner.reporting import Energy, Machine, build_energy
from protocol.errors import ConfigurationError
from protocol.generation import cuda_uuids
from protocol.messages import Environment

T = TypeVar("T")


def refuse_unmetered(meter: NvmlMeter, device: str) -> None:
    """Refuse to meter other devices than those that do the work.

    A simulated GPU stands for whatever the work runs on.

    Args:
        meter: The meter.
        device: Torch device of the work.

    Raises:
        ConfigurationError: If the work runs on the CPU beside a real GPU.
        DeviceListsDifferError: If CUDA runs on a GPU that is not metered.
    """
    if meter.is_simulated:
        return
    if device == "cpu":
        raise ConfigurationError(
            "the model would run on the CPU, and the meter would read an idle GPU",
            hint="Install torch with CUDA, or set MINER_DEVICE=cuda:0.",
        )
    meter.refuse_unless_same_devices(cuda_uuids())


class RoundMeter:
    """Measures as `NvmlMeter` does, and refuses what only a private look could use.

    Args:
        meter: The meter, held open.
    """

    def __init__(self, meter: NvmlMeter) -> None:
        self._meter = meter

    def measure(
        self, work: Callable[[Stamp], T], synchronise: Callable[[], None]
    ) -> tuple[T, Energy]:
        """The work's result and the energy of its window, idle edges observed.

        Raises:
            MeterError: If there is no number that we would sign.
        """
        result, measurement = self._meter.measure(work, synchronise)
        refuse_unless_consistent(measurement)
        return result, build_energy(measurement)

    def machine(self, engine: str) -> Machine:
        """What reports say about this machine.

        Args:
            engine: Name of the inference engine.

        Raises:
            MeterError: If a board does not tell what every report must state.
        """
        nvml = build_nvml_environment(
            self._meter.driver,
            is_simulated=self._meter.is_simulated,
            library_digest=mapped_library_digest(),
        )
        environment = Environment(
            **asdict(nvml),
            python_version=platform.python_version(),
            torch_version=version("torch"),
            transformers_version=version("transformers"),
            carbonbench_version=version("carbonbench"),
            platform=f"{platform.system()}-{platform.machine()}",
        )
        devices = tuple(build_device(facts) for facts in self._meter.devices)
        return Machine(devices=devices, environment=environment, engine=engine)
