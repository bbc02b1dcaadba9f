"""Whole rounds in virtual time: real protocol code, real validator, invented GPUs.

`SimulatedMiner` runs a toy model over the real nonce chain, keeps a counter and a trace as a real
device would, and signs real messages. What it does wrong is its `Behaviour`. `Simulation` puts
miners and one validator on a `FakeLedger` and plays blocks.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeVar

from protocol.canonical import canonical_bytes, message_digest
from protocol.chain import Axon
from protocol.constants import REPORT_MAX_BYTES
from protocol.errors import Rejection, RejectionCode
from protocol.ids import Coldkey, Digest, Hotkey, ModelId, Nonce, RoundNumber
from protocol.merkle import merkle_root
from protocol.messages import (
    Commitment,
    CounterTrace,
    Device,
    DeviceEnergy,
    Leaf,
    ModelRef,
    NetworkMessage,
    PowerTrace,
    Profile,
    Report,
)
from protocol.models import CATALOGUE, SMOLLM2_135M_PACKAGED
from protocol.networks import DEVNET, Network
from protocol.nonce_chain import first_nonce, next_nonce, round_seed
from protocol.prompts import short_standin_prompts, tagged_prompt
from protocol.rounds import Schedule
from protocol.signing import Signed, sign
from tests.support.behaviours import (
    COMMIT_BLOCKS,
    REFERENCE,
    Behaviour,
    ForeignSignature,
    Honest,
)
from tests.support.chain import FakeLedger
from tests.support.factories import DEVICE, ENVIRONMENT
from tests.support.keys import DevSigner
from validator.checks import Input, input_of
from validator.judging import ProofFigures, Sample
from validator.miners import read_answer

T = TypeVar("T", bound=NetworkMessage)

WEIGHTS_DIGEST = Digest("5e" * 32)
MODEL = ModelRef(
    id=SMOLLM2_135M_PACKAGED.id,
    revision=SMOLLM2_135M_PACKAGED.revision,
    weights_digest=WEIGHTS_DIGEST,
    dtype="float32",
)
THRESHOLD_MICROLOGITS = 5_200

NETWORK = replace(
    DEVNET, schedule=Schedule(round_blocks=24, commit_blocks=COMMIT_BLOCKS, reveal_blocks=20)
)
"""The devnet with short rounds."""

_PROMPT_US = 400_000
_TICK_US = 100_000
_POWER_MW = 150_000
_IDLE_MW = 70_000
_COUNTER_START_MJ = 123_456_789


def encode(text: str) -> tuple[int, ...]:
    """The toy tokenizer: eight bytes a token, so that a tag has the same length always."""
    tag, _, prompt = text.partition("\n")
    words = [*tag.split(), *prompt.split()]
    return tuple(
        int.from_bytes(hashlib.sha256(word.encode()).digest()[:3], "big") for word in words
    )


@cache
def texts(count: int) -> tuple[str, ...]:
    """The network's prompts, made once."""
    return short_standin_prompts(count)


def answer(weights: str, ids: Sequence[int], new_tokens: int) -> tuple[int, ...]:
    """The toy model: the same ids get the same answer from the same weights."""
    digest = hashlib.sha256(f"{weights} {list(ids)}".encode()).digest()
    return tuple(digest[:new_tokens])


@dataclass(frozen=True, slots=True)
class ToyRescorer:
    """A `validator.judging.Rescorer` on the toy model."""

    network: Network = NETWORK

    def weights_digest(self, model: tuple[str, str]) -> Digest | None:
        return WEIGHTS_DIGEST if model == (MODEL.id, MODEL.revision) else None

    def inputs(self, model: ModelRef, nonces: Sequence[Nonce]) -> Sequence[Input]:
        prompts = texts(self.network.workload.prompt_count)
        return [
            input_of(encode(tagged_prompt(nonce, prompt)))
            for nonce, prompt in zip(nonces, prompts, strict=True)
        ]

    def prove(self, model: ModelRef, samples: Sequence[Sample]) -> ProofFigures:
        prompts = texts(self.network.workload.prompt_count)
        wrong = 0
        for sample in samples:
            ids = encode(tagged_prompt(sample.nonce, prompts[sample.index]))
            wrong += answer(REFERENCE, ids, len(sample.output_ids)) != sample.output_ids
        mean = 560_000 * wrong // len(samples)
        return ProofFigures(
            mean_margin_micrologits=mean,
            exceeding_ppm=340_000 * wrong // len(samples),
            hard_fail_count=wrong,
            threshold_micrologits=THRESHOLD_MICROLOGITS,
            thresholds_version="toy",
            passed=mean <= THRESHOLD_MICROLOGITS,
        )


def _others(count: int) -> tuple[ModelRef, ...]:
    """Models of the catalogue that nobody here runs."""
    spare = [model for model in CATALOGUE if model.id != MODEL.id][:count]
    return tuple(
        MODEL.model_copy(update={"id": str(model.id), "revision": model.revision})
        for model in spare
    )


@dataclass
class SimulatedMiner:
    """One miner with its device and its behaviour."""

    name: str
    behaviour: Behaviour = field(default_factory=Honest)
    network: Network = NETWORK
    coldkey_of: str | None = None
    gpu_uuid: str | None = None
    spread: float = 0.02
    """Standard deviation of this miner's true energy around the kind's."""
    calls: int = 0
    is_down: bool = False
    more_models: int = 0
    """Models that it offers beside the one that it runs."""
    trace_of: str | None = None
    """Whose sensor noise its trace shows, in place of its own."""
    _asked: dict[RoundNumber, int] = field(default_factory=dict)
    _reports: dict[RoundNumber, Report] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.signer = DevSigner(f"//{self.name}")
        self.coldkey = Coldkey(DevSigner(f"//{self.coldkey_of or self.name}//coldkey").hotkey)
        chance = random.Random(self.name)  # noqa: S311 - a simulation
        self.efficiency = 1.0 + chance.gauss(0.0, self.spread)

    @property
    def hotkey(self) -> Hotkey:
        return self.signer.hotkey

    @property
    def device(self) -> Device:
        uuid = self.gpu_uuid or f"GPU-SIMULATED-{self.name}"
        return DEVICE.model_copy(update={"uuid": uuid})

    def profile(self, ledger: FakeLedger) -> Profile:
        return Profile(
            genesis_hash=ledger.genesis,
            netuid=ledger.netuid,
            hotkey=self.hotkey,
            devices=(self.device,),
            models=(MODEL, *_others(self.more_models)),
            engine="transformers",
            environment=ENVIRONMENT,
        )

    def report(self, ledger: FakeLedger, number: RoundNumber) -> Report:
        if number not in self._reports:
            self._reports[number] = self.behaviour.alter(self._run(ledger, number))
        return self._reports[number]

    def commitment(self, ledger: FakeLedger, number: RoundNumber) -> Commitment:
        report = self.report(ledger, number)
        return Commitment(
            genesis_hash=report.genesis_hash,
            netuid=report.netuid,
            hotkey=report.hotkey,
            round=report.round,
            block_hash=report.block_hash,
            model=report.model,
            workload=report.workload,
            engine=report.engine,
            profile_digest=message_digest(self.profile(ledger)),
            report_digest=message_digest(report),
            leaves_root=merkle_root([canonical_bytes(leaf) for leaf in report.leaves]),
            prompt_count=len(report.leaves),
            input_tokens=sum(leaf.input_tokens for leaf in report.leaves),
            output_tokens=sum(len(leaf.output_ids) for leaf in report.leaves),
            energy_mj=report.energy_mj,
            duration_us=report.duration_us,
        )

    def times_asked(self, number: RoundNumber) -> int:
        self._asked[number] = self._asked.get(number, 0) + 1
        return self._asked[number]

    def _run(self, ledger: FakeLedger, number: RoundNumber) -> Report:
        block_hash = ledger.hash_of(self.network.schedule.start(number))
        seed = round_seed(
            genesis_hash=ledger.genesis,
            netuid=ledger.netuid,
            block_hash=self.behaviour.seed_hash(block_hash),
            hotkey=self.hotkey,
            model=(ModelId(MODEL.id), MODEL.revision),
            workload=self.network.workload.key,
        )
        chance = random.Random(f"{self.name} {number}")  # noqa: S311 - a simulation
        power = _POWER_MW * self.efficiency * self.behaviour.gain * (1 + chance.gauss(0, 0.01))
        leaves = self._leaves(seed, round(power))
        duration_us = leaves[-1].end_us
        energy_mj = round(power * duration_us / 10**6)
        return Report(
            genesis_hash=ledger.genesis,
            netuid=ledger.netuid,
            hotkey=self.hotkey,
            round=number,
            block_hash=block_hash,
            model=MODEL,
            workload=self.network.workload.key,
            engine="transformers",
            devices=(self.device,),
            environment=ENVIRONMENT,
            energy_mj=energy_mj,
            duration_us=duration_us,
            systematic_ppm=50_000,
            device_energy=(self._device_energy(number, round(power), duration_us, energy_mj),),
            leaves=leaves,
        )

    def _leaves(self, seed: bytes, power_mw: int) -> tuple[Leaf, ...]:
        workload = self.network.workload
        nonce, leaves = first_nonce(seed), []
        for index, prompt in enumerate(texts(workload.prompt_count)):
            ids = encode(tagged_prompt(nonce, prompt))
            output = answer(self.behaviour.weights, ids, workload.new_tokens)
            start_us, end_us = index * _PROMPT_US, (index + 1) * _PROMPT_US
            leaves.append(
                Leaf(
                    index=index,
                    input_tokens=len(ids),
                    input_digest=input_of(ids).digest,
                    output_ids=output,
                    start_us=start_us,
                    end_us=end_us,
                    start_mj=_counter_mj(power_mw, start_us),
                    end_mj=_counter_mj(power_mw, end_us),
                )
            )
            nonce = next_nonce(nonce, output)
        return tuple(leaves)

    def _device_energy(
        self, number: RoundNumber, power_mw: int, duration_us: int, energy_mj: int
    ) -> DeviceEnergy:
        rows = range(-5, duration_us // _TICK_US + 5)
        chance = random.Random(f"{self.trace_of or self.name} {number}")  # noqa: S311 - a simulation
        powers = tuple(
            _IDLE_MW if row < 0 else round(power_mw * (1 + chance.gauss(0, 0.005))) for row in rows
        )
        return DeviceEnergy(
            uuid=self.device.uuid,
            energy_mj=energy_mj,
            counter_start_mj=_COUNTER_START_MJ,
            counter_end_mj=_COUNTER_START_MJ + _counter_mj(power_mw, duration_us),
            trace_energy_mj=energy_mj,
            idle_before_mw=70_000,
            idle_after_mw=70_500,
            tick_us=_TICK_US,
            edges="idle",
            edge_uncertainty_ppm=1_000,
            flags=(),
            trace=PowerTrace(
                elapsed_ms=tuple(row * 100 for row in rows),
                power_mw=powers,
                average_power_mw=powers,
                temperature_c=(45,) * len(powers),
                sm_clock_mhz=(1_980,) * len(powers),
            ),
            counter=CounterTrace(
                elapsed_us=tuple(row * _TICK_US for row in rows if row >= 0),
                energy_mj=tuple(
                    _COUNTER_START_MJ + _counter_mj(power_mw, row * _TICK_US)
                    for row in rows
                    if row >= 0
                ),
            ),
        )


def _counter_mj(power_mw: int, at_us: int) -> int:
    """A counter that moves in ticks."""
    return power_mw * (at_us // _TICK_US * _TICK_US) // 10**6


@dataclass
class SimulatedMiners:
    """A `validator.ports.Miners` that asks simulated miners, through bytes and schemas."""

    ledger: FakeLedger
    miners: dict[Hotkey, SimulatedMiner]

    def refusal(self, axon: Axon) -> Rejection | None:
        return None

    async def profile(self, hotkey: Hotkey, axon: Axon) -> Signed[Profile] | Rejection:
        miner = self.miners[hotkey]
        miner.calls += 1
        if miner.is_down:
            return Rejection(code=RejectionCode.UNREACHABLE, detail="refused")
        return self._sent(miner, Signed[Profile], miner.profile(self.ledger))

    async def commitment(
        self, hotkey: Hotkey, axon: Axon, number: RoundNumber
    ) -> Signed[Commitment] | Rejection:
        miner = self.miners[hotkey]
        ready = miner.network.schedule.start(number) + miner.behaviour.delay_blocks
        if miner.is_down:
            return Rejection(code=RejectionCode.UNREACHABLE, detail="refused")
        if self.ledger.number < ready:
            return Rejection(code=RejectionCode.NO_COMMITMENT, detail=f"none for round {number}")
        true = miner.commitment(self.ledger, number)
        served = miner.behaviour.commitment(true, miner.times_asked(number))
        return self._sent(miner, Signed[Commitment], served)

    async def report(
        self, hotkey: Hotkey, axon: Axon, number: RoundNumber
    ) -> Signed[Report] | Rejection:
        miner = self.miners[hotkey]
        if miner.is_down:
            return Rejection(code=RejectionCode.UNREACHABLE, detail="refused")
        if self.ledger.number <= miner.network.schedule.commit_deadline(number):
            return Rejection(code=RejectionCode.WRONG_ROUND, detail="too early")
        revealed = miner.behaviour.reveal(miner.report(self.ledger, number))
        if revealed is None:
            return Rejection(code=RejectionCode.NO_REPORT, detail=f"none for round {number}")
        return self._sent(miner, Signed[Report], revealed)

    @staticmethod
    def _sent(miner: SimulatedMiner, kind: type[Signed[T]], message: T) -> Signed[T] | Rejection:
        foreign = isinstance(miner.behaviour, ForeignSignature)
        signed = sign(message, DevSigner("//Mallory") if foreign else miner.signer)
        data = miner.behaviour.on_the_wire(canonical_bytes(signed))
        return read_answer(kind, 200, data, max_bytes=REPORT_MAX_BYTES + 4_096)
