"""Which hotkeys belong to one operator, so that many hotkeys of one owner count once.

An operator is everything that is connected (verification report, section 5.6) through

- a coldkey, a GPU UUID, or the network prefix of a public address;
- power traces of one round that show the same noise: one measurement under two names;
- ten rounds in which two hotkeys of one cell never ran at once, although all are challenged at
  the same block, and used the same energy to within what runs of one GPU differ by.

The last two never punish: the worst that they do is to let two reports share one pay. Pure, in
integers, so that validators with the same inputs join the same hotkeys.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import isqrt
from operator import mul

from protocol.ids import Coldkey, Hotkey, RoundNumber
from protocol.messages import PowerTrace
from validator.cohorts import median

IPV4_PREFIX_BITS = 24
IPV6_PREFIX_BITS = 48

SHAPE_ROWS = 256
"""Rows of a trace that are compared: 26 s at 10 Hz."""
SHAPE_MIN_ROWS = 64
"""Shorter traces say nothing."""
_RAMP_MS = 2_000
_CLIP = 4
COPIED_CORRELATION_PPM = 980_000
"""Correlation of two traces' changes from row to row. Two devices that run the same prompts
share the prompts' rhythm but not the sensor's noise."""

CONFLICT_ROUNDS = 10
"""Common rounds without one second of overlap that make two hotkeys suspect."""
EFFECT_GAP_NANO = 5_000_000
"""Difference of two hotkeys' median log energy that runs of one GPU show after ten rounds:
0.5 % (run-to-run 1.2 %, so 0.38 % x 1.25 for a median)."""
_OVERLAP_SHARE = 4
"""Windows that overlap by less than one in so many parts of the shorter one may still be one
after the other: a validator sees a commitment a block late."""
_PPM = 10**6

Pair = tuple[Hotkey, Hotkey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One miner, as far as it shows who operates it."""

    hotkey: Hotkey
    coldkey: Coldkey
    gpu_uuids: tuple[str, ...] = ()
    ip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """When one miner ran in one round, by this validator's clock, and what it measured."""

    round: RoundNumber
    miner: Hotkey
    cell_key: str
    start_ms: int
    end_ms: int
    log_nano: int


def collapse(members: Sequence[Member], links: Iterable[Pair] = ()) -> dict[Hotkey, Coldkey]:
    """Which operator each miner belongs to, named by its smallest coldkey.

    Args:
        members: All miners.
        links: Pairs of hotkeys that behave like one (`copied`, `never_at_once`).
    """
    coldkeys = {member.hotkey: f"coldkey {member.coldkey}" for member in members}
    edges = [(coldkeys[member.hotkey], link) for member in members for link in _links(member)]
    known = [pair for pair in links if coldkeys.keys() >= set(pair)]
    edges += [(coldkeys[one], coldkeys[other]) for one, other in known]
    parts = _Parts(edges)
    named: dict[str, Coldkey] = {}
    for member in sorted(members, key=lambda member: member.coldkey):
        named.setdefault(parts.root(coldkeys[member.hotkey]), member.coldkey)
    return {member.hotkey: named[parts.root(coldkeys[member.hotkey])] for member in members}


class _Parts:
    """Connected parts of a graph, each known by one of its nodes."""

    def __init__(self, edges: Iterable[tuple[str, str]]) -> None:
        self._parent: dict[str, str] = {}
        for one, other in edges:
            roots = sorted((self.root(one), self.root(other)))
            self._parent[roots[1]] = roots[0]

    def root(self, node: str) -> str:
        parent = self._parent
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node


def _links(member: Member) -> Iterable[str]:
    yield from (f"gpu {uuid}" for uuid in member.gpu_uuids)
    if member.ip is None:
        return
    address = ipaddress.ip_address(member.ip)
    if address.is_global:
        bits = IPV4_PREFIX_BITS if address.version == 4 else IPV6_PREFIX_BITS  # noqa: PLR2004 - IP version
        yield f"net {ipaddress.ip_network((address, bits), strict=False)}"


def trace_shape(trace: PowerTrace) -> tuple[int, ...]:
    """Changes of power from row to row within the window (mW); empty for a short trace.

    The ramp of the first two seconds is left out, and larger changes count as four times the
    median one: what is compared is the sensor's noise, not the load that all runs share. Empty
    for a sensor without noise.
    """
    rows = zip(trace.elapsed_ms, trace.power_mw, strict=False)
    powers = [power for at, power in rows if at >= _RAMP_MS][: SHAPE_ROWS + 1]
    if len(powers) <= SHAPE_MIN_ROWS:
        return ()
    changes = [later - earlier for earlier, later in pairwise(powers)]
    limit = _CLIP * median([abs(change) for change in changes])
    return tuple(max(-limit, min(limit, change)) for change in changes) if limit else ()


def copied(shapes: Mapping[Hotkey, Sequence[int]]) -> tuple[Pair, ...]:
    """Pairs of hotkeys whose traces of one round show the same noise.

    Args:
        shapes: `trace_shape` of reports of one round and cell.
    """
    known = [(hotkey, shape) for hotkey, shape in sorted(shapes.items()) if any(shape)]
    return tuple(
        (one, other)
        for (one, first), (other, second) in combinations(known, 2)
        if _is_copy(first, second)
    )


def _is_copy(first: Sequence[int], second: Sequence[int]) -> bool:
    likeness = likeness_ppm(first, second)
    return likeness is not None and likeness >= COPIED_CORRELATION_PPM


def likeness_ppm(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Correlation of two `trace_shape`s, rounded down by exact integers; 0 where it is negative.

    None when there are too few rows, or nothing moves.
    """
    rows = min(len(first), len(second))
    first, second = first[:rows], second[:rows]
    squares: int = sum(map(mul, first, first)) * sum(map(mul, second, second))
    if rows < SHAPE_MIN_ROWS or squares == 0:
        return None
    product: int = max(sum(map(mul, first, second)), 0)
    return isqrt((product * _PPM) ** 2 // squares)


def never_at_once(runs: Iterable[Run]) -> tuple[Pair, ...]:
    """Pairs of hotkeys that behave like one GPU under two names.

    In at least `CONFLICT_ROUNDS` common rounds of one cell, and in all that are known, one
    began only after the other had ended; and their median log energies are as near as those
    of one GPU.
    """
    by_seat: defaultdict[tuple[RoundNumber, str], list[Run]] = defaultdict(list)
    for run in runs:
        by_seat[run.round, run.cell_key].append(run)
    apart: defaultdict[Pair, list[tuple[Run, Run]]] = defaultdict(list)
    together: set[Pair] = set()
    for seat in by_seat.values():
        for one, other in combinations(sorted(seat, key=lambda run: run.miner), 2):
            pair = (one.miner, other.miner)
            if _ran_at_once(one, other):
                together.add(pair)
            else:
                apart[pair].append((one, other))
    return tuple(
        pair
        for pair, met in sorted(apart.items())
        if pair not in together and len(met) >= CONFLICT_ROUNDS and _is_one_effect(met)
    )


def _ran_at_once(one: Run, other: Run) -> bool:
    overlap = min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms)
    shorter = min(one.end_ms - one.start_ms, other.end_ms - other.start_ms)
    return _OVERLAP_SHARE * overlap > shorter


def _is_one_effect(met: Sequence[tuple[Run, Run]]) -> bool:
    gap = median([one.log_nano - other.log_nano for one, other in met])
    return abs(gap) <= EFFECT_GAP_NANO
