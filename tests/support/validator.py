"""One validator in virtual time: blocks pass when a test says so."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

from protocol.chain import Axon, Block
from protocol.ids import BlockNumber, Coldkey, RoundNumber
from protocol.messages import MinerScore, RoundRecord, Verdict
from protocol.networks import Network
from tests.support.chain import FakeChain, FakeLedger
from tests.support.keys import DevSigner
from tests.support.simulator import NETWORK, SimulatedMiner, SimulatedMiners, ToyRescorer
from validator.database import database_url, migrate, open_engine
from validator.follower import first_error
from validator.log import TransparencyLog
from validator.ports import Ports
from validator.round import RoundStory
from validator.scoring import reason
from validator.store import Store
from validator.verdicts import Judge

P = ParamSpec("P")
T = TypeVar("T")

_SETTLING_TURNS = 60
"""Turns of the event loop in which everything that a block sets off comes to rest."""


async def inline(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A workshop without threads."""
    return work(*args, **kwargs)


@dataclass
class HandClock:
    """A `validator.ports.Clock` on a ledger that tests advance."""

    ledger: FakeLedger
    block_ms: int = 500
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def head(self) -> Block:
        number = BlockNumber(self.ledger.number)
        return Block(number=number, hash=self.ledger.hash_of(number))

    async def reached(self, number: BlockNumber) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self.ledger.number >= number)

    def unix_ms(self) -> int:
        return 1_700_000_000_000 + self.ledger.number * self.block_ms

    async def advance(self, blocks: int = 1) -> None:
        """Let blocks pass, one by one, and everything that follows from each."""
        for _ in range(blocks):
            self.ledger.advance()
            async with self._moved:
                self._moved.notify_all()
            for _ in range(_SETTLING_TURNS):
                await asyncio.sleep(0)


def open_store(url: str | None, data_dir: Path) -> tuple[Store, TransparencyLog]:
    """A migrated database and its log."""
    engine = open_engine(database_url(url, data_dir))
    migrate(engine)
    log = TransparencyLog(engine)
    return Store(engine, log), log


class Simulation:
    """Miners and one validator on one chain.

    Args:
        miners: Who mines.
        data_dir: Where the validator keeps its database.
        database: Its URL, for another database than SQLite.
        ledger: The chain, when several validators share one.
        validator: Its name.
    """

    def __init__(
        self,
        miners: Sequence[SimulatedMiner],
        data_dir: Path,
        *,
        database: str | None = None,
        ledger: FakeLedger | None = None,
        validator: str = "Validator",
        network: Network = NETWORK,
    ) -> None:
        self.ledger = ledger or FakeLedger(number=network.schedule.round_blocks - 1)
        self.network = network
        self.signer = DevSigner(f"//{validator}")
        self.miners = {miner.hotkey: miner for miner in miners}
        data_dir.mkdir(parents=True, exist_ok=True)
        self._data_dir, self._database = data_dir, database
        self.chain = FakeChain(self.ledger, self.signer.hotkey)
        self.port = SimulatedMiners(self.ledger, self.miners)
        self.rescorer = ToyRescorer(network)
        self._register()
        self.clock = HandClock(self.ledger)
        self.store, self.log = open_store(database, data_dir)
        self.story = self._story()

    def _register(self) -> None:
        if self.ledger.neuron(self.signer.hotkey) is None:
            coldkey = Coldkey(DevSigner("//ValidatorColdkey").hotkey)
            self.ledger.register(self.signer.hotkey, coldkey, stake_tao=1000, permit=True)
        for place, miner in enumerate(self.miners.values()):
            if self.ledger.neuron(miner.hotkey) is None:
                self.ledger.register(miner.hotkey, miner.coldkey)
                axon = Axon(ip="127.0.0.1", port=9000 + place)
                self.ledger.change(miner.hotkey, axon=axon)

    def _story(self) -> RoundStory:
        judge = Judge(
            hotkey=self.signer.hotkey,
            genesis_hash=self.ledger.genesis,
            netuid=self.ledger.netuid,
            network=self.network,
        )
        ports = Ports(
            chain=self.chain,
            miners=self.port,
            rescorer=self.rescorer,
            ledger=self.store,
            clock=self.clock,
            signer=self.signer,
            workshop=inline,
        )
        return RoundStory(judge, ports)

    def restart(self) -> None:
        """A new process on the same database."""
        self.store.close()
        self.clock = HandClock(self.ledger)
        self.store, self.log = open_store(self._database, self._data_dir)
        self.story = self._story()

    async def play(self, number: int) -> RoundRecord:
        """One whole round, block by block; its record."""
        task = asyncio.create_task(self.story.play(RoundNumber(number)))
        end = self.network.schedule.start(RoundNumber(number + 1)) + 10
        while not task.done() and self.ledger.number < end:
            await self.clock.advance()
        if not task.done():
            task.cancel()
            raise AssertionError(f"round {number} did not end by block {end}")
        try:
            await task
        except BaseExceptionGroup as group:
            raise first_error(group) from group
        return self.record(number)

    async def play_until(self, number: int, block: int) -> None:
        """A round whose validator is killed at a block."""
        task = asyncio.create_task(self.story.play(RoundNumber(number)))
        while self.ledger.number < block and not task.done():
            await self.clock.advance()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def record(self, number: int) -> RoundRecord:
        signed = self.store.record(RoundNumber(number))
        assert signed is not None, f"round {number} has no record"
        return signed.payload

    def verdict(self, name: str, number: int) -> Verdict:
        hotkey = DevSigner(f"//{name}").hotkey
        verdicts = self.store.verdicts(RoundNumber(number))
        return next(signed.payload for signed in verdicts if signed.payload.miner == hotkey)

    def score(self, name: str, number: int) -> MinerScore:
        hotkey = DevSigner(f"//{name}").hotkey
        return next(score for score in self.record(number).scores if score.miner == hotkey)

    def code(self, name: str, number: int) -> str:
        """Rejection code of a miner's round; empty if accepted."""
        rejection = self.verdict(name, number).rejection
        return rejection.code if rejection else ""

    def reason(self, name: str, number: int) -> str:
        return reason(self.verdict(name, number), self.score(name, number))
