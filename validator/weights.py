"""From moving averages to the u16 vector that goes on chain.

A miner's share is S / max(sum of S, target); what nobody has earned goes to the subnet
owner's UID, where the chain burns it. Largest remainder, ties to the lower UID: the vector
sums to 65,535 exactly, and two validators with the same inputs send the same one.
"""

from collections.abc import Mapping, Sequence

from protocol.chain import Hyperparameters, Metagraph, Neuron
from protocol.constants import TARGET_SCORE_PPM
from protocol.ids import BlockNumber, Hotkey, Uid
from protocol.messages import MinerScore, WeightEntry
from protocol.units import U16_MAX


def weigh(scores: Sequence[MinerScore], metagraph: Metagraph) -> tuple[WeightEntry, ...]:
    """The weights of a round against one metagraph, by UID, the burned share included.

    Hotkeys that hold no UID are dropped, and so are scores of 0. Empty when there is neither a
    score nor an owner's UID to burn to.
    """
    hotkeys = {neuron.uid: neuron.hotkey for neuron in metagraph.neurons}
    earned = {
        neuron.uid: score.average_score_ppm
        for score in scores
        if score.average_score_ppm > 0
        and (neuron := metagraph.by_hotkey(Hotkey(score.miner))) is not None
    }
    return tuple(
        WeightEntry(uid=uid, hotkey=hotkeys[uid], weight_u16=weight)
        for uid, weight in sorted(shares(earned, burn_uid=metagraph.owner_uid()).items())
    )


def shares(earned: Mapping[Uid, int], *, burn_uid: Uid | None) -> dict[Uid, int]:
    """u16 shares by largest remainder; they sum to 65,535 unless there is nobody at all.

    Args:
        earned: Positive average score by UID (ppm).
        burn_uid: UID that gets the unearned part; None shares everything among the miners.
    """
    claims = {uid: score for uid, score in earned.items() if uid != burn_uid}
    total = sum(claims.values())
    if burn_uid is not None:
        claims[burn_uid] = max(TARGET_SCORE_PPM - total, 0)
        total = max(total, TARGET_SCORE_PPM)
    if total == 0:
        return {}
    floors = {uid: U16_MAX * claim // total for uid, claim in claims.items()}
    missing = U16_MAX - sum(floors.values())
    by_remainder = sorted(claims, key=lambda uid: (-(U16_MAX * claims[uid] % total), uid))
    for uid in by_remainder[:missing]:
        floors[uid] += 1
    return floors


def chain_vector(
    weights: Sequence[WeightEntry],
    metagraph: Metagraph,
    *,
    min_allowed: int,
    own_uid: Uid | None = None,
) -> dict[Uid, int]:
    """What is sent: entries above 0, as many as the chain wants at the least.

    Where there are too few, the lowest other UIDs get 1 of 65,535 each, taken from the largest
    entry: the chain drops zeros before it counts.

    Args:
        weights: What was earned, and the burned share.
        metagraph: The subnet now.
        min_allowed: Entries that the chain wants at the least.
        own_uid: UID of the setter; the chain takes its weight on itself away, unless it is
            the owner, so it gets none here.
    """
    if own_uid is not None and own_uid == metagraph.owner_uid():
        own_uid = None
    vector = {
        Uid(entry.uid): entry.weight_u16
        for entry in weights
        if entry.weight_u16 > 0 and entry.uid != own_uid
    }
    if not vector:
        return {}
    largest = max(vector, key=lambda uid: (vector[uid], -uid))
    taken = {*vector, own_uid}
    others = [neuron.uid for neuron in metagraph.neurons if neuron.uid not in taken]
    for uid in sorted(others)[: max(0, min_allowed - len(vector))]:
        vector[uid] = 1
        vector[largest] -= 1
    return dict(sorted(vector.items()))


def setter_fault(own: Neuron | None, metagraph: Metagraph, rules: Hyperparameters) -> str:
    """Why the chain would take no weights from this neuron at all, in one word; else empty.

    The order is that of the chain's own checks; the subnet's owner needs neither stake nor
    permit.
    """
    if own is None:
        return "not_registered"
    if own.hotkey == metagraph.owner_hotkey:
        return ""
    if own.stake_tao < rules.stake_threshold_tao:
        return "not_enough_stake"
    return "" if own.validator_permit else "no_permit"


def vector_fault(vector: Mapping[Uid, int], rules: Hyperparameters) -> str:
    """Why the chain would refuse a vector, in one word; empty if it would not."""
    if not vector:
        return "nothing_to_weigh"
    if len(vector) < rules.min_allowed_weights:
        return "too_few_weights"
    share_limit = rules.max_weight_limit_u16 * sum(vector.values())
    return "weight_too_large" if max(vector.values()) * U16_MAX > share_limit else ""


def next_allowed_block(own: Neuron, rules: Hyperparameters) -> BlockNumber:
    """First block at which the rate limit lets the neuron set weights again."""
    if not own.last_update_block:
        return BlockNumber(0)
    return BlockNumber(own.last_update_block + rules.weights_rate_limit_blocks)
