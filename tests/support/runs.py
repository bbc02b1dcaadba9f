"""Run reports made by hand: two prompts of 40 input and 10 output tokens, 4 s and 6 s, 1 Wh."""

from dataclasses import replace

from miner.devices import DeviceFacts
from miner.measurement import Flag, Measurement, Method
from miner.reporting import PromptRun, Task
from miner.run_reporting import FinishedRun, Host, build_run_report
from protocol.errors import Error
from protocol.ids import GpuUuid
from protocol.run_report import RunReport
from protocol.units import Joules
from protocol.workload import SMOKE_TAGGED, Workload
from tests.support.miner import MODEL

S = 1_000_000_000
RUNS = (
    PromptRun((1,) * 40, (2,) * 10, (0, 0), (4_000_000, 1_000_000)),
    PromptRun((1,) * 40, (3,) * 10, (4_000_000, 1_000_000), (10_000_000, 3_500_000)),
)
TWO_PROMPTS = replace(SMOKE_TAGGED, prompt_count=2)


def measured(
    method: Method = Method.COUNTER,
    *,
    energy: float = 3_600.0,
    half_width: float = 0.0,
    simulated: bool = False,
) -> Measurement:
    """A window of 10 s; by default of 1 Wh."""
    flags = (Flag.PERSISTENCE_OFF, *((Flag.SIMULATED,) if simulated else ()))
    return Measurement(
        start_ns=0,
        end_ns=10 * S,
        method=method,
        energy=Joules(energy),
        deviation=Joules(half_width / 2),
        half_width=Joules(half_width),
        systematic_ppm=50_000,
        devices=(),
        flags=flags,
    )


def run_report(
    energy: Measurement | Error,
    *,
    workload: Workload = TWO_PROMPTS,
    gpus: tuple[str, ...] = ("NVIDIA H100 80GB HBM3",),
    prefill: Measurement | None = None,
    parameters: int = 8_030_000_000,
) -> RunReport:
    """The two prompts as a report."""
    return build_run_report(
        FinishedRun(
            task=Task(model=MODEL, workload=workload, seed=b""),
            parameters=parameters,
            host=Host(
                engine="transformers",
                device="cuda:0",
                gpus=tuple(gpu(name) for name in gpus),
                platform="Linux-x86_64",
                versions={"torch": "2"},
            ),
            runs=RUNS,
            measured=energy,
            prefill=prefill,
            finished_unix_ms=1_800_000_000_000,
        )
    )


def gpu(name: str) -> DeviceFacts:
    """A GPU of that name."""
    return DeviceFacts(
        index=0,
        uuid=GpuUuid("GPU-1"),
        name=name,
        architecture=9,
        pci_bus_id="00000000:01:00.0",
        pci_device_id=0x233010DE,
        vbios_version="96.00",
        memory_total_bytes=80 * 2**30,
        power_limit_mw=700_000,
        power_limit_default_mw=700_000,
        power_limit_max_mw=700_000,
        ecc_enabled=True,
        persistence_enabled=True,
        mig_enabled=False,
        virtualization_mode=None,
        module_scope=False,
    )
