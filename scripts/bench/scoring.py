"""Scoring a full round: 256 miners with 30 days of rounds behind them, beside floats in numpy.

The anchor computes the same cell values and distances (weighted medians, screen, mean, blended
spread) in floating point, without the exact arithmetic that two validators need to agree.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np

from protocol.ids import Coldkey, Hotkey, RoundNumber
from protocol.messages import Cell, MeterKind, Verdict
from protocol.networks import MAINNET
from scripts.bench.entries import Entry, entry, labelled
from validator.cohorts import Observation, log_nano
from validator.scoring import Scorecard, score_round

MINERS = 256
DAYS = 30
CELLS = 10
REPEATS = 5
_BLOCKS_PER_DAY = 7_200
_NANO = 10**9
_CENTRE = log_nano(1_000_000)
_ADDRESS_LENGTH = 48


def run(share: float) -> list[Entry]:
    """Median time of a round's scoring.

    Args:
        share: Share of the repetitions.
    """
    card = scorecard()
    repeats = max(1, round(REPEATS * share))
    ours = _seconds(lambda: score_round(card), repeats)
    theirs = _seconds(lambda: in_floats(card), repeats)
    return [
        entry(
            labelled("round_scoring_seconds", miners=MINERS, days=DAYS),
            ours,
            "s",
            anchor=f"the same in floats, numpy {version('numpy')}",
            anchor_value=theirs,
        )
    ]


def scorecard() -> Scorecard:
    """A round of 256 miners in one cell, each with a report in every round of 30 days."""
    chance = random.Random(0)  # noqa: S311 - a simulation
    miners = [Hotkey(address(place)) for place in range(MINERS)]
    rounds = DAYS * _BLOCKS_PER_DAY // MAINNET.schedule.round_blocks
    cells = [_cell(model) for model in range(CELLS)]
    history = [
        Observation(
            cell_key=cells[number % CELLS].key,
            miner=miner,
            operator=Coldkey(miner),
            round=RoundNumber(number),
            log_nano=_CENTRE + round(chance.gauss(0, 0.045 * _NANO)),
        )
        for number in range(rounds)
        for miner in miners
    ]
    verdicts = [_verdict(miner, cells[0], 10**6 + place) for place, miner in enumerate(miners)]
    return Scorecard(
        round=RoundNumber(rounds),
        round_blocks=MAINNET.schedule.round_blocks,
        verdicts=tuple(verdicts),
        operators={miner: Coldkey(miner) for miner in miners},
        history=history,
        averages_ppm={},
        recent_codes={},
    )


def in_floats(card: Scorecard) -> list[float]:
    """Distances of all miners, in floating point."""
    wanted = {verdict.cell.key for verdict in card.verdicts if verdict.cell}
    logs: dict[str, list[tuple[float, float]]] = {}
    for seen in card.history:
        if seen.cell_key in wanted:
            age = (card.round - seen.round) * card.round_blocks
            logs.setdefault(seen.miner, []).append((seen.log_nano / _NANO, 0.5 ** (age / 50_400)))
    for verdict in card.verdicts:
        energy = verdict.energy_per_1k_output_tokens_uwh or 1
        logs.setdefault(verdict.miner, []).append((float(np.log(energy)), 1.0))
    values = np.array([_weighted_median(seen) for seen in logs.values()])
    distances = []
    for place in range(len(values)):
        others = np.delete(values, place)
        centre = np.median(others)
        spread = max(1.4826 * float(np.median(np.abs(others - centre))), 0.03)
        count = len(others)
        variance = (3 * 0.08**2 + (count - 1) * spread**2) / (count + 2)
        error = (variance * (1 + 1.57 / count) + 0.02**2) ** 0.5
        distances.append(float((values[place] - centre) / error))
    return distances


def _weighted_median(seen: Sequence[tuple[float, float]]) -> float:
    values, weights = np.array(seen).T
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])


def _seconds(work: Callable[[], object], repeats: int) -> float:
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def address(place: int) -> str:
    """Something of the shape of a hotkey's address."""
    digits = f"{place:04}".translate(str.maketrans("0123456789", "ABCDEFGHJK"))
    return f"5{digits}".ljust(_ADDRESS_LENGTH, "x")


def _cell(model: int) -> Cell:
    return Cell(
        workload="benchmark",
        model=f"model-{model}",
        revision="1",
        gpu="GPU",
        gpu_count=1,
        dtype="bfloat16",
        engine="transformers",
        power_limit_w=700,
        meter=MeterKind.NVML,
    )


def _verdict(miner: Hotkey, cell: Cell, energy: int) -> Verdict:
    return Verdict(
        genesis_hash="0x" + "00" * 32,
        netuid=1,
        validator=miner,
        miner=miner,
        operator=miner,
        round=0,
        outcome="accepted",
        rejection=None,
        commitment_digest=None,
        commitment_block=None,
        report_digest=None,
        findings=(),
        proof=None,
        cell=cell,
        status="verified",
        energy_mj=1,
        duration_us=1,
        prompt_count=1_000,
        input_tokens=40_000,
        output_tokens=10_000,
        energy_per_1k_output_tokens_uwh=energy,
    )
