"""The end of a round: verdicts become scores and log entries, scores become weights on chain."""

import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import structlog

from protocol.canonical import canonical_bytes, message_digest
from protocol.chain import CallRefusedError, Metagraph
from protocol.errors import ChainError, Rejection
from protocol.ids import BlockNumber, Digest, RoundNumber
from protocol.messages import RoundRecord, TreeHead, Verdict
from protocol.rounds import Schedule
from protocol.signing import Signed, sign
from validator.cohorts import WINDOW_BLOCKS
from validator.operators import Member, Pair, collapse, copied, never_at_once
from validator.ports import Conclusion, Ledger, Ports
from validator.records import Facts, RoundState, Seat
from validator.scoring import RECENT_ROUNDS, RoundScores, Scorecard, score_round
from validator.verdicts import Case, Judge, verdict_on
from validator.weight_setting import set_weights
from validator.weights import weigh

_log = structlog.get_logger(__name__)

LOG_MAGIC = b"carbonbench1:"
"""Starts what a validator commits on chain after a round; size and root of its log follow."""
_SIZE_BYTES = 8
_PRESENCE_SHARE = 8
"""A miner was asked in time if it was asked within the last eighth of the phase."""
_RETRY_MAX_BLOCKS = 32
_TURN_ROUNDS = 20
"""Rounds over which hotkeys that never run at once are looked for."""


async def conclude(number: RoundNumber, judge: Judge, ports: Ports) -> None:
    """Score the round and append it to the log, after every earlier round.

    Verdicts, record and tree head go to disk in one transaction.
    """
    ledger = ports.ledger
    while ledger.has_open_before(number):
        await ports.clock.reached(BlockNumber(ports.clock.head.number + 1))
    state = ledger.state(number)
    if state is None or state.scored_block is not None:
        return
    _pronounce_failures(number, judge, ports)
    metagraph = await ports.chain.metagraph()
    verdicts = ledger.verdicts(number)
    first = RoundNumber(max(0, number - WINDOW_BLOCKS // judge.network.schedule.round_blocks))
    card = Scorecard(
        round=number,
        round_blocks=judge.network.schedule.round_blocks,
        verdicts=tuple(signed.payload for signed in verdicts),
        operators=collapse(
            _members(ledger.seats(number), metagraph), await ports.workshop(links, number, ledger)
        ),
        history=await ports.workshop(ledger.history, number, first=first),
        averages_ppm=ledger.averages_ppm(number),
        recent_codes=ledger.recent_codes(number, count=RECENT_ROUNDS - 1),
        proof_failures=ledger.proof_failures(number),
    )
    scores = await ports.workshop(score_round, card)
    record = sign(round_record(state, verdicts, scores, metagraph, judge), ports.signer)
    entries = [*(canonical_bytes(entry) for entry in verdicts), canonical_bytes(record)]
    size, root = ledger.grown(entries)
    head = TreeHead(
        genesis_hash=judge.genesis_hash,
        netuid=judge.netuid,
        validator=judge.hotkey,
        size=size,
        root=root,
        round=number,
        block=metagraph.block,
        unix_ms=ports.clock.unix_ms(),
    )
    ledger.conclude(Conclusion(record=record, head=sign(head, ports.signer)))
    _log.info("round_concluded", round=number, verdicts=len(verdicts), log_size=size)


def links(number: RoundNumber, ledger: Ledger) -> tuple[Pair, ...]:
    """Hotkeys that behave like one: copied traces, and taking turns on one GPU."""
    found = list(never_at_once(ledger.runs(number, count=_TURN_ROUNDS)))
    for shapes in ledger.shapes(number).values():
        found += copied(shapes)
    return tuple(sorted(set(found)))


def round_record(
    state: RoundState,
    verdicts: Iterable[Signed[Verdict]],
    scores: RoundScores,
    metagraph: Metagraph,
    judge: Judge,
) -> RoundRecord:
    """What a round came to, ready to be signed."""
    return RoundRecord(
        genesis_hash=judge.genesis_hash,
        netuid=judge.netuid,
        validator=judge.hotkey,
        round=state.opening.round,
        start_block=state.opening.start_block,
        block_hash=state.opening.block_hash,
        scored_block=metagraph.block,
        burn_uid=metagraph.owner_uid(),
        verdict_digests=tuple(message_digest(signed.payload) for signed in verdicts),
        cells=scores.cells,
        scores=scores.scores,
        weights=weigh(scores.scores, metagraph),
    )


async def settle(number: RoundNumber, judge: Judge, ports: Ports) -> None:
    """Bring the log's root and the weights on chain, unless a later round has been scored.

    Keeps trying while the chain is away or refuses, more and more slowly.
    """
    wait_blocks = 1
    while not ports.ledger.has_scored_after(number):
        steps = (partial(_commit_root, number, ports), partial(set_weights, number, judge, ports))
        if all([await _done(number, step) for step in steps]):
            return
        await ports.clock.reached(BlockNumber(ports.clock.head.number + wait_blocks))
        wait_blocks = min(2 * wait_blocks, _RETRY_MAX_BLOCKS)


async def _done(number: RoundNumber, step: Callable[[], Awaitable[None]]) -> bool:
    """Whether a step was done; one that the chain refuses keeps no other from being tried."""
    try:
        await step()
    except ChainError as error:
        cause = error.reason if isinstance(error, CallRefusedError) else "unreachable"
        _log.warning("not_settled", round=number, cause=cause, error=str(error))
        return False
    return True


async def _commit_root(number: RoundNumber, ports: Ports) -> None:
    head = ports.ledger.head_to_commit(number)
    if head is None:
        return
    data = log_commitment(head.size, Digest(head.root))
    present = await ports.chain.commitment(ports.signer.hotkey)
    if present is None or present.data != data:
        await ports.chain.commit(data)
    ports.ledger.mark_committed(head.size)


def log_commitment(size: int, root: Digest) -> bytes:
    """What goes on chain for a log of this size and root (53 bytes)."""
    return LOG_MAGIC + size.to_bytes(_SIZE_BYTES, "big") + bytes.fromhex(root)


def _pronounce_failures(number: RoundNumber, judge: Judge, ports: Ports) -> None:
    """Verdicts on the miners that gave nothing to judge, if we were there to ask."""
    judged = {signed.payload.miner for signed in ports.ledger.verdicts(number)}
    for seat in ports.ledger.seats(number):
        failure = missed(seat, judge.network.schedule)
        if seat.hotkey not in judged and failure is not None:
            verdict = verdict_on(seat, Case(refusal=failure), judge)
            ports.ledger.keep_verdict(Facts(verdict=sign(verdict, ports.signer)))


def missed(seat: Seat, schedule: Schedule) -> Rejection | None:
    """What the miner failed to give; None if it gave all, or was not asked near the deadline."""
    if seat.report_digest is not None or seat.failure is None or seat.asked_block is None:
        return None
    start, deadline = schedule.start(seat.round), schedule.commit_deadline(seat.round)
    if seat.commitment is not None:
        start, deadline = schedule.beacon(seat.round), schedule.reveal_deadline(seat.round)
    return seat.failure if in_time(seat.asked_block, start, deadline) else None


def in_time(asked: BlockNumber, start: BlockNumber, deadline: BlockNumber) -> bool:
    """Whether a question so near to a deadline shows what the miner had by then."""
    return asked >= deadline - (deadline - start) // _PRESENCE_SHARE


def _members(seats: Iterable[Seat], metagraph: Metagraph) -> list[Member]:
    """Everybody who may have a score: this round's miners and all registered neurons."""
    known = {
        seat.hotkey: Member(
            hotkey=seat.hotkey,
            coldkey=seat.coldkey,
            gpu_uuids=_gpu_uuids(seat),
            ip=_address(seat),
        )
        for seat in seats
    }
    others = (neuron for neuron in metagraph.neurons if neuron.hotkey not in known)
    return [
        *known.values(),
        *(Member(hotkey=neuron.hotkey, coldkey=neuron.coldkey) for neuron in others),
    ]


def _gpu_uuids(seat: Seat) -> tuple[str, ...]:
    devices = seat.profile.payload.devices if seat.profile else ()
    return tuple(device.uuid for device in devices)


def _address(seat: Seat) -> str | None:
    try:
        return str(ipaddress.ip_address(seat.axon.ip))
    except ValueError:
        return None
