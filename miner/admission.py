"""Who may read a miner's profile, commitments and reports, and until when we know. Pure."""

from protocol.chain import Metagraph
from protocol.errors import Rejection, RejectionCode
from protocol.ids import Hotkey
from protocol.units import Seconds

METAGRAPH_BLOCKS = 10
"""Blocks after which the metagraph is read again."""
_MISSED_READINGS = 6
_STALE_MIN_SECONDS = 60.0


def is_stale(age: Seconds, *, block_seconds: float) -> bool:
    """Whether a metagraph is too old to admit anyone by: six readings missed, at least 60 s."""
    return age > max(_STALE_MIN_SECONDS, block_seconds * METAGRAPH_BLOCKS * _MISSED_READINGS)


def is_stalled(age: Seconds, *, block_seconds: float) -> bool:
    """Whether a chain that answers stands still: no block for the time of ten, at least 60 s."""
    return age > max(_STALE_MIN_SECONDS, block_seconds * METAGRAPH_BLOCKS)


def refusal_of(
    caller: Hotkey, metagraph: Metagraph | None, *, stake_floor_tao: float
) -> Rejection | None:
    """Why a caller is refused; None when it may read.

    Validators with a permit may, and the subnet's owner.

    Args:
        caller: Who has proven to ask.
        metagraph: The subnet as last seen; None when that is too old to tell, then nobody may.
        stake_floor_tao: Least stake of a validator that is answered.
    """
    if metagraph is None:
        return _not_permitted("this miner has not seen the chain for too long")
    if caller == metagraph.owner_hotkey:
        return None
    neuron = metagraph.by_hotkey(caller)
    if neuron is None or not neuron.validator_permit:
        return _not_permitted(f"{caller} has no validator permit on this subnet")
    if neuron.stake_tao < stake_floor_tao:
        return _not_permitted(f"{caller} has less stake than this miner asks for")
    return None


def _not_permitted(detail: str) -> Rejection:
    return Rejection(code=RejectionCode.NOT_PERMITTED, detail=detail)
