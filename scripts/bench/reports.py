"""A large honest report of a round: 1,000 prompts, numbers with many digits, a sketch for each.

Values have as many digits as a long run of a large model gives them, and the evidence has more
rows than a report may carry, so that it is thinned as in a real one.
"""

import random

from miner.reporting import Assignment, Energy, Identity, Machine, build_report
from protocol.canonical import canonical_bytes
from protocol.ids import BlockHash, GenesisHash, Hotkey, Netuid, RoundNumber
from protocol.messages import (
    CounterTrace,
    Device,
    DeviceEnergy,
    Environment,
    Leaf,
    MeterKind,
    ModelRef,
    PowerTrace,
)
from protocol.sketch import SKETCH_POSITIONS, pack_sketch
from protocol.units import Microseconds, Millijoules, PartsPerMillion
from protocol.workload import FULL_TAGGED

_SEED = 1
_VOCABULARY = 256_000
_LONGEST_PROMPT = 18_217
"""GPT-2 tokens of the longest public prompt."""
_NEW_TOKENS = 10
_PROMPT_US, _PROMPT_MJ = 3_000_000, 2_100_000
"""3 s and 2,100 J a prompt: the largest models of the published leaderboard."""
_ROWS, _CHANGES = 1_200, 1_200
"""Evidence of two minutes at 10 Hz, before it is thinned."""
_HOTKEY = Hotkey("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY")


def full_report_bytes(prompts: int) -> int:
    """Size of the canonical report of a round with so many prompts."""
    chance = random.Random(_SEED)  # noqa: S311 - the same report every time
    leaves = tuple(_leaf(index, chance) for index in range(prompts))
    energy = Energy(
        energy_mj=Millijoules(prompts * _PROMPT_MJ),
        duration_us=Microseconds(prompts * _PROMPT_US),
        systematic_ppm=PartsPerMillion(50_000),
        by_device=(_device_energy(prompts * _PROMPT_MJ),),
    )
    return len(canonical_bytes(build_report(_assignment(), leaves, energy, _machine())))


def _leaf(index: int, chance: random.Random) -> Leaf:
    return Leaf(
        index=index,
        input_tokens=chance.randrange(1, _LONGEST_PROMPT),
        input_digest=f"{chance.getrandbits(64):016x}",
        output_ids=tuple(chance.randrange(_VOCABULARY) for _ in range(_NEW_TOKENS)),
        start_us=index * _PROMPT_US,
        end_us=(index + 1) * _PROMPT_US,
        start_mj=index * _PROMPT_MJ,
        end_mj=(index + 1) * _PROMPT_MJ,
        sketch=pack_sketch([chance.gauss(0, 1) for _ in range(SKETCH_POSITIONS)]),
    )


def _device_energy(energy_mj: int) -> DeviceEnergy:
    return DeviceEnergy(
        uuid="GPU-01234567-89ab-cdef-0123-456789abcdef",
        energy_mj=energy_mj,
        counter_start_mj=10**12,
        counter_end_mj=10**12 + energy_mj,
        trace_energy_mj=energy_mj,
        idle_before_mw=71_234,
        idle_after_mw=71_234,
        tick_us=100_000,
        edges="idle",
        edge_uncertainty_ppm=1_234,
        flags=(),
        trace=PowerTrace(
            elapsed_ms=tuple(range(0, 100 * _ROWS, 100)),
            power_mw=(699_123,) * _ROWS,
            average_power_mw=(698_456,) * _ROWS,
            temperature_c=(71,) * _ROWS,
            sm_clock_mhz=(1_980,) * _ROWS,
        ),
        counter=CounterTrace(
            elapsed_us=tuple(range(0, 100_000 * _CHANGES, 100_000)),
            energy_mj=tuple(range(10**12, 10**12 + 70_000 * _CHANGES, 70_000)),
        ),
    )


def _assignment() -> Assignment:
    return Assignment(
        identity=Identity(
            genesis_hash=GenesisHash("0x" + "ab" * 32), netuid=Netuid(1), hotkey=_HOTKEY
        ),
        round=RoundNumber(123_456),
        block_hash=BlockHash("0x" + "cd" * 32),
        model=ModelRef(
            id="meta-llama/Meta-Llama-3-70B",
            revision="0123456789abcdef0123456789abcdef01234567",
            weights_digest="ef" * 32,
            dtype="bfloat16",
        ),
        workload=FULL_TAGGED,
    )


def _machine() -> Machine:
    device = Device(
        uuid="GPU-01234567-89ab-cdef-0123-456789abcdef",
        name="NVIDIA H100 80GB HBM3",
        architecture="Hopper",
        pci_bus_id="00000000:01:00.0",
        pci_device_id=0x233010DE,
        vbios_version="96.00.89.00.01",
        memory_mib=81_559,
        power_limit_mw=700_000,
        power_limit_default_mw=700_000,
        power_limit_max_mw=700_000,
        ecc_enabled=True,
        persistence_enabled=True,
    )
    environment = Environment(
        meter=MeterKind.NVML,
        driver_version="580.65.06",
        nvml_version="13.580.65.06",
        cuda_version="13.0",
        nvml_library_digest="01" * 32,
        python_version="3.11.7",
        torch_version="2.13.0",
        transformers_version="5.23.0",
        carbonbench_version="0.1.0",
        platform="Linux-x86_64",
    )
    return Machine(devices=(device,), environment=environment, engine="transformers")
