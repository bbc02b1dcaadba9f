"""The story of one round, from the block that opens it to the verdicts on its miners.

Reads top to bottom in `RoundStory.play`: open, collect commitments, draw the sample, take in
reports and judge them. `validator.settlement` has the end: scores, log and weights. Every step
first looks at what is stored and does only the rest, so `play` may be called again after
anything, a killed process included, and nothing is lost or done twice.

A miner that was not asked in time, because this validator was away, gets no verdict at all:
our absence is not its failure.
"""

import asyncio
from dataclasses import replace

import structlog

from protocol.canonical import message_digest
from protocol.chain import Axon, Block, Neuron
from protocol.errors import ProtocolError, Rejection, RejectionCode, WorkloadError
from protocol.ids import BlockNumber, Hotkey, RoundNumber
from protocol.messages import Commitment, Profile, Report
from protocol.models import CATALOGUE
from protocol.networks import Network
from protocol.signing import Signed, sign, verify
from validator.checks import Terms, check_chain, check_profile, check_round, rejection_of
from validator.foresight import note_profiles
from validator.gathering import Reveal, context_of, reveal_of
from validator.judging import Evidence, judge_report
from validator.operators import trace_shape
from validator.ports import Ports
from validator.records import Facts, Opening, Seat
from validator.scoring import reason
from validator.settlement import conclude, in_time, settle
from validator.verdicts import Case, Judge, trace_digest, verdict_on

_log = structlog.get_logger(__name__)

_PUNCTUAL_BLOCKS = 1
"""A round first seen this many blocks after its start was seen from its start."""
_ADMISSIONS = 20
"""How often the chain is asked for new miners while commitments come in."""
_CATALOGUED = frozenset((str(model.id), model.revision) for model in CATALOGUE)

_UNANNOUNCED = Rejection(
    code=RejectionCode.WRONG_ASSIGNMENT,
    detail="a profile of several models binds from the round after the one that first sees it",
)
_EXCLUDED = Rejection(code=RejectionCode.EXCLUDED, detail="excluded for proven fraud")


class RoundStory:
    """Plays rounds of one network, as one validator.

    Args:
        judge: Who judges, and where.
        ports: The world.
    """

    def __init__(self, judge: Judge, ports: Ports) -> None:
        self._judge = judge
        self._ports = ports
        self._bench = asyncio.Lock()
        """Re-scoring takes all cores: one report at a time."""
        self._axons: dict[Hotkey, Axon] = {}

    @property
    def _network(self) -> Network:
        return self._judge.network

    async def play(self, number: RoundNumber) -> None:
        """The round, from wherever it stands to weights on chain.

        Raises:
            ChainError: If the chain is away; call again.
            StoreError: If the database does not keep what it is given.
        """
        state = self._ports.ledger.state(number)
        if state is None or state.scored_block is None:
            await self._open(number)
            await self._collect(number)
            beacon = await self._draw(number)
            await self._take_in(number, beacon)
            await conclude(number, self._judge, self._ports)
        await settle(number, self._judge, self._ports)

    async def foresee(self, number: RoundNumber) -> None:
        """Note what miners offer before the round's first block can be known.

        Their model is drawn from that profile, so that nobody chooses one after the draw.

        Raises:
            ChainError: If the chain is away; the round then binds the profile first seen.
        """
        await note_profiles(number, self._judge, self._ports)

    async def _open(self, number: RoundNumber) -> None:
        """Fix who is in the round and what seeds it."""
        ports, start = self._ports, self._network.schedule.start(number)
        if ports.ledger.state(number) is not None:
            return
        await ports.clock.reached(start)
        punctual = ports.clock.head.number <= start + _PUNCTUAL_BLOCKS
        opening = Opening(
            round=number,
            start_block=start,
            opened_unix_ms=ports.clock.unix_ms() if punctual else None,
            block_hash=await ports.chain.block_hash(start),
        )
        seats = await self._newcomers(number, frozenset())
        ports.ledger.open_round(opening, seats)
        _log.info("round_opened", round=number, block=start, miners=len(seats))

    async def _newcomers(self, number: RoundNumber, known: frozenset[Hotkey]) -> list[Seat]:
        """Seats for all miners on chain that have none yet; notes where each serves now."""
        metagraph = await self._ports.chain.metagraph()
        others = known | {self._judge.hotkey, metagraph.owner_hotkey}
        announced = self._ports.ledger.announcements(number)
        seats = []
        for neuron in metagraph.neurons:
            if neuron.axon is not None:
                self._axons[neuron.hotkey] = neuron.axon
                if neuron.hotkey not in others:
                    profile = announced.get(neuron.hotkey)
                    seats.append(self._seat(number, neuron, neuron.axon, profile))
        return seats

    def _seat(
        self, number: RoundNumber, neuron: Neuron, axon: Axon, profile: Signed[Profile] | None
    ) -> Seat:
        refusal = self._ports.miners.refusal(axon)
        deadline = self._network.schedule.commit_deadline(number)
        return Seat(
            round=number,
            hotkey=neuron.hotkey,
            coldkey=neuron.coldkey,
            uid=neuron.uid,
            axon=axon,
            profile=profile,
            failure=refusal,
            asked_block=deadline if refusal else None,
        )

    async def _collect(self, number: RoundNumber) -> None:
        """Ask every miner at every block until it has committed or the deadline has passed.

        Miners that come while the round runs are let in.
        """
        deadline = self._network.schedule.commit_deadline(number)
        step = max(1, self._network.schedule.commit_blocks // _ADMISSIONS)
        async with asyncio.TaskGroup() as group:
            seats = self._ports.ledger.seats(number)
            known = frozenset(seat.hotkey for seat in seats)
            while True:
                for seat in seats:
                    if seat.commitment is None and self._ports.miners.refusal(seat.axon) is None:
                        group.create_task(self._await_commitment(seat))
                now = self._ports.clock.head.number
                if now + step > deadline:
                    return
                await self._ports.clock.reached(BlockNumber(now + step))
                seats = tuple(await self._newcomers(number, known))
                self._ports.ledger.add_seats(seats)
                known |= {seat.hotkey for seat in seats}

    def _axon(self, seat: Seat) -> Axon:
        """Where the miner serves, as far as is known by now."""
        return self._axons.get(seat.hotkey, seat.axon)

    async def _await_commitment(self, seat: Seat) -> None:
        schedule, clock = self._network.schedule, self._ports.clock
        deadline = schedule.commit_deadline(seat.round)
        failure: Rejection | None = None
        while (now := clock.head.number) <= deadline:
            seat, answer = await self._ask_commitment(seat)
            if answer is None:
                return
            if in_time(now, schedule.start(seat.round), deadline):
                self._remember(seat, failure, answer, now)
                failure = answer
            await clock.reached(BlockNumber(now + 1))
        if failure is not None and failure.code is RejectionCode.NO_COMMITMENT:
            _, late = await self._ask_commitment(seat)
            self._remember(seat, failure, late or failure, deadline)

    def _remember(
        self, seat: Seat, before: Rejection | None, failure: Rejection, asked: BlockNumber
    ) -> None:
        """Keep why a miner gave no answer, when that is news."""
        if before is None or before.code is not failure.code:
            self._ports.ledger.keep_failure(seat.round, seat.hotkey, failure, asked=asked)

    async def _ask_commitment(self, seat: Seat) -> tuple[Seat, Rejection | None]:
        """One question, two if the profile is not known yet; None when the commitment is kept."""
        ports = self._ports
        if seat.profile is None:
            profile = await ports.miners.profile(seat.hotkey, self._axon(seat))
            refusal = self._profile_refusal(seat, profile)
            if isinstance(profile, Rejection) or refusal is not None:
                return seat, refusal
            ports.ledger.keep_profile(seat.round, seat.hotkey, profile)
            seat = replace(seat, profile=profile)
        signed = await ports.miners.commitment(seat.hotkey, self._axon(seat), seat.round)
        refusal = self._commitment_refusal(seat, signed)
        if isinstance(signed, Rejection) or refusal is not None:
            return seat, refusal
        seen, deadline = ports.clock.head, self._network.schedule.commit_deadline(seat.round)
        if seen.number > deadline:
            detail = f"first seen at block {seen.number}, the deadline was {deadline}"
            return seat, Rejection(code=RejectionCode.COMMITMENT_LATE, detail=detail)
        ports.ledger.keep_commitment(
            seat.round, signed, block=seen.number, unix_ms=ports.clock.unix_ms()
        )
        _log.info("commitment_seen", round=seat.round, miner=seat.hotkey, block=seen.number)
        return seat, None

    def _profile_refusal(self, seat: Seat, answer: Signed[Profile] | Rejection) -> Rejection | None:
        if isinstance(answer, Rejection):
            return answer
        try:
            verify(answer, hotkey=seat.hotkey)
        except ProtocolError as fault:
            return fault.rejection
        refusal = rejection_of(check_profile(self._terms(replace(seat, profile=answer))))
        if refusal is None and len(answer.payload.models) > 1:
            # Whoever may choose among models after the round's first block would pick one.
            looked = self._ports.ledger.announcements(seat.round)
            return _UNANNOUNCED if looked else None
        return refusal

    def _commitment_refusal(
        self, seat: Seat, answer: Signed[Commitment] | Rejection
    ) -> Rejection | None:
        """Why an answer is no commitment to this round; what it commits to is judged later."""
        if isinstance(answer, Rejection):
            return answer
        try:
            commitment = verify(answer, hotkey=seat.hotkey)
        except ProtocolError as fault:
            return fault.rejection
        if commitment.hotkey != seat.hotkey:
            return Rejection(code=RejectionCode.WRONG_MINER, detail=f"names {commitment.hotkey}")
        terms = self._terms(seat)
        return rejection_of((check_chain(terms, commitment), check_round(terms, commitment)))

    async def _draw(self, number: RoundNumber) -> Block:
        """The beacon: a block that nobody knew when the commitments were made."""
        ports, at = self._ports, self._network.schedule.beacon(number)
        state = ports.ledger.state(number)
        if state is not None and state.beacon_hash is not None:
            return Block(number=at, hash=state.beacon_hash)
        await ports.clock.reached(at)
        beacon = Block(number=at, hash=await ports.chain.block_hash(at))
        ports.ledger.keep_beacon(number, beacon.hash)
        return beacon

    async def _take_in(self, number: RoundNumber, beacon: Block) -> None:
        """Fetch the report behind every commitment, and judge it as soon as it is here."""
        ledger = self._ports.ledger
        judged = {signed.payload.miner for signed in ledger.verdicts(number)}
        excluded = ledger.excluded(number)
        reveal = await self._ports.workshop(
            reveal_of, number, beacon, self._network.schedule, ledger
        )
        async with asyncio.TaskGroup() as group:
            for seat in reveal.seats:
                if seat.hotkey in judged:
                    continue
                if {seat.hotkey, seat.coldkey} & excluded:
                    self._pronounce(seat, Case(refusal=_EXCLUDED))
                elif seat.commitment is not None:
                    group.create_task(self._await_report(seat, reveal))

    async def _await_report(self, seat: Seat, reveal: Reveal) -> None:
        clock, ledger = self._ports.clock, self._ports.ledger
        deadline = self._network.schedule.reveal_deadline(seat.round)
        signed = None
        if seat.report_digest:
            signed = await self._ports.workshop(ledger.report, seat.report_digest)
        failure: Rejection | None = None
        while signed is None and (now := clock.head.number) <= deadline:
            answer = await self._ask_report(seat)
            if not isinstance(answer, Rejection):
                signed = answer
                break
            if in_time(now, reveal.beacon.number, deadline):
                self._remember(seat, failure, answer, now)
                failure = answer
            await clock.reached(BlockNumber(now + 1))
        if signed is None:
            return
        digest = await self._ports.workshop(message_digest, signed.payload)
        seat = replace(seat, report_digest=digest)
        changed = await self._ask_commitment_again(seat)
        if changed is not None:
            self._pronounce(seat, Case(refusal=changed))
            return
        await self._judge_report(seat, signed.payload, reveal)

    async def _ask_report(self, seat: Seat) -> Signed[Report] | Rejection:
        ports = self._ports
        answer = await ports.miners.report(seat.hotkey, self._axon(seat), seat.round)
        if isinstance(answer, Rejection):
            return answer
        return await ports.workshop(self._keep_report, seat, answer)

    def _keep_report(self, seat: Seat, answer: Signed[Report]) -> Signed[Report] | Rejection:
        try:
            verify(answer, hotkey=seat.hotkey)
        except ProtocolError as fault:
            return fault.rejection
        self._ports.ledger.keep_report(seat.round, answer)
        return answer

    async def _ask_commitment_again(self, seat: Seat) -> Rejection | None:
        """Two signed commitments to one round prove fraud."""
        again = await self._ports.miners.commitment(seat.hotkey, self._axon(seat), seat.round)
        if seat.commitment is None or isinstance(again, Rejection):
            return None
        first, second = message_digest(seat.commitment.payload), message_digest(again.payload)
        if first == second or self._commitment_refusal(seat, again) is not None:
            return None
        detail = f"signed {first} first and {second} now"
        return Rejection(code=RejectionCode.COMMITMENT_CHANGED, detail=detail)

    async def _judge_report(self, seat: Seat, report: Report, reveal: Reveal) -> None:
        """Run all checks and the token proof; our own trouble leaves the miner without verdict."""
        if seat.commitment is None:
            return
        async with self._bench:
            try:
                case = await self._ports.workshop(
                    self._case, seat, seat.commitment.payload, report, reveal
                )
            except WorkloadError as error:
                _log.error(
                    "report_not_judged", round=seat.round, miner=seat.hotkey, error=str(error)
                )
                return
        self._pronounce(seat, case)

    def _case(self, seat: Seat, commitment: Commitment, report: Report, reveal: Reveal) -> Case:
        rescorer = self._ports.rescorer
        terms = self._terms(seat)
        terms = replace(terms, weights_digest=rescorer.weights_digest(terms.model))
        evidence = Evidence(
            terms=terms,
            commitment=commitment,
            report=report,
            context=context_of(seat, report, reveal, self._ports.ledger),
            beacon=reveal.beacon,
            sample_count=self._network.sample_count,
        )
        return replace(
            judge_report(evidence, rescorer),
            trace_digest=trace_digest(report),
            trace_shape=trace_shape(report.device_energy[0].trace) if report.device_energy else (),
        )

    def _terms(self, seat: Seat) -> Terms:
        state = self._ports.ledger.state(seat.round)
        if state is None or seat.profile is None:
            raise ValueError(f"round {seat.round} asks nothing of {seat.hotkey} yet")
        return Terms(
            genesis_hash=self._judge.genesis_hash,
            netuid=self._judge.netuid,
            hotkey=seat.hotkey,
            round=seat.round,
            block_hash=state.opening.block_hash,
            workload=self._network.workload,
            profile=seat.profile.payload,
            catalogued=_CATALOGUED,
            weights_digest=None,
            accepts_simulated=self._network.accepts_simulated,
        )

    def _pronounce(self, seat: Seat, case: Case) -> None:
        verdict = verdict_on(seat, case, self._judge)
        facts = Facts(
            verdict=sign(verdict, self._ports.signer),
            trace_digest=case.trace_digest,
            trace_shape=case.trace_shape,
        )
        self._ports.ledger.keep_verdict(facts)
        _log.info("verdict", round=seat.round, miner=seat.hotkey, conclusion=reason(verdict, None))
