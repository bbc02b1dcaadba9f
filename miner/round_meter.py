"""The meter of rounds: NVML's measurement, held to what a miner signs."""

from collections.abc import Callable
from typing import TypeVar

from miner.measurement import refuse_unless_consistent
from miner.meter import NvmlMeter
from miner.reporting import Energy, build_energy
from miner.session import Stamp

T = TypeVar("T")


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
