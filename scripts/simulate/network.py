"""A whole network, round by round, on the real scoring code: who earns what.

Miners run in cells of one model each; validators stand in four regions, each of which fails to
reach a miner now and then, so that their verdicts differ. What miners are paid is the median of
the validators' weights, as the chain's consensus clips it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from protocol.errors import RejectionCode
from protocol.ids import Coldkey, Hotkey, RoundNumber, Uid
from protocol.messages import Cell, CellValue, MeterKind, RefusalRecord, Verdict
from protocol.units import U16_MAX
from scripts.simulate.estimators import BETWEEN_SD, WITHIN_SD
from validator.cohorts import Observation
from validator.operators import Member, collapse
from validator.scoring import RECENT_ROUNDS, Scorecard, excluded_until, observation, score_round
from validator.weights import shares

ROUND_BLOCKS = 7_200
TRUE_UWH = 1_000_000
BURN_UID = Uid(0)
REGIONS = 4
_MISSED = 0.01
"""Reports that a region does not get."""
_TOKENS = 10_000
_MODELS = 8
_ADDRESS_LENGTH = 48
_NO_DIGEST = "00" * 32
_NO_HASH = "0x" + _NO_DIGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """What a kind of miner does."""

    name: str
    share: float
    """Of all miners."""
    bias: float = 0.0
    """Of the joules it reports."""
    copies: bool = False
    """Whether it reports the cell's last figure instead of its own."""
    caught: float = 0.001
    """How often the token proof, at k = 64, fails its reports."""
    rejected: bool = False
    """Whether every report breaks a hard check."""
    hotkeys: int = 1
    """Hotkeys of one operator."""


CONDUCTS = (
    Conduct(name="honest", share=0.50),
    Conduct(name="shading 10 %", share=0.06, bias=-0.10),
    Conduct(name="shading 20 %", share=0.06, bias=-0.20),
    Conduct(name="copying", share=0.06, copies=True),
    Conduct(name="lazy, 5 % skipped", share=0.06, caught=0.966),
    Conduct(name="quantised, int8", share=0.06, caught=0.80),
    Conduct(name="quantised in a tenth", share=0.06, caught=0.07),
    Conduct(name="replaying", share=0.04, rejected=True),
    Conduct(name="Sybil, 5 hotkeys", share=0.05, bias=-0.20, hotkeys=5),
    Conduct(name="colluding at -20 %", share=0.05, bias=-0.20),
)
"""`quantised in a tenth`: 7 % caught is the residual risk that the design report names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One miner."""

    uid: Uid
    hotkey: Hotkey
    coldkey: Coldkey
    conduct: Conduct
    effect: float
    """Natural logarithm of its true energy over the kind's."""


@dataclass(slots=True)
class View:
    """What the validators of one region know."""

    history: list[Observation] = field(default_factory=list)
    averages: dict[Hotkey, int] = field(default_factory=dict)
    codes: dict[int, dict[Hotkey, str]] = field(default_factory=dict)
    failures: defaultdict[Hotkey, list[RoundNumber]] = field(
        default_factory=lambda: defaultdict(list)
    )
    excluded: dict[str, int] = field(default_factory=dict)
    cells: tuple[CellValue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the simulated rounds came to."""

    pay: dict[str, float]
    """Mean pay of one hotkey by conduct, honest = 1."""
    pay_by_round: dict[str, list[float]]
    excluded_pct: dict[str, float]
    """Share of the rounds in which such a miner was excluded (%)."""
    bias_pct: float
    """Of the published cell values."""
    error_pct: float
    """Root mean square error of the same."""
    contested_pct: float
    disagreement_u16: int
    """Largest difference of two regions' weights for one miner."""


def actors(count: int, chance: np.random.Generator) -> list[Actor]:
    """That many miners, by the shares of `CONDUCTS`; the rest is honest."""
    kinds: list[Conduct] = []
    for conduct in CONDUCTS[1:]:
        kinds += [conduct] * round(count * conduct.share)
    kinds += [CONDUCTS[0]] * (count - len(kinds))
    found, seen = [], Counter[str]()
    for place, conduct in enumerate(kinds):
        owner = seen[conduct.name] // conduct.hotkeys
        seen[conduct.name] += 1
        found.append(
            Actor(
                uid=Uid(place + 1),
                hotkey=Hotkey(_address("H", place, 0)),
                coldkey=Coldkey(_address("C", CONDUCTS.index(conduct), owner)),
                conduct=conduct,
                effect=float(chance.normal(0, BETWEEN_SD)),
            )
        )
    return found


def play(*, miners: int, validators: int, rounds: int, seed: int = 0) -> Outcome:
    """Play a network.

    Args:
        miners: Hotkeys that mine, 256 at most.
        validators: Validators, spread evenly over the regions.
        rounds: Rounds, of which the first tenth is not counted.
        seed: Makes the same network again.
    """
    chance = np.random.default_rng(seed)
    cast = actors(miners, chance)
    views = [View() for _ in range(min(REGIONS, validators))]
    ledger = _Ledger(cast)
    for number in range(1, rounds + 1):
        runs = list(_runs(cast, RoundNumber(number), views[0], chance))
        vectors = [_judge(view, runs, RoundNumber(number), cast, chance) for view in views]
        seats = [vectors[place % len(views)] for place in range(validators)]
        if number > rounds // 10:
            ledger.enter(seats, views, number)
    return ledger.outcome()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    actor: Actor
    verdict: Verdict


def _runs(
    cast: Sequence[Actor], number: RoundNumber, view: View, chance: np.random.Generator
) -> Iterator[_Run]:
    published = {value.cell.key: value.energy_per_1k_output_tokens_uwh for value in view.cells}
    models = chance.integers(_MODELS, size=len(cast))
    for actor, model in zip(cast, models, strict=True):
        conduct, cell = actor.conduct, _cell(int(model))
        log = actor.effect + float(chance.normal(0, WITHIN_SD * 2)) + math.log1p(conduct.bias)
        energy = round(TRUE_UWH * math.exp(log))
        if conduct.copies:
            energy = published.get(cell.key, energy)
        code = ""
        if conduct.rejected:
            code = RejectionCode.NONCE_CHAIN_BROKEN
        elif chance.random() < conduct.caught:
            code = RejectionCode.TOKEN_PROOF_FAILED
        yield _Run(actor=actor, verdict=_verdict(actor, number, cell, energy, code))


def _judge(
    view: View,
    runs: Sequence[_Run],
    number: RoundNumber,
    cast: Sequence[Actor],
    chance: np.random.Generator,
) -> dict[Uid, int]:
    """The weights of one region's validators, who keep what they learn."""
    reached = chance.random(len(runs)) >= _MISSED
    verdicts = [
        _excluded(run.verdict) if _is_out(view, run.actor, number) else run.verdict
        for run, there in zip(runs, reached, strict=True)
        if there
    ]
    members = [Member(hotkey=actor.hotkey, coldkey=actor.coldkey) for actor in cast]
    operators = collapse(members)
    codes: defaultdict[Hotkey, list[str]] = defaultdict(list)
    for earlier in range(number - RECENT_ROUNDS + 1, number):
        for miner, code in view.codes.get(earlier, {}).items():
            codes[miner].append(code)
    card = Scorecard(
        round=number,
        round_blocks=ROUND_BLOCKS,
        verdicts=tuple(verdicts),
        operators=operators,
        history=view.history,
        averages_ppm=view.averages,
        recent_codes=codes,
        proof_failures=view.failures,
    )
    scores = score_round(card)
    _learn(view, card)
    view.cells = scores.cells
    view.averages = {Hotkey(score.miner): score.average_score_ppm for score in scores.scores}
    uids = {actor.hotkey: actor.uid for actor in cast}
    earned = {uids[miner]: average for miner, average in view.averages.items() if average}
    return shares(earned, burn_uid=BURN_UID)


def _learn(view: View, card: Scorecard) -> None:
    for verdict in card.verdicts:
        miner = Hotkey(verdict.miner)
        code = verdict.rejection.code if verdict.rejection else ""
        view.codes.setdefault(card.round, {})[miner] = code
        if not code:
            view.history.append(observation(verdict, card.operators[miner]))
        until = excluded_until(verdict, view.failures[miner])
        if code == RejectionCode.TOKEN_PROOF_FAILED:
            view.failures[miner].append(card.round)
        if until is not None:
            view.excluded |= {verdict.miner: until, verdict.operator: until}
    first = card.round - 216_000 // ROUND_BLOCKS
    view.history = [seen for seen in view.history if seen.round >= first]


def _is_out(view: View, actor: Actor, number: int) -> bool:
    keys = (actor.hotkey, actor.coldkey)
    return any(view.excluded.get(key, -1) >= number for key in keys)


class _Ledger:
    """What was paid and published, round by round."""

    def __init__(self, cast: Sequence[Actor]) -> None:
        self._cast = cast
        self._count = Counter(actor.conduct.name for actor in cast)
        self._paid: defaultdict[str, list[float]] = defaultdict(list)
        self._out: Counter[str] = Counter()
        self._errors: list[float] = []
        self._contested = 0
        self._gap = 0
        self._rounds = 0

    def enter(self, seats: Sequence[dict[Uid, int]], views: Sequence[View], number: int) -> None:
        """A round's vectors, one per validator."""
        self._rounds += 1
        paid: Counter[str] = Counter()
        for actor in self._cast:
            given = sorted(seat.get(actor.uid, 0) for seat in seats)
            self._gap = max(self._gap, given[-1] - given[0])
            paid[actor.conduct.name] += given[(len(given) - 1) // 2]
            self._out[actor.conduct.name] += _is_out(views[0], actor, number)
        for name, count in self._count.items():
            self._paid[name].append(paid[name] / count / U16_MAX)
        for value in views[0].cells:
            self._errors.append(value.energy_per_1k_output_tokens_uwh / TRUE_UWH - 1)
            self._contested += value.label == "contested"

    def outcome(self) -> Outcome:
        """All of it."""
        honest = float(np.mean(self._paid["honest"]))
        errors = 100 * np.array(self._errors)
        return Outcome(
            pay={name: float(np.mean(paid)) / honest for name, paid in self._paid.items()},
            pay_by_round={
                name: [one / honest for one in paid] for name, paid in self._paid.items()
            },
            excluded_pct={
                name: 100 * self._out[name] / count / self._rounds
                for name, count in self._count.items()
            },
            bias_pct=float(np.mean(errors)),
            error_pct=float(np.sqrt(np.mean(np.square(errors)))),
            contested_pct=100 * self._contested / len(errors),
            disagreement_u16=self._gap,
        )


def _address(letter: str, first: int, second: int) -> str:
    """Something of the shape of an address."""
    digits = f"{first:04}{second:04}".translate(str.maketrans("0123456789", "ABCDEFGHJK"))
    return f"5{letter}{digits}".ljust(_ADDRESS_LENGTH, "x")


def _cell(model: int) -> Cell:
    return Cell(
        workload="simulated",
        model=f"model-{model}",
        revision="1",
        gpu="GPU",
        gpu_count=1,
        dtype="bfloat16",
        engine="transformers",
        power_limit_w=700,
        meter=MeterKind.NVML,
    )


def _verdict(actor: Actor, number: RoundNumber, cell: Cell, energy: int, code: str) -> Verdict:
    return Verdict.model_construct(
        kind="verdict",
        genesis_hash=_NO_HASH,
        netuid=1,
        validator="validator",
        miner=actor.hotkey,
        operator=actor.coldkey,
        round=number,
        outcome="rejected" if code else "accepted",
        rejection=RefusalRecord(code=code, detail="simulated") if code else None,
        commitment_digest=None,
        commitment_block=None,
        report_digest=None,
        findings=(),
        proof=None,
        energy_mj=None,
        duration_us=None,
        cell=None if code else cell,
        status=None if code else "verified",
        prompt_count=_TOKENS // 10,
        input_tokens=_TOKENS * 4,
        output_tokens=_TOKENS,
        energy_per_1k_output_tokens_uwh=None if code else energy,
    )


def _excluded(verdict: Verdict) -> Verdict:
    refusal = RefusalRecord(code=RejectionCode.EXCLUDED, detail="simulated")
    return verdict.model_copy(
        update={
            "outcome": "rejected",
            "rejection": refusal,
            "cell": None,
            "energy_per_1k_output_tokens_uwh": None,
        }
    )
