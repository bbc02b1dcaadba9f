"""Months in minutes: rounds under every fault that a chain, a network and a miner can make.

Continuous integration plays 40 rounds, about two minutes on a quiet core; the goal is 300.

Memory is counted from round 20 on: by then the node has the 256 blocks of state that it retains (11
rounds), archives and pools are full, and the databases are larger than the caches in front of them.
Whatever grows with the rounds, in any role or in the node, is in what malloc has given out, in
the count of Python objects and in the resident size. That last one would also show the gaps that
glibc leaves between blocks, which differ from run to run; so large blocks are mapped one by one,
the heaps are two, and what is free goes back before it is read. Not counted are the hashes of the
chain's blocks, which no node forgets, and records of the standard logging, which pytest keeps with
all frames of their tracebacks.

The driver makes blocks as soon as what they wait for is there, so a round takes as long as its
work and its faults. Run more (20 or more) with CARBONBENCH_SOAK_ROUNDS, another course with
CARBONBENCH_SOAK_SEED.
"""

import asyncio
import ctypes
import gc
import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from protocol import connection, subtensor
from protocol.ids import BlockNumber, RoundNumber
from scripts.devnet.chain.subnet import SUBTENSOR
from tests.support.devnet import COLDKEY, running_devnet, seated_node
from tests.support.keys import DevSigner
from tests.support.small_network import (
    NETWORK,
    LiveMiner,
    LiveValidator,
    SmallNetwork,
    small_network,
)
from validator import follower
from validator.records import WeightOutcome

ROUNDS = int(os.environ.get("CARBONBENCH_SOAK_ROUNDS", "40"))
SEED = int(os.environ.get("CARBONBENCH_SOAK_SEED", "6"))
WARM_UP_ROUNDS = 20
LOOK_ROUNDS = 20
"""Between two looks at what is held."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300 + 15 * ROUNDS)]

SETTLE_SECONDS = 120.0
BLOCK_SECONDS = 0.7
"""Longest between two blocks: validators ask once a block for what is not there yet."""
GROWTH = 1.05


@dataclass(slots=True)
class Saboteur:
    """One fault at a time, drawn by a seed."""

    network: SmallNetwork
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    _repairs: list[Callable[[], None]] = field(default_factory=list)

    @property
    def faults(self) -> dict[str, Callable[[], object]]:
        node = self.network.devnet.node
        return {
            "restart": lambda: node.faults.restart(0.2),
            "freeze": self._freeze,
            "half_open": node.faults.half_open,
            "cut": node.faults.cut,
            "close": node.faults.close,
            "delay": self._delay,
            "dropped_axon": self._drop_axon,
            "error": lambda: self._misbehave("error"),
            "loris": lambda: self._misbehave("loris"),
            "oversized": lambda: self._misbehave("oversized"),
            "bomb": lambda: self._misbehave("bomb"),
            "uid_reassigned": self._reassign,
            "clock_skew": self._skew,
        }

    def strike(self) -> None:
        """Begin a fault."""
        name = self.chance.choice(sorted(self.faults))
        self.counts[name] += 1
        self.faults[name]()

    def repair(self) -> None:
        """End all faults that last."""
        while self._repairs:
            self._repairs.pop()()

    def _victim(self) -> LiveMiner:
        return self.chance.choice(self.network.miners)

    def _freeze(self) -> None:
        faults = self.network.devnet.node.faults
        faults.freeze()
        asyncio.get_running_loop().call_later(0.7, faults.thaw)

    def _delay(self) -> None:
        faults = self.network.devnet.node.faults
        faults.delay_seconds = 0.05
        self._repairs.append(lambda: setattr(faults, "delay_seconds", 0.0))

    def _misbehave(self, mode: str) -> None:
        face = self._victim().face
        face.mode = mode
        self._repairs.append(lambda: setattr(face, "mode", "none"))

    def _skew(self) -> None:
        victim = self._victim()
        victim.skew_seconds = self.chance.choice((-15.0, -5.0, 5.0, 15.0))
        self._repairs.append(lambda: setattr(victim, "skew_seconds", 0.0))

    def _drop_axon(self) -> None:
        """The chain names a port where nobody is, until the miner announces itself again."""
        subnet, victim = self.network.devnet.subnet, self._victim()
        record = subnet.get("Axons", victim.signer.hotkey)
        if record:
            subnet.put("Axons", victim.signer.hotkey, value={**record, "port": 9})

    def _reassign(self) -> None:
        """A stranger takes a miner's UID, and the miner registers again."""
        subnet, victim = self.network.devnet.subnet, self._victim()
        uid = subnet.uid(victim.signer.hotkey)
        if uid is None:
            return
        stranger = DevSigner(f"//stranger-{self.counts['uid_reassigned']}").hotkey
        subnet.replace(uid, stranger, COLDKEY)

        def return_it() -> None:
            subnet.replace(uid, victim.signer.hotkey, COLDKEY)

        self._repairs.append(return_it)


@dataclass(slots=True)
class Driver:
    """Makes blocks when what they wait for is there."""

    network: SmallNetwork
    missing: int = 0
    """Miners that cannot be waited for in this round."""

    @property
    def head(self) -> BlockNumber:
        return BlockNumber(self.network.devnet.node.head.number)

    def to(self, block: int) -> None:
        node = self.network.devnet.node
        if block > node.head.number:
            node.mine(block - node.head.number)

    async def play(self, number: RoundNumber, saboteur: Saboteur, *, sabotage: bool) -> None:
        """One round, with a fault somewhere in it."""
        schedule = NETWORK.schedule
        self.missing = int(sabotage)
        moment = saboteur.chance.randrange(4) if sabotage else None
        self.to(schedule.start(number))
        if moment == 0:
            saboteur.strike()
        deadline = schedule.commit_deadline(number)
        await self._approach(deadline, lambda: self._counted(number, "committed"))
        if moment == 1:
            saboteur.strike()
        self.to(deadline)
        await asyncio.sleep(0.15)
        self.to(schedule.beacon(number))
        if moment == 2:
            saboteur.strike()
        deadline = schedule.reveal_deadline(number)
        await self._approach(deadline, lambda: self._counted(number, "verdicts"))
        self.to(deadline + 1)
        if moment == 3:
            saboteur.strike()
        await self._until(lambda: self._settled(number), 1.0)
        saboteur.repair()
        await self._settle(number)

    async def _settle(self, number: RoundNumber) -> None:
        """Make blocks until the round's weights are set."""
        begun = time.monotonic()
        while not await self._until(lambda: self._settled(number), BLOCK_SECONDS):
            assert time.monotonic() - begun < SETTLE_SECONDS, f"round {number} is not settled"
            self.network.devnet.node.mine(1)

    def _counted(self, number: RoundNumber, what: str) -> bool:
        counts = [v.store.progress(number)[what] for v in self.network.validators]
        return min(counts) >= len(self.network.miners) - self.missing

    def _settled(self, number: RoundNumber) -> bool:
        """Whether each has set the round's weights, or scored a later round instead."""
        stores = [validator.store for validator in self.network.validators]
        return all(
            ((state := store.state(number)) is not None and state.weights_block is not None)
            or store.has_scored_after(number)
            for store in stores
        )

    async def _approach(self, deadline: int, done: Callable[[], bool]) -> None:
        """Make blocks up to a deadline until something is there."""
        while not await self._until(done, BLOCK_SECONDS) and self.head < deadline:
            self.network.devnet.node.mine(1)

    async def _until(self, done: Callable[[], bool], patience_seconds: float) -> bool:
        deadline = time.monotonic() + patience_seconds
        while not done():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True


@dataclass(frozen=True, slots=True)
class Held:
    """What this process holds."""

    memory_bytes: int
    heap_bytes: int
    """Given out by malloc and not freed; 0 where that cannot be told."""
    objects: int
    """Python objects that the collector knows, without the chain's blocks."""
    descriptors: int
    threads: int
    tasks: int

    @classmethod
    def now(cls, network: SmallNetwork) -> "Held":
        gc.collect()
        give_back()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            memory_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
            heap_bytes=heap_bytes(),
            objects=len(gc.get_objects()) - len(network.devnet.node.blocks),
            descriptors=len(list(Path("/proc/self/fd").iterdir())),
            threads=len(list(Path("/proc/self/task").iterdir())),
            tasks=len(asyncio.all_tasks()),
        )


LIBC = ctypes.CDLL(None)
"""glibc, or another C library that has less to tell."""
MMAP_THRESHOLD, ARENA_MAX = -3, -8
"""`M_MMAP_THRESHOLD` and `M_ARENA_MAX` of malloc.h."""


class Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def leave_no_gaps() -> None:
    """Have glibc map blocks from 128 KiB on by themselves, and keep to two heaps."""
    if hasattr(LIBC, "mallopt"):
        LIBC.mallopt(MMAP_THRESHOLD, 128 * 1024)
        LIBC.mallopt(ARENA_MAX, 2)


def give_back() -> None:
    """Have glibc return its free pages to the system."""
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)


def heap_bytes() -> int:
    """What malloc has given out and not got back."""
    if not hasattr(LIBC, "mallinfo2"):
        return 0
    LIBC.mallinfo2.restype = Mallinfo
    found = LIBC.mallinfo2()
    return int(found.uordblks + found.hblkhd)


async def test_months_of_faults_lose_no_weights_and_leak_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_no_gaps()
    hurry(monkeypatch)
    monkeypatch.setattr(logging.getLogger("websockets.server"), "disabled", True)
    node = seated_node("--set", "Tempo=50", "--set", f"WeightsSetRateLimit={RATE_LIMIT_BLOCKS}")
    async with running_devnet(node) as devnet, small_network(devnet, tmp_path) as network:
        saboteur, driver = Saboteur(network, random.Random(SEED)), Driver(network)  # noqa: S311
        begun = time.monotonic()
        looks: dict[int, Held] = {}
        played: list[RoundNumber] = []
        while len(played) < ROUNDS:
            played.append(RoundNumber(NETWORK.schedule.round_at(driver.head) + 1))
            await driver.play(played[-1], saboteur, sabotage=len(played) % 2 == 0)
            if len(played) % LOOK_ROUNDS == 0 or len(played) == ROUNDS:
                await asyncio.sleep(1)
                looks[len(played)] = Held.now(network)
                say(f"\nround {len(played)}: {looks[len(played)]}")
        spent = time.monotonic() - begun
        say(f"\n{ROUNDS} rounds in {spent:.0f} s; faults {dict(saboteur.counts)}")
        check_weights(network, played)

    check_held(looks[WARM_UP_ROUNDS], looks[ROUNDS])


def check_held(before: Held, after: Held) -> None:
    """Nothing grew."""
    assert after.memory_bytes < GROWTH * before.memory_bytes
    assert after.heap_bytes <= GROWTH * before.heap_bytes
    assert after.objects < GROWTH * before.objects
    assert after.descriptors <= before.descriptors + 2
    assert after.threads <= before.threads
    assert after.tasks <= before.tasks + 2


RATE_LIMIT_BLOCKS = 5


def say(text: str) -> None:
    """For whoever runs it with `-s`."""
    sys.stdout.write(text + "\n")


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs for a network whose blocks take a fraction of a second.

    They leave a busy machine the time to decode the runtimes of eight connections at once.
    """
    monkeypatch.setattr(subtensor, "READ_TIMEOUT_SECONDS", 3.0)
    monkeypatch.setattr(subtensor, "WRITE_TIMEOUT_SECONDS", 15.0)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", 10.0)
    monkeypatch.setattr(connection, "BACKOFF_SECONDS", (0.0, 0.05, 0.1, 0.2))
    monkeypatch.setattr(follower, "_POLL_MIN_SECONDS", 0.1)


def is_superseded(validator: LiveValidator, number: RoundNumber) -> bool:
    """Whether a round's weights gave way to those of a later round."""
    state = validator.store.state(number)
    return state is None or state.weights_block is None


def check_weights(network: SmallNetwork, played: list[RoundNumber]) -> None:
    """Every round's vector was set by both, none was sent too fast, and they agree on the good."""
    for validator in network.validators:
        attempts = [attempt for number in played for attempt in validator.store.attempts(number)]
        assert {a.cause for a in attempts if a.outcome is WeightOutcome.REFUSED} == set()
        assert {a.cause for a in attempts if a.outcome is WeightOutcome.WITHHELD} == set()
        set_count = sum(a.outcome is WeightOutcome.SET for a in attempts)
        say(f"attempts {Counter((a.outcome.value, a.cause) for a in attempts)}")
        superseded = sum(is_superseded(validator, number) for number in played)
        say(f"{set_count} set, {superseded} superseded by a later round's")
        assert superseded <= ROUNDS * 0.05
        assert set_count >= ROUNDS * 0.9  # the rest went out in attempts of unknown fate
        outcomes = Counter(
            signed.payload.outcome
            for number in played
            for signed in validator.store.verdicts(number)
        )
        say(f"verdicts {dict(outcomes)}")
        assert outcomes["accepted"] >= ROUNDS * len(network.miners) / 2
    refusals = network.devnet.node.refusals
    assert refusals[f"{SUBTENSOR}.SettingWeightsTooFast"] == 0, refusals
