"""What happens at a tempo: permits, consensus, incentive, emission.

A simplified Yuma consensus: stake-weighted median at kappa 0.5, weights above it clipped,
incentive by clipped rank, dividends by agreement with it. There are no bonds over time, no
liquid alpha and no compounding stake; the point is that the metagraph follows the weights as
it does on a real subnet, not that every digit agrees.
"""

from dataclasses import dataclass
from typing import Any

from protocol.units import RAO_PER_TAO, U16_MAX
from scripts.devnet.chain.subnet import Subnet, stake_threshold_rao

_KAPPA = 0.5
_MINER_SHARE = 0.41
_VALIDATOR_SHARE = 0.41
"""Shares of a tempo's alpha; the owner's 18 % is not tracked."""

Matrix = list[list[float]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shares by UID, each column summing to 1 or to 0."""

    consensus: list[float]
    incentive: list[float]
    dividends: list[float]
    validator_trust: list[float]


def yuma(weights: Matrix, stake: list[float]) -> Outcome:
    """Consensus over row-normalised weights.

    Args:
        weights: Row by validator, column by miner, (n, n); rows sum to 1 or to 0.
        stake: Share of stake of each validator; 0 where it does not count.
    """
    size = len(stake)
    consensus = [
        _weighted_median([weights[row][column] for row in range(size)], stake)
        for column in range(size)
    ]
    clipped = [
        [min(weight, top) for weight, top in zip(row, consensus, strict=True)] for row in weights
    ]
    rank = [sum(stake[row] * clipped[row][column] for row in range(size)) for column in range(size)]
    incentive = _normalised(rank)
    agreement = [
        stake[row] * sum(w * i for w, i in zip(clipped[row], incentive, strict=True))
        for row in range(size)
    ]
    return Outcome(
        consensus=consensus,
        incentive=incentive,
        dividends=_normalised(agreement),
        validator_trust=[sum(row) for row in clipped],
    )


def is_due(subnet: Subnet) -> bool:
    """Whether the current block ends the subnet's tempo."""
    tempo = int(subnet.get("Tempo"))
    return tempo > 0 and subnet.ledger.block >= int(subnet.get("LastEpochBlock")) + tempo


def run_epoch(subnet: Subnet) -> None:
    """Run one epoch at the current block."""
    permits = _permits(subnet)
    active = _active(subnet)
    stake = [
        float(subnet.stake_rao(hotkey)) if permits[uid] and active[uid] else 0.0
        for uid, hotkey in enumerate(subnet.hotkeys())
    ]
    outcome = yuma(_weight_matrix(subnet), _normalised(stake))
    _store(subnet, outcome)
    subnet.put("ValidatorPermit", value=permits)
    subnet.put("Active", value=active)
    subnet.put("LastEpochBlock", value=subnet.ledger.block)
    subnet.put("BlocksSinceLastStep", value=0)
    subnet.put("SubnetEpochIndex", value=int(subnet.get("SubnetEpochIndex")) + 1)


def _store(subnet: Subnet, outcome: Outcome) -> None:
    owner = subnet.owner_uid()
    alpha_rao = int(subnet.get("Tempo")) * RAO_PER_TAO
    emission = [
        # Incentive on the owner's hotkey is burned, never paid.
        int(alpha_rao * (_MINER_SHARE * (0.0 if uid == owner else i) + _VALIDATOR_SHARE * d))
        for uid, (i, d) in enumerate(zip(outcome.incentive, outcome.dividends, strict=True))
    ]
    columns: dict[str, list[Any]] = {
        "Consensus": [_u16(value) for value in outcome.consensus],
        "Incentive": [_u16(value) for value in outcome.incentive],
        "Dividends": [_u16(value) for value in outcome.dividends],
        "ValidatorTrust": [_u16(value) for value in outcome.validator_trust],
        "Emission": emission,
    }
    for item, values in columns.items():
        subnet.put(item, value=values)


def _permits(subnet: Subnet) -> list[bool]:
    """Top validators by stake, none below the threshold or without stake."""
    stakes = [subnet.stake_rao(hotkey) for hotkey in subnet.hotkeys()]
    floor = max(1, stake_threshold_rao(subnet.ledger))
    ranked = sorted(range(len(stakes)), key=lambda uid: (-stakes[uid], uid))
    chosen = set(ranked[: int(subnet.get("MaxAllowedValidators"))])
    return [uid in chosen and stake >= floor for uid, stake in enumerate(stakes)]


def _active(subnet: Subnet) -> list[bool]:
    cutoff = subnet.activity_cutoff_blocks()
    return [subnet.ledger.block - int(last) <= cutoff for last in subnet.column("LastUpdate")]


def _weight_matrix(subnet: Subnet) -> Matrix:
    """Row-normalised weights without self-weights and without ones older than their target."""
    size, owner = subnet.size, subnet.owner_uid()
    registered = [int(subnet.get("BlockAtRegistration", uid)) for uid in range(size)]
    updated = [int(value) for value in subnet.column("LastUpdate")]
    matrix = []
    for uid in range(size):
        row = [0.0] * size
        for target, value in subnet.weights(uid):
            is_current = target < size and updated[uid] >= registered[target]
            if is_current and (target != uid or uid == owner):
                row[target] = float(value)
        matrix.append(_normalised(row))
    return matrix


def _weighted_median(values: list[float], stake: list[float]) -> float:
    """The largest value that more than half of the stake supports."""
    support = 0.0
    for value, share in sorted(zip(values, stake, strict=True), reverse=True):
        support += share
        if support > _KAPPA:
            return value
    return 0.0


def _normalised(values: list[float]) -> list[float]:
    total = sum(values)
    return [value / total for value in values] if total else [0.0] * len(values)


def _u16(share: float) -> int:
    return round(min(1.0, share) * U16_MAX)
