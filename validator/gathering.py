"""What a report is held against, gathered from the ledger. Blocking: runs in a worker thread."""

from collections import Counter
from dataclasses import dataclass

from protocol.chain import Block
from protocol.ids import RoundNumber
from protocol.messages import Report
from protocol.rounds import Schedule
from protocol.units import Seconds, seconds_from_us
from validator.cohorts import WINDOW_BLOCKS
from validator.consistency import Prior, Sharing, Standing, prior_of
from validator.judging import Context
from validator.ports import Ledger
from validator.records import Seat
from validator.verdicts import cell_of, trace_digest

_US_PER_MS = 10**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reveal:
    """What all reports of a round are held against."""

    beacon: Block
    opened_unix_ms: int | None
    """When the round's first block was seen; None if the validator came later."""
    seats: tuple[Seat, ...]
    claims: Counter[str]
    """How many miners name each GPU UUID."""
    prior: Prior


def reveal_of(number: RoundNumber, beacon: Block, schedule: Schedule, ledger: Ledger) -> Reveal:
    """What is known when the commitments are in."""
    seats, state = ledger.seats(number), ledger.state(number)
    first = RoundNumber(max(0, number - WINDOW_BLOCKS // schedule.round_blocks))
    history = ledger.history(number, first=first)
    return Reveal(
        beacon=beacon,
        opened_unix_ms=state.opening.opened_unix_ms if state else None,
        seats=seats,
        claims=Counter(uuid for seat in seats for uuid in uuids(seat)),
        prior=prior_of(history, now=number, round_blocks=schedule.round_blocks),
    )


def context_of(seat: Seat, report: Report, reveal: Reveal, ledger: Ledger) -> Context:
    """What one report is held against."""
    cell_key, trace = cell_of(report).key, trace_digest(report)
    standing = Standing(
        miner=seat.hotkey,
        coldkey=seat.coldkey,
        prior=reveal.prior,
        earlier_shapes=ledger.earlier_shapes(seat.hotkey, cell_key),
        sharing=sharing_of(seat, reveal),
    )
    return Context(
        observed=observed(seat, reveal),
        baseline=ledger.baseline(cell_key, without=seat.hotkey),
        earlier_energies_mj=ledger.earlier_energies_mj(seat.hotkey, cell_key),
        earlier_traces=ledger.trace_count(trace, before=seat.round) if trace else 0,
        uuid_claims=max(reveal.claims[uuid] for uuid in uuids(seat)) - 1,
        standing=standing,
    )


def observed(seat: Seat, reveal: Reveal) -> Seconds | None:
    """From the round's first block to the commitment, if both were seen."""
    if reveal.opened_unix_ms is None or seat.commitment_unix_ms is None:
        return None
    return seconds_from_us((seat.commitment_unix_ms - reveal.opened_unix_ms) * _US_PER_MS)


def sharing_of(seat: Seat, reveal: Reveal) -> Sharing | None:
    """The committed runs of everybody who names one of the miner's GPUs; None if nobody else."""
    own = uuids(seat)
    committed = [other for other in reveal.seats if other.commitment and own & uuids(other)]
    times = [other.commitment_unix_ms for other in committed if other.commitment_unix_ms]
    if len(committed) <= 1 or reveal.opened_unix_ms is None or not times:
        return None
    return Sharing(
        durations_us=tuple(
            other.commitment.payload.duration_us for other in committed if other.commitment
        ),
        observed_us=(max(times) - reveal.opened_unix_ms) * _US_PER_MS,
    )


def uuids(seat: Seat) -> frozenset[str]:
    """The GPUs that a miner names."""
    devices = seat.profile.payload.devices if seat.profile else ()
    return frozenset(device.uuid for device in devices)
