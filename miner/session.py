"""The miner's story: follow the chain, measure each round's run, commit to it, serve it.

`Session` meets the rounds one by one. What it needs of the world are the ports of `miner.ports`;
it waits only through its `pause` port, so that a test plays hours in milliseconds. A round ends in
one of three ways, and all are kept: committed, refused (no number that we would sign) or declined
(no time for an honest run).
"""

import asyncio
import contextlib
import threading
from dataclasses import asdict

import structlog

from miner.admission import METAGRAPH_BLOCKS, is_stale, is_stalled, refusal_of
from miner.outcome import Declined, State, outcome_of, state_after
from miner.ports import OverdueError, Ports, StoppedError, measure
from miner.reporting import (
    Assignment,
    Identity,
    Machine,
    build_commitment,
    build_leaves,
    build_profile,
    build_report,
)
from protocol.canonical import message_digest
from protocol.chain import Axon, Block, CallRefusedError, Metagraph
from protocol.errors import (
    ChainError,
    ConfigurationError,
    Error,
    Rejection,
    RejectionCode,
    StoreError,
)
from protocol.ids import BlockNumber, Hotkey, RoundNumber, Uid
from protocol.messages import Commitment, Profile
from protocol.networks import Network
from protocol.rounds import assign
from protocol.signing import Signed, sign
from protocol.units import Seconds, microseconds, seconds, seconds_from_us

_log = structlog.get_logger("miner")

_POLL_MIN_SECONDS = 0.2
_POLL_MAX_SECONDS = 2.0
_RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_STALLED_HINT = "Look at the node behind MINER_ENDPOINT, or name another one."
_TIME_MARGIN = 1.1
"""A run is begun if this many times the shortest recent one's duration is left."""
_RECENT_ROUNDS = 3
"""Rounds that say how long a run takes; older ones are forgotten, so a slow day passes."""


class Session:
    """One miner on one network, from its start to its end.

    Args:
        identity: Who signs, and for which network.
        network: The profile of the network.
        machine: What the reports say about this machine.
        axon: Where this miner serves; announced again whenever the chain says otherwise.
        ports: Everything outside.

    Raises:
        ConfigurationError: If a device is simulated and the network takes only real ones.
    """

    def __init__(
        self, *, identity: Identity, network: Network, machine: Machine, axon: Axon, ports: Ports
    ) -> None:
        if machine.simulated and not network.accepts_simulated:
            raise ConfigurationError(
                f"a simulated GPU is refused on the network {network.name!r}",
                hint="Only devnet takes figures of simulated devices.",
            )
        self.identity = identity
        self.network = network
        self.state = State.IDLE
        self.head: Block | None = None
        self.archive = ports.archive
        self.profile: Signed[Profile] = sign(
            build_profile(identity, machine, ports.engine.models), ports.signer
        )
        self._profile_digest = message_digest(self.profile.payload)
        self.axon = axon
        self._machine, self._ports = machine, ports
        self._metagraph: Metagraph | None = None
        self._metagraph_at_ns = 0
        self._met: RoundNumber | None = None
        self._deadline: BlockNumber | None = None
        self._head_at_ns = 0
        self._stalled = False
        self._run_us = 0
        self._stopping = threading.Event()

    @property
    def uid(self) -> Uid | None:
        """This hotkey's UID as last seen; None when it is not registered."""
        neuron = self._metagraph.by_hotkey(self.identity.hotkey) if self._metagraph else None
        return neuron.uid if neuron else None

    @property
    def block(self) -> BlockNumber:
        """Number of the newest block seen; 0 before the first."""
        return self.head.number if self.head else BlockNumber(0)

    @property
    def chain_age_seconds(self) -> Seconds:
        """Time since the chain was last seen to have a new block (s); 0 before the first."""
        return Seconds(0.0) if self.head is None else self._age(self._head_at_ns)

    @property
    def metagraph(self) -> Metagraph | None:
        """The subnet as last seen; None before the first look."""
        return self._metagraph

    def refusal_of(self, caller: Hotkey, *, stake_floor_tao: float) -> Rejection | None:
        """Why a caller may not read profile, commitments and reports; None when it may."""
        age = self._age(self._metagraph_at_ns)
        stale = is_stale(age, block_seconds=self.network.block_seconds)
        metagraph = None if stale else self._metagraph
        return refusal_of(caller, metagraph, stake_floor_tao=stake_floor_tao)

    def may_reveal(self, number: RoundNumber) -> bool:
        """Whether the commitment deadline of a round has passed, so that its report may go out."""
        deadline = self.network.schedule.commit_deadline(number)
        return self.head is not None and self.head.number > deadline

    async def begin(self) -> None:
        """Look at the chain once, and announce where this miner serves.

        Raises:
            ChainError: If the chain is away.
            ConfigurationError: If the hotkey is not registered.
        """
        await self._read_head()
        await self._read_metagraph()
        if self.uid is None:
            raise ConfigurationError(
                f"hotkey {self.identity.hotkey} holds no UID on subnet {self.identity.netuid}",
                hint="Register it with btcli (once; it costs a fee), then start again.",
            )
        await self._announce()

    async def follow(self) -> None:
        """Meet every round from now on, until `stop`. A chain that is away is waited for."""
        async with asyncio.TaskGroup() as tasks:
            failures = 0
            while not self._stopping.is_set():
                try:
                    due = await self._look()
                except ChainError as error:
                    _log.warning("chain_away", error=str(error), failures=failures + 1)
                    await self._ports.pause(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                    failures += 1
                    continue
                failures = 0
                if due is not None:
                    self._met, self.state = due, State.MEASURING
                    tasks.create_task(self._meet(due))
                await self._ports.pause(self._poll_seconds)

    def stop(self) -> None:
        """End `follow` and a run that is going on; its window is void."""
        self._stopping.set()

    async def _look(self) -> RoundNumber | None:
        """Read the head, and the metagraph when it is old; the round to meet, if one is due."""
        await self._read_head()
        seen = self._metagraph.block if self._metagraph else None
        if seen is None or not 0 <= self.block - seen < METAGRAPH_BLOCKS:
            await self._read_metagraph()
            await self._announce()
        number = self.network.schedule.round_at(self.block)
        if self.state is State.MEASURING or number == self._met:
            return None
        return number

    async def _meet(self, number: RoundNumber) -> None:
        """One round, from assignment to commitment; it ends in an outcome or is met again."""
        self._run_us = 0
        end: Commitment | Declined | Error
        try:
            end = await self._play(number)
        except ChainError as error:
            _log.warning("round_interrupted", round=number, error=str(error))
            self._met = None
            self.state = State.IDLE
            return
        except StoppedError:
            _log.info("round_stopped", round=number)
            self.state = State.IDLE
            return
        except Error as error:
            end = error
        outcome = outcome_of(number, end, self._run_us)
        self.state = state_after(outcome.ending)
        _log.info("round_ended", **asdict(outcome))
        try:
            is_news = self.archive.keep_outcome(outcome)
        except StoreError as error:  # a full disk must not end the service
            _log.error("outcome_not_kept", round=number, error=str(error))
            is_news = True
        if is_news:
            self._ports.tell(outcome)

    async def _play(self, number: RoundNumber) -> Commitment | Declined:
        kept = self.archive.commitment(number)
        if kept is not None:
            return kept.payload
        if self.archive.report(number) is None:
            declined = await self._reason_to_decline(number)
            if declined is not None:
                return declined
            try:
                await self._run(await self._assignment(number))
            except OverdueError as error:
                return Declined(code=RejectionCode.COMMITMENT_LATE, detail=str(error))
        return await self._commit(number)

    async def _reason_to_decline(self, number: RoundNumber) -> Declined | None:
        await self._read_metagraph()
        if self.uid is None:
            detail = f"hotkey {self.identity.hotkey} holds no UID"
            return Declined(code=RejectionCode.NOT_REGISTERED, detail=detail)
        try:
            self.archive.make_room()
        except StoreError as error:
            return Declined(code="no_space", detail=f"{error}. {error.hint}")
        try:
            await self._announce()
        except ChainError as error:  # the run is worth doing all the same
            _log.warning("axon_not_announced", error=str(error), hint=error.hint)
        left_seconds = self._seconds_left(number)
        needed_seconds = self._shortest_recent_seconds() * _TIME_MARGIN
        if left_seconds > needed_seconds:
            return None
        return Declined(
            code="no_time",
            detail=f"{left_seconds:.0f} s to the deadline, a run takes {needed_seconds:.0f} s",
        )

    async def _assignment(self, number: RoundNumber) -> Assignment:
        block_hash = await self._ports.chain.block_hash(self.network.schedule.start(number))
        models = {(model.id, model.revision): model for model in self._ports.engine.models}
        chosen = assign(block_hash=block_hash, hotkey=self.identity.hotkey, models=tuple(models))
        return Assignment(
            identity=self.identity,
            round=number,
            block_hash=block_hash,
            model=models[chosen],
            workload=self.network.workload,
        )

    async def _run(self, assignment: Assignment) -> None:
        """Measure, and keep the signed report."""
        _log.info("round_started", round=assignment.round, model=assignment.model.id)
        ports, begun_ns = self._ports, self._ports.monotonic()
        self._deadline = self.network.schedule.commit_deadline(assignment.round)
        working = asyncio.create_task(
            asyncio.to_thread(measure, assignment.task, ports.engine, ports.meter, self._watch)
        )
        try:
            runs, energy = await asyncio.shield(working)
        except asyncio.CancelledError:  # the thread still reads the meter: outlive it
            self.stop()
            with contextlib.suppress(Error):
                await working
            raise
        finally:
            self._run_us = microseconds(ports.monotonic() - begun_ns)
        report = build_report(assignment, build_leaves(runs), energy, self._machine)
        self.archive.keep_report(sign(report, ports.signer))

    async def _commit(self, number: RoundNumber) -> Commitment | Declined:
        """Commit to the kept report, unless it comes too late or its block is gone."""
        kept = self.archive.report(number)
        if kept is None:
            raise StoreError(f"the report of round {number} is gone")
        await self._read_head()
        if self.may_reveal(number):
            detail = f"ready at block {self.block}, after the deadline"
            return Declined(code=RejectionCode.COMMITMENT_LATE, detail=detail)
        start = self.network.schedule.start(number)
        if await self._ports.chain.block_hash(start) != kept.payload.block_hash:
            detail = f"the chain has another block {start} now"
            return Declined(code=RejectionCode.WRONG_ROUND, detail=detail)
        commitment = build_commitment(kept.payload, profile_digest=self._profile_digest)
        self.archive.keep_commitment(sign(commitment, self._ports.signer))
        return commitment

    async def _read_head(self) -> None:
        """Read the newest block, and say once when none came for too long."""
        before, self.head = self.head, await self._ports.chain.head()
        if before is None or before.number != self.head.number:
            self._head_at_ns = self._ports.monotonic()
            self._stalled = False
        elif not self._stalled and is_stalled(
            self.chain_age_seconds, block_seconds=self.network.block_seconds
        ):
            self._stalled = True
            _log.warning("chain_stalled", block=self.head.number, hint=_STALLED_HINT)

    async def _read_metagraph(self) -> None:
        """Read who is registered and permitted."""
        self._metagraph = await self._ports.chain.metagraph()
        self._metagraph_at_ns = self._ports.monotonic()

    async def _announce(self) -> None:
        """Put on chain where this miner serves, unless it is there; a refusal is tried again."""
        own = self._metagraph.by_hotkey(self.identity.hotkey) if self._metagraph else None
        if own is None or own.axon == self.axon:
            return
        try:
            await self._ports.chain.serve_axon(self.axon)
        except CallRefusedError as error:  # such as the rate limit, after a move
            _log.warning("axon_not_announced", error=str(error), hint=error.hint)
        else:
            _log.info("axon_announced", ip=self.axon.ip, port=self.axon.port)

    def _age(self, since_ns: int) -> Seconds:
        return seconds(self._ports.monotonic() - since_ns)

    def _seconds_left(self, number: RoundNumber) -> float:
        blocks = self.network.schedule.commit_deadline(number) - self.block
        return blocks * self.network.block_seconds

    def _shortest_recent_seconds(self) -> Seconds:
        recent = self.archive.outcomes()[:_RECENT_ROUNDS]
        runs_us = [outcome.run_us for outcome in recent if outcome.run_us]
        return seconds_from_us(min(runs_us, default=0))

    @property
    def _poll_seconds(self) -> float:
        return min(max(self.network.block_seconds / 8, _POLL_MIN_SECONDS), _POLL_MAX_SECONDS)

    def _watch(self, _done: int) -> None:
        if self._stopping.is_set():
            raise StoppedError("the run was stopped")
        if self._deadline is not None and self.block > self._deadline:
            raise OverdueError(f"still running at block {self.block}, after the deadline")
