"""Who plays in the demo: five miners, three of them honest."""

from dataclasses import dataclass

from scripts.devnet.gpu.config import DeviceConfig, GpuConfig, Source
from scripts.devnet.gpu.install import child_environment

SHADED_GAIN = 0.7
"""The shading miner's GPU shows 30 % less than it draws."""
_IDLE_WATTS = 20.0
_WATTS_PER_CPU_SECOND = 250.0
_GPU_NAME = "SIMULATED GPU S1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One miner of the demo."""

    name: str
    behaviour: str
    """What it does, in the words of the table."""
    honest: bool
    gain: float = 1.0
    module: str = "miner.cli"

    def environment(self) -> dict[str, str]:
        """Environment in which its process sees its simulated GPU."""
        return child_environment(self._gpu())

    def _gpu(self) -> GpuConfig:
        """Power follows the process's real CPU time."""
        device = DeviceConfig(
            name=_GPU_NAME,
            uuid=f"GPU-SIMULATED-{self.name}",
            source=Source.WORK,
            idle_watts=_IDLE_WATTS,
            watts_per_cpu_second=_WATTS_PER_CPU_SECOND,
            gain=self.gain,
        )
        return GpuConfig(devices=(device,))


CAST = (
    Part(name="ada", behaviour="honest", honest=True),
    Part(name="ben", behaviour="honest", honest=True),
    Part(name="cleo", behaviour="honest", honest=True),
    Part(name="dan", behaviour="shades joules by 30 %", honest=False, gain=SHADED_GAIN),
    Part(name="eve", behaviour="runs int4 weights", honest=False, module="scripts.devnet.cheats"),
)
VALIDATOR = "vera"
