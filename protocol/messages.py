"""All of the network's data: profile, commitment, report, verdict, round, tree head.

In the order of a round: a miner serves its `Profile`, is assigned a model, runs it, and signs a
`Commitment` to its `Report` before anyone knows which prompts will be re-scored; each validator
signs a `Verdict` on it, and a `RoundRecord` that turns the verdicts into cell values, scores and
weights; both go into the validator's log, whose `TreeHead` it signs.

Messages are frozen, closed (unknown keys are refused), strict (no conversions) and versioned. They
hold integers below 2^53, strings, booleans, lists and objects only: mJ, micro-Wh, micro-s, ppm.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from protocol.constants import PROTOCOL_VERSION

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
BlockHashHex = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Ss58 = Annotated[str, Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{46,49}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Integer = Annotated[int, Field(gt=-(2**53), lt=2**53)]
Text = Annotated[str, Field(max_length=200)]
TokenIds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(max_length=4096)]
_OMITTED = Field(exclude_if=lambda value: value is None)  # signed bytes stay what they were
# No `Literal`: pydantic takes `true` and `1.0` for the literal 1, even in strict mode.
Version = Annotated[int, Field(ge=PROTOCOL_VERSION, le=PROTOCOL_VERSION)]


class Status(StrEnum):
    """What stands behind a figure; never mixed unlabelled in one ranking."""

    VERIFIED = "verified"
    """Measured by miners and checked by validators."""
    PUBLISHED = "published"
    """Taken from a named publication."""
    MODELLED = "modelled"
    """Computed from a model with low and high."""
    ASSUMED = "assumed"
    """A convention, with a stated range."""
    ESTIMATED = "estimated"
    """Estimated from load or nameplate, without an energy counter."""
    SIMULATED = "simulated"
    """From a simulated device: demo and tests only."""


class MeterKind(StrEnum):
    """Where the joules of a report come from."""

    NVML = "nvml"
    SIMULATED_NVML = "simulated-nvml"
    ESTIMATED = "estimated"


class Message(BaseModel):
    """Base of everything on the wire."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class NetworkMessage(Message):
    """A message that stands alone and is signed."""

    version: Version = PROTOCOL_VERSION
    genesis_hash: BlockHashHex
    """Chain on which this message counts."""
    netuid: Annotated[int, Field(ge=0, lt=2**16)]


class ModelRef(Message):
    """One model by repository and commit (or the carrying package's version), and its weights."""

    id: Text
    revision: Text
    weights_digest: Sha256
    """SHA-256 over the weight files, as `protocol.model_files.weights_digest` defines it."""
    dtype: Literal["float32", "bfloat16", "float16"]


class Device(Message):
    """One GPU as NVML names it. Spoofable: evidence, not proof."""

    uuid: Text
    name: Text
    architecture: Text
    pci_bus_id: Text
    pci_device_id: Count
    vbios_version: Text
    memory_mib: Count
    power_limit_mw: Count
    """Enforced limit (`nvmlDeviceGetEnforcedPowerLimit`)."""
    power_limit_default_mw: Count
    power_limit_max_mw: Count
    ecc_enabled: bool | None
    persistence_enabled: bool | None


class Environment(Message):
    """Software and host facts behind a run."""

    meter: MeterKind
    driver_version: Text
    nvml_version: Text
    cuda_version: Text
    nvml_library_digest: Sha256 | None
    """SHA-256 of the mapped `libnvidia-ml.so.1`; None when there is no such file."""
    python_version: Text
    torch_version: Text
    transformers_version: Text
    carbonbench_version: Text
    platform: Text


class Profile(NetworkMessage):
    """What a miner has and offers to run; served before a round begins."""

    kind: Literal["profile"] = "profile"
    hotkey: Ss58
    devices: Annotated[tuple[Device, ...], Field(min_length=1, max_length=16)]
    models: Annotated[tuple[ModelRef, ...], Field(min_length=1, max_length=256)]
    engine: Text
    environment: Environment


class Leaf(Message):
    """One prompt of a run: what went in, what came out, and the counter around it."""

    index: Count
    input_tokens: Count
    input_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """First 16 hex digits of the SHA-256 over the canonical list of input token ids."""
    output_ids: TokenIds
    start_us: Count
    """Monotonic time since the window opened."""
    end_us: Count
    start_mj: Count
    """Energy counter since the window opened, summed over devices; moves in ticks."""
    end_mj: Count
    sketch: Annotated[Text | None, _OMITTED] = None
    """`protocol.sketch` of the hidden states, where the miner offers one."""


class PowerTrace(Message):
    """Evidence rows at about 10 Hz, by column; equal lengths."""

    elapsed_ms: tuple[Integer, ...]
    """Since the window opened; negative before it."""
    power_mw: tuple[Count, ...]
    """Instant power (`NVML_FI_DEV_POWER_INSTANT`)."""
    average_power_mw: tuple[Count, ...]
    """One-second average (`nvmlDeviceGetPowerUsage`)."""
    temperature_c: tuple[Integer, ...]
    sm_clock_mhz: tuple[Count, ...]


class CounterTrace(Message):
    """Energy counter changes, by column; equal lengths."""

    elapsed_us: tuple[Integer, ...]
    energy_mj: tuple[Count, ...]
    """Raw counter value after the change."""


class DeviceEnergy(Message):
    """What one device's readings say about the window."""

    uuid: Text
    energy_mj: Count
    """Corrected for the counter's tick at both edges."""
    counter_start_mj: Count
    counter_end_mj: Count
    """Raw counter readings at the edges."""
    trace_energy_mj: Count | None
    """Trapezoid of instant power, a cross-check only; None where the board shows no such power."""
    idle_before_mw: Count | None
    idle_after_mw: Count | None
    tick_us: Count
    """Calibrated update period of the counter."""
    edges: Literal["idle", "busy", "raw"]
    """How the edges were corrected: flat idle power, tick interpolation, or not at all."""
    edge_uncertainty_ppm: Count
    """Standard uncertainty that the edges leave, relative to the energy."""
    flags: Annotated[tuple[Text, ...], Field(max_length=16)]
    """Codes of what was odd and did not void the run."""
    trace: PowerTrace
    counter: CounterTrace


class Commitment(NetworkMessage):
    """What a miner fixes before it is known which prompts will be re-scored."""

    kind: Literal["commitment"] = "commitment"
    hotkey: Ss58
    round: Count
    block_hash: BlockHashHex
    model: ModelRef
    workload: Text
    engine: Text
    profile_digest: Sha256
    report_digest: Sha256
    """Digest of the whole report; everything else here can be read from it."""
    leaves_root: Sha256
    """RFC 6962 root over the canonical leaves."""
    prompt_count: Count
    input_tokens: Count
    output_tokens: Count
    energy_mj: Count
    duration_us: Count


class Report(NetworkMessage):
    """One run, complete: every prompt's answer, times and counter values."""

    kind: Literal["report"] = "report"
    hotkey: Ss58
    round: Count
    block_hash: BlockHashHex
    model: ModelRef
    workload: Text
    engine: Text
    devices: Annotated[tuple[Device, ...], Field(min_length=1, max_length=16)]
    environment: Environment
    energy_mj: Count
    """GPU energy over the window, idle draw included, summed over devices."""
    duration_us: Count
    systematic_ppm: Count
    """Sensor gain uncertainty of the board (k = 1); no software removes it."""
    device_energy: tuple[DeviceEnergy, ...]
    leaves: Annotated[tuple[Leaf, ...], Field(min_length=1, max_length=2000)]


class Cell(Message):
    """What must be equal for two figures to be compared."""

    workload: Text
    model: Text
    revision: Text
    gpu: Text
    gpu_count: Count
    dtype: Text
    engine: Text
    power_limit_w: Count
    meter: MeterKind

    @property
    def key(self) -> str:
        """The cell's name in logs, tables and URLs."""
        return (
            f"{self.workload}|{self.model}@{self.revision}|{self.gpu_count}x{self.gpu}"
            f"|{self.dtype}|{self.engine}|{self.power_limit_w}W|{self.meter}"
        )


class Finding(Message):
    """Outcome of one check on one report."""

    code: Text
    passed: bool
    hard: bool
    """A failed hard check rejects the report; a soft one is shown and may lower the score."""
    value: Integer
    low: Integer | None
    high: Integer | None
    """Bounds that the value was held against; the unit is the last word of the code."""


class TokenProof(Message):
    """Teacher-forced re-scoring of the sampled prompts."""

    indices: tuple[Count, ...]
    beacon_block: Count
    beacon_hash: BlockHashHex
    mean_margin_micrologits: Count
    """Mean over the sampled prompts' tokens of min(margin, 1 logit)."""
    exceeding_ppm: Count
    """Share of tokens with a margin above the calibrated 99.9th percentile."""
    hard_fail_count: Count
    """Prompts with a margin that no honest stack shows."""
    threshold_micrologits: Count
    thresholds_version: Text
    passed: bool
    closer_to: Annotated[Text | None, _OMITTED] = None
    """A cheaper number format that the tokens fit better than the declared one."""
    sketch_distance_ppm: Annotated[Count | None, _OMITTED] = None
    """Mean over the prompts of the root mean square difference, of a projection's deviation."""
    sketch_threshold_ppm: Annotated[Count | None, _OMITTED] = None


class RefusalRecord(Message):
    """A `Rejection` on the wire."""

    code: Text
    detail: Annotated[str, Field(max_length=500)]


class Verdict(NetworkMessage):
    """A validator's conclusion on one miner's round."""

    kind: Literal["verdict"] = "verdict"
    validator: Ss58
    miner: Ss58
    operator: Ss58
    """Coldkey of the miner at scoring time."""
    round: Count
    outcome: Literal["accepted", "rejected"]
    rejection: RefusalRecord | None
    commitment_digest: Sha256 | None
    commitment_block: Count | None
    """Block at which this validator saw the commitment."""
    report_digest: Sha256 | None
    findings: Annotated[tuple[Finding, ...], Field(max_length=64)]
    proof: TokenProof | None
    cell: Cell | None
    status: Literal["verified", "simulated", "estimated"] | None
    """Label that figures from this report carry; None when there are none."""
    energy_mj: Count | None
    duration_us: Count | None
    prompt_count: Count | None
    input_tokens: Count | None
    output_tokens: Count | None
    energy_per_1k_output_tokens_uwh: Count | None


class CellValue(Message):
    """The figure that a round publishes for one cell."""

    cell: Cell
    label: Literal["single", "corroborated", "verified", "contested"]
    status: Literal["verified", "simulated", "estimated"]
    method: Literal["single", "mandel-paule", "median"]
    energy_per_1k_output_tokens_uwh: Count
    low_uwh: Count
    high_uwh: Count
    """95 % interval."""
    energy_per_1k_queries_uwh: Count
    energy_per_1k_total_tokens_uwh: Count
    operator_count: Count
    report_count: Count
    screened_count: Count
    """Operators left out by the outlier screen."""
    heterogeneity_ppm: Count
    """I^2: share of the spread that is more than chance."""


class MinerScore(Message):
    """One miner's score of a round, factor by factor."""

    miner: Ss58
    operator: Ss58
    valid: bool
    consistency_ppm: Count
    coverage_ppm: Count
    freshness_ppm: Count
    quality_ppm: Count
    z_milli: Integer | None
    """Distance from the other operators' median, in thousandths of a standard deviation."""
    report_score_ppm: Count
    average_score_ppm: Count
    """Exponential moving average after this round."""


class WeightEntry(Message):
    """One entry of the weight vector."""

    uid: Annotated[int, Field(ge=0, lt=2**16)]
    hotkey: Ss58
    weight_u16: Annotated[int, Field(ge=0, lt=2**16)]


class RoundRecord(NetworkMessage):
    """How a validator's verdicts of one round became cell values, scores and weights."""

    kind: Literal["round"] = "round"
    validator: Ss58
    round: Count
    start_block: Count
    block_hash: BlockHashHex
    scored_block: Count
    """Block of the metagraph that the weights were computed against."""
    burn_uid: Annotated[int, Field(ge=0, lt=2**16)] | None
    verdict_digests: tuple[Sha256, ...]
    cells: tuple[CellValue, ...]
    scores: tuple[MinerScore, ...]
    weights: tuple[WeightEntry, ...]


class TreeHead(NetworkMessage):
    """A validator's signed statement of its log at one size (RFC 6962 section 3.5)."""

    kind: Literal["tree_head"] = "tree_head"
    validator: Ss58
    size: Count
    root: Sha256
    round: Count
    block: Count
    unix_ms: Count
