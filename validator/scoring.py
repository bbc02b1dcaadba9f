"""What a round's verdicts are worth: cell values, one score per miner, moving averages.

The rule, per valid report (verification report, section 6):

    s = V (0.5 + 0.5 C) G F Q          S = 0.9 S + 0.1 s

V: the report passed every hard check. C: consistency with the other operators of the cell,
full credit up to |z| = 2, none from 4: a plateau, so that copying a consensus gains nothing
over measuring. G: coverage, more for cells with few operators. F: freshness, 1 for a report of
this round. Q: quality of evidence, a quarter more for sketches that hold. The level of the
energy appears nowhere: whoever really ran the model gains nothing by lying about it.

Statistics never punish beyond C. What does: two signed commitments to one round, which prove
fraud, and tokens that the model would not have produced, in three rounds of a hundred (an honest
miner fails one report in 1,000 at most, so this befalls it once in 200,000 rounds).

Everything is integers at the edges and rounded once: the same inputs give the same bytes.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import isqrt, prod

from protocol.constants import (
    COVERAGE_MAX_PPM,
    EMA_NEW_PPM,
    EXCLUSION_ROUNDS,
    MODEL_UNCERTAINTY_PPM,
    PLATEAU_Z,
    TARGET_OPERATORS,
)
from protocol.errors import RejectionCode
from protocol.ids import Coldkey, Hotkey, RoundNumber
from protocol.messages import CellValue, MinerScore, Verdict
from protocol.units import PPM_ONE
from validator.cohorts import (
    EXACT,
    WINDOW_BLOCKS,
    Observation,
    Totals,
    blended_variance,
    cell_value,
    freshness_ppm,
    log_nano,
    mad_sd,
    median,
    operator_logs,
    rounded,
)

PAID_REPORTS = 2
"""Reports of one operator in one cell that a round pays in full; more share the same pay.
Changing breaks: weights of two validators no longer agree."""
FRAUD_CODES = frozenset({RejectionCode.COMMITMENT_CHANGED})
"""Rejections that prove fraud by themselves: two signatures of one hotkey contradict."""
PROOF_STRIKES = 3
"""Failed token proofs within `EXCLUSION_ROUNDS` rounds that exclude like fraud: with it cheating
earns less than honesty where a report is caught with 5 % or more (`python -m scripts.simulate`).
Changing breaks: weights of two validators no longer agree."""
RECENT_ROUNDS = 5
"""Rounds over which a miner's failed token proofs are counted, this one included."""
_TOLERATED_PROOF_FAILURES = 1
_MILLI = 10**3
_NANO_PER_PPM = 10**3
_MEDIAN_VARIANCE = Decimal("1.57")
_SKETCH_BONUS_PPM = PPM_ONE // 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorecard:
    """Everything that a round's scores depend on."""

    round: RoundNumber
    round_blocks: int
    verdicts: tuple[Verdict, ...]
    """This round's, one per miner at most."""
    operators: Mapping[Hotkey, Coldkey]
    """Operator of every registered miner, after collapsing (`cohorts.collapse`)."""
    history: Sequence[Observation]
    """Accepted reports of earlier rounds; those beyond the window are ignored."""
    averages_ppm: Mapping[Hotkey, int]
    """Moving averages after the round before; miners that are missing start at 0."""
    recent_codes: Mapping[Hotkey, Sequence[str]]
    """Rejection codes ("" for accepted) of each miner's verdicts in the four rounds before."""
    proof_failures: Mapping[Hotkey, Sequence[RoundNumber]] = field(default_factory=dict)
    """Earlier rounds in which a miner failed the token proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundScores:
    """What a round comes to."""

    cells: tuple[CellValue, ...]
    """By cell key."""
    scores: tuple[MinerScore, ...]
    """By hotkey: every miner with a verdict, and registered ones whose average lives on."""


def score_round(card: Scorecard) -> RoundScores:
    """Cell values and scores of a round."""
    accepted = [verdict for verdict in card.verdicts if verdict.outcome == "accepted"]
    cohorts = _cohorts(card, accepted)
    crowd = Counter(_seat(card, verdict) for verdict in accepted)
    judged = {Hotkey(verdict.miner): verdict for verdict in card.verdicts}
    carried = {miner for miner, average in card.averages_ppm.items() if average}
    scores = []
    for miner in sorted(judged.keys() | (carried & card.operators.keys())):
        verdict = judged.get(miner)
        if verdict is None:
            scores.append(_carried(card, miner))
        elif verdict.outcome == "accepted":
            logs = cohorts[_cell_key(verdict)]
            scores.append(_accepted(card, verdict, logs, crowd[_seat(card, verdict)]))
        else:
            scores.append(_rejected(card, verdict))
    return RoundScores(cells=_cells(card, accepted, cohorts), scores=tuple(scores))


def observation(verdict: Verdict, operator: Coldkey) -> Observation:
    """An accepted verdict as it counts in its cell.

    Raises:
        ValueError: If the verdict carries no figure.
    """
    if verdict.energy_per_1k_output_tokens_uwh is None:
        raise ValueError(f"the verdict on {verdict.miner} carries no figure")
    return Observation(
        cell_key=_cell_key(verdict),
        miner=Hotkey(verdict.miner),
        operator=operator,
        round=RoundNumber(verdict.round),
        log_nano=log_nano(verdict.energy_per_1k_output_tokens_uwh),
    )


def distance_milli(log: int, others: Sequence[int]) -> int | None:
    """Z of a value against other operators', in thousandths; None when there are none.

    z = (log y - median) / sqrt(s^2 (1 + 1.57 / n) + 0.02^2), with n other operators and s^2
    blended from their spread and the prior.
    """
    if not others:
        return None
    variance = blended_variance(mad_sd(others), len(others))
    factor = EXACT.add(1, EXACT.divide(_MEDIAN_VARIANCE, Decimal(len(others))))
    model = EXACT.power(Decimal(MODEL_UNCERTAINTY_PPM * _NANO_PER_PPM), 2)
    error = EXACT.sqrt(EXACT.add(EXACT.multiply(variance, factor), model))
    return rounded(EXACT.divide(Decimal((log - median(others)) * _MILLI), error))


def consistency_ppm(z_milli: int | None) -> int:
    """C: 1 up to |z| = 2, falling to 0 at 4; 1 where there is nobody to disagree with."""
    if z_milli is None:
        return PPM_ONE
    plateau = PLATEAU_Z * _MILLI
    beyond = max(0, abs(z_milli) - plateau)
    return max(0, PPM_ONE - beyond * PPM_ONE // plateau)


def coverage_ppm(operators: int, crowd: int) -> int:
    """G: sqrt(5 / operators) up to 2, shared when one operator reports more than is paid.

    A cell pays more than 1 only once two operators hold it: a new or invented GPU earns
    nothing extra by being alone.

    Args:
        operators: Operators with a value in the cell.
        crowd: Reports of this report's operator in this cell and round.
    """
    scarce = isqrt(TARGET_OPERATORS * PPM_ONE**2 // operators)
    bonus = PPM_ONE if operators == 1 else min(COVERAGE_MAX_PPM, scarce)
    return bonus * min(PAID_REPORTS, crowd) // crowd


def reason(verdict: Verdict | None, score: MinerScore | None) -> str:
    """Why a miner got its score, in a few words."""
    if verdict is None:
        return "no verdict"
    if verdict.rejection is not None:
        return f"{verdict.rejection.code}: {verdict.rejection.detail}"
    soft = [finding.code for finding in verdict.findings if not finding.passed]
    notes = [f"soft: {', '.join(soft)}"] if soft else []
    if score is not None and score.z_milli is not None and score.consistency_ppm < PPM_ONE:
        side = "below" if score.z_milli < 0 else "above"
        notes.insert(0, f"energy_outlier: z = {score.z_milli / _MILLI:+.1f}, {side} the cohort")
    return "; ".join(["accepted", *notes])


def excluded_until(
    verdict: Verdict, proof_failures: Sequence[RoundNumber] = ()
) -> RoundNumber | None:
    """Last round from which a verdict excludes the miner; None when it does not.

    Args:
        verdict: This round's.
        proof_failures: Earlier rounds in which the miner failed the token proof.
    """
    if verdict.rejection is None:
        return None
    is_fraud = verdict.rejection.code in FRAUD_CODES
    if verdict.rejection.code == RejectionCode.TOKEN_PROOF_FAILED:
        first = verdict.round - EXCLUSION_ROUNDS
        strikes = 1 + sum(first < failed < verdict.round for failed in proof_failures)
        is_fraud = strikes >= PROOF_STRIKES
    return RoundNumber(verdict.round + EXCLUSION_ROUNDS) if is_fraud else None


def _cohorts(card: Scorecard, accepted: Sequence[Verdict]) -> dict[str, dict[Coldkey, int]]:
    """Operators' values in every cell that has a report this round."""
    grouped: defaultdict[str, list[Observation]] = defaultdict(list)
    wanted = {_cell_key(verdict) for verdict in accepted}
    for seen in _in_window(card):
        if seen.cell_key in wanted:
            grouped[seen.cell_key].append(seen)
    for verdict in accepted:
        operator = card.operators[Hotkey(verdict.miner)]
        grouped[_cell_key(verdict)].append(observation(verdict, operator))
    return {
        key: operator_logs(seen, now=card.round, round_blocks=card.round_blocks)
        for key, seen in grouped.items()
    }


def _in_window(card: Scorecard) -> Sequence[Observation]:
    """Earlier reports that still count, each under its miner's operator of today."""
    first = card.round - WINDOW_BLOCKS // card.round_blocks
    operators = card.operators
    return [
        seen
        if operators.get(seen.miner, seen.operator) == seen.operator
        else _moved(seen, operators[seen.miner])
        for seen in card.history
        if first <= seen.round < card.round
    ]


def _moved(seen: Observation, operator: Coldkey) -> Observation:
    return Observation(
        cell_key=seen.cell_key,
        miner=seen.miner,
        operator=operator,
        round=seen.round,
        log_nano=seen.log_nano,
    )


def _cells(
    card: Scorecard, accepted: Sequence[Verdict], cohorts: Mapping[str, Mapping[Coldkey, int]]
) -> tuple[CellValue, ...]:
    by_key: defaultdict[str, list[Verdict]] = defaultdict(list)
    for verdict in accepted:
        by_key[_cell_key(verdict)].append(verdict)
    earlier = Counter(seen.cell_key for seen in _in_window(card))
    values = []
    for key, verdicts in sorted(by_key.items()):
        first = verdicts[0]
        if first.cell is None or first.status is None:
            raise ValueError(f"the accepted verdict on {first.miner} has no cell")
        values.append(
            cell_value(
                first.cell,
                first.status,
                cohorts[key],
                reports=len(verdicts) + earlier[key],
                totals=_totals(verdicts),
            )
        )
    return tuple(values)


def _totals(verdicts: Sequence[Verdict]) -> Totals:
    return Totals(
        prompts=sum(verdict.prompt_count or 0 for verdict in verdicts),
        input_tokens=sum(verdict.input_tokens or 0 for verdict in verdicts),
        output_tokens=sum(verdict.output_tokens or 0 for verdict in verdicts),
    )


def _accepted(
    card: Scorecard, verdict: Verdict, logs: Mapping[Coldkey, int], crowd: int
) -> MinerScore:
    own = card.operators[Hotkey(verdict.miner)]
    others = [log for operator, log in logs.items() if operator != own]
    z_milli = distance_milli(observation(verdict, own).log_nano, others)
    consistency = consistency_ppm(z_milli)
    coverage = coverage_ppm(len(logs), crowd)
    freshness = freshness_ppm(0)
    quality = quality_ppm(verdict)
    score = _product_ppm((PPM_ONE + consistency) // 2, coverage, freshness, quality)
    return MinerScore(
        miner=verdict.miner,
        operator=own,
        valid=True,
        consistency_ppm=consistency,
        coverage_ppm=coverage,
        freshness_ppm=freshness,
        quality_ppm=quality,
        z_milli=z_milli,
        report_score_ppm=score,
        average_score_ppm=_moved_average(card, verdict, score),
    )


def _rejected(card: Scorecard, verdict: Verdict) -> MinerScore:
    return _nothing(
        Hotkey(verdict.miner),
        card.operators.get(Hotkey(verdict.miner), Coldkey(verdict.operator)),
        average=_moved_average(card, verdict, 0),
    )


def _carried(card: Scorecard, miner: Hotkey) -> MinerScore:
    """A registered miner on which there is no verdict: this validator could not judge it."""
    return _nothing(miner, card.operators[miner], average=card.averages_ppm[miner])


def _nothing(miner: Hotkey, operator: Coldkey, *, average: int) -> MinerScore:
    return MinerScore(
        miner=miner,
        operator=operator,
        valid=False,
        consistency_ppm=0,
        coverage_ppm=0,
        freshness_ppm=0,
        quality_ppm=0,
        z_milli=None,
        report_score_ppm=0,
        average_score_ppm=average,
    )


def quality_ppm(verdict: Verdict) -> int:
    """Q: 1, and a quarter more where the activation sketches hold too."""
    proof = verdict.proof
    if proof is None or proof.sketch_distance_ppm is None or proof.sketch_threshold_ppm is None:
        return PPM_ONE
    held = proof.sketch_distance_ppm <= proof.sketch_threshold_ppm
    return PPM_ONE + (_SKETCH_BONUS_PPM if held else 0)


def _moved_average(card: Scorecard, verdict: Verdict, score: int) -> int:
    """S = 0.9 S + 0.1 s; nothing after fraud, half after repeated failures of the proof."""
    miner = Hotkey(verdict.miner)
    if excluded_until(verdict, card.proof_failures.get(miner, ())) is not None:
        return 0
    before = card.averages_ppm.get(miner, 0)
    total = before * (PPM_ONE - EMA_NEW_PPM) + score * EMA_NEW_PPM
    average = (2 * total + PPM_ONE) // (2 * PPM_ONE)
    failed = RejectionCode.TOKEN_PROOF_FAILED
    if verdict.rejection is None or verdict.rejection.code != failed:
        return average
    earlier = card.recent_codes.get(miner, ())
    return average // 2 if earlier.count(failed) >= _TOLERATED_PROOF_FAILURES else average


def _seat(card: Scorecard, verdict: Verdict) -> tuple[Coldkey, str]:
    return card.operators[Hotkey(verdict.miner)], _cell_key(verdict)


def _cell_key(verdict: Verdict) -> str:
    if verdict.cell is None:
        raise ValueError(f"the accepted verdict on {verdict.miner} has no cell")
    return verdict.cell.key


def _product_ppm(*factors: int) -> int:
    product: int = prod(factors)
    scale: int = PPM_ONE ** (len(factors) - 1)
    return (2 * product + scale) // (2 * scale)
