"""A round's weights on chain: made anew at the last moment, sent once, read back, recorded.

Nothing is sent that the chain would refuse: every rule of pallet-subtensor that can be read
from the chain is looked at first, so that no extrinsic is ever too fast. Each attempt, and each
reason for none, is kept (`validator.records.WeightAttempt`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from protocol.chain import (
    CallRefusedError,
    Chain,
    Hyperparameters,
    Metagraph,
    Neuron,
    as_stored,
)
from protocol.errors import ChainError
from protocol.ids import BlockNumber, RoundNumber, Uid
from validator.ports import Ports
from validator.records import WeightAttempt, WeightOutcome
from validator.verdicts import Judge
from validator.weights import (
    chain_vector,
    next_allowed_block,
    setter_fault,
    vector_fault,
    weigh,
)

_log = structlog.get_logger(__name__)

_HINTS = {
    "not_registered": "Register the hotkey: carbonbench-validator register.",
    "no_permit": "Add stake; permits are given at the end of an epoch, to the top by stake.",
    "not_enough_stake": "Add stake: btcli stake add.",
    "too_few_weights": "The subnet asks for more weights than it has neurons.",
    "weight_too_large": "Ask the subnet's owner to lift max_weight_limit.",
    "nothing_to_weigh": "Nobody has scored, and the owner holds no UID to burn to.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The subnet at the moment of sending."""

    rules: Hyperparameters
    metagraph: Metagraph
    own: Neuron | None


async def set_weights(number: RoundNumber, judge: Judge, ports: Ports) -> None:
    """Send the round's vector once, as soon as the rate limit allows.

    The vector is made against the metagraph of that moment, so that a UID which has changed
    hands since scoring gets nothing.

    Raises:
        ChainError: If the chain is away or refuses; the attempt is kept, call again.
    """
    await _confirm_revealed(judge, ports)
    while not ports.ledger.has_scored_after(number):
        state = ports.ledger.state(number)
        if state is None or state.scored_block is None or state.weights_block is not None:
            return
        seen = await _look(judge, ports.chain)
        if seen.own is not None and seen.own.last_update_block > state.scored_block:
            # They went out before a restart, or in an attempt whose fate was unknown.
            ports.ledger.mark_weights(number, block=seen.own.last_update_block, vector={})
            return
        allowed = next_allowed_block(seen.own, seen.rules) if seen.own else BlockNumber(0)
        if seen.metagraph.block >= allowed:
            await _send(number, seen, ports)
            return
        await ports.clock.reached(allowed)


async def _look(judge: Judge, chain: Chain) -> _Seen:
    rules = await chain.hyperparameters()
    metagraph = await chain.metagraph()
    return _Seen(rules=rules, metagraph=metagraph, own=metagraph.by_hotkey(judge.hotkey))


async def _send(number: RoundNumber, seen: _Seen, ports: Ports) -> None:
    own_uid = seen.own.uid if seen.own else None
    vector = chain_vector(
        weigh(ports.ledger.scores(number), seen.metagraph),
        seen.metagraph,
        min_allowed=seen.rules.min_allowed_weights,
        own_uid=own_uid,
    )
    fault = setter_fault(seen.own, seen.metagraph, seen.rules) or vector_fault(vector, seen.rules)
    if fault:
        last = ports.ledger.last_attempt()
        if last is not None and (last.round, last.cause) == (number, fault):
            return
        _keep(number, ports, WeightOutcome.WITHHELD, vector, why=(fault, _HINTS[fault]))
        _log.warning("no_weights", round=number, cause=fault, hint=_HINTS[fault])
        return
    try:
        receipt = await ports.chain.set_weights(vector, version_key=seen.rules.weights_version_key)
    except CallRefusedError as error:
        why = (error.reason, str(error))
        _keep(number, ports, WeightOutcome.REFUSED, vector, why=why)
        raise
    except ChainError as error:
        _keep(number, ports, WeightOutcome.FAILED, vector, why=("unreachable", str(error)))
        raise
    locked = receipt.reveal_round is not None
    outcome = WeightOutcome.COMMITTED if locked else WeightOutcome.SET
    _keep(number, ports, outcome, vector, reveal_round=receipt.reveal_round)
    ports.ledger.mark_weights(number, block=ports.clock.head.number, vector=vector)
    _log.info("weights_set", round=number, weights=len(vector), timelocked=locked)


async def _confirm_revealed(judge: Judge, ports: Ports) -> None:
    """Look once whether the last timelocked vector has shown, when it is due."""
    last = ports.ledger.last_attempt()
    if last is None or last.outcome is not WeightOutcome.COMMITTED:
        return
    seen = await _look(judge, ports.chain)
    epochs = seen.rules.reveal_period_epochs + 1
    if seen.own is None or seen.metagraph.block < last.block + epochs * seen.rules.tempo_blocks:
        return
    if await ports.chain.weights(seen.own.uid) == as_stored(last.weights):
        _keep(last.round, ports, WeightOutcome.SET, last.weights, why=("", "revealed"))
        return
    detail = "the chain shows other weights than were committed, after the reveal period"
    _keep(last.round, ports, WeightOutcome.FAILED, last.weights, why=("not_revealed", detail))
    _log.error("weights_not_revealed", round=last.round, block=last.block)


def _keep(
    number: RoundNumber,
    ports: Ports,
    outcome: WeightOutcome,
    vector: Mapping[Uid, int],
    *,
    why: tuple[str, str] = ("", ""),
    reveal_round: int | None = None,
) -> None:
    ports.ledger.keep_attempt(
        WeightAttempt(
            round=number,
            block=ports.clock.head.number,
            unix_ms=ports.clock.unix_ms(),
            outcome=outcome,
            cause=why[0],
            detail=why[1],
            weights=vector,
            reveal_round=reveal_round,
        )
    )
