"""The API beside a trivial FastAPI route that gives the same bytes on the same server.

Each server is a process of its own; what counts is the CPU time of that process for a request
(user and system, all threads), which other work on the machine does not add to. Ours and the
anchor take turns batch by batch, and the median of the turns' ratios counts. Bodies go out
uncompressed on kept-alive connections, on both sides.

- hot: the default leaderboard, which a release answers from its own bytes.
- filtered: leaderboards under more distinct filters than a release keeps answers (512), asked in
  turn, so that each is computed anew every time.
- recommend: distinct constraints, in the same way. Constraints that admit the same rows share an
  answer, as they do in use; with `rows=distinct` each admits other rows, and nothing is shared.
- p99: a mix of eight hot requests, one filtered and one recommendation, sent at half the rate at
  which the server saturates, whatever it answers meanwhile; the anchor at half of its own. The
  median of several runs counts: on a machine that is lent in slices, some runs lose one.
- refresh: from the first source asked to the swap, with 31 days of hourly readings in every
  zone, and each time an hour later, while a client asks the mix 50 times a second.
"""

import gc
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations, islice, product
from pathlib import Path

import uvloop

from api.routes import LEADERBOARD, RECOMMEND
from api.tables import load_catalogue
from protocol.errors import ConfigurationError
from protocol.units import Seconds, microseconds, milliseconds
from scripts.bench.api_load import HOST, Client, metric, percentile
from scripts.bench.api_server import ANCHOR_PATH
from scripts.bench.entries import Entry, entry, labelled

HOT = LEADERBOARD
ANCHOR = f"FastAPI {version('fastapi')} on granian {version('granian')}, the same bytes"
CONNECTIONS = 8
TURNS = 15
BATCH = 400
"""Requests of a turn."""
HALF_LOADS = 5
RATE_SECONDS = 5.0
REFRESHES = 12
REFRESH_EVERY_SECONDS = 2.0
REFRESH_RATE = 50.0
COPIES = 10
"""How often the packaged table, of 3,000 rows, is taken for one of 30,000."""
_WAYS = 600
"""Distinct filters and constraints: more than a release keeps answers."""
_MODELS = ("llama-3.1-8b", "llama-3.1-70b", "gpt-oss-120b", "qwen3-32b", "mistral-7b")
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs."""

    process: int
    port: int

    def cpu_ns(self) -> int:
        """CPU time of the process so far."""
        # The process's own clock, by the kernel's rule for clocks of other processes.
        return time.clock_gettime_ns((~self.process << 3) | 2)


def run(share: float) -> list[Entry]:
    """All entries of this part.

    Args:
        share: Share of the turns, the refreshes and the runs under load.

    Raises:
        ConfigurationError: If an answer is not what it should be.
    """
    # A collection of the client's would count as a stall of the server.
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_entries(share))
    finally:
        gc.enable()


async def _entries(share: float) -> list[Entry]:
    turns, refreshes = (max(1, round(count * share)) for count in (TURNS, REFRESHES))
    with started() as ours:
        entries = [
            *await _hot(ours, turns, rows="3000"),
            *await _filtered(ours, turns),
            *await _recommend(ours, turns),
            *await _half_load(ours, max(1, round(HALF_LOADS * share))),
        ]
    with started("--refresh-seconds", f"{REFRESH_EVERY_SECONDS}") as ours:
        entries += await _refreshes(ours, refreshes)
    with started("--copies", f"{COPIES}") as ours:
        entries += await _hot(ours, turns, rows="30000")
    return entries


async def _hot(ours: Server, turns: int, *, rows: str) -> list[Entry]:
    body = await _body(ours, HOT)
    pairs = await _compared(ours, [HOT], body, turns)
    named = {} if rows == "3000" else {"rows": rows}
    return [_ratio(_name("api_hot_rps_ratio", **named), pairs, body)]


async def _filtered(ours: Server, turns: int) -> list[Entry]:
    paths = filtered_paths()
    body = await _typical_body(ours, paths)
    return [_ratio("api_filtered_rps_ratio", await _compared(ours, paths, body, turns), body)]


async def _recommend(ours: Server, turns: int) -> list[Entry]:
    return [
        await _recommend_entry(ours, turns, "api_recommend_cpu_us", recommend_paths()),
        await _recommend_entry(
            ours, turns, labelled("api_recommend_cpu_us", rows="distinct"), placed_paths()
        ),
    ]


async def _recommend_entry(ours: Server, turns: int, name: str, paths: Sequence[str]) -> Entry:
    body = await _typical_body(ours, paths)
    pairs = await _compared(ours, paths, body, turns)
    value, anchors = (statistics.median(column) for column in zip(*pairs, strict=True))
    return entry(
        name,
        microseconds(round(value)),
        "us of CPU",
        anchor=_title(body),
        anchor_value=microseconds(round(anchors)),
    )


async def _half_load(ours: Server, runs: int) -> list[Entry]:
    mix = mixed_paths()
    body = await _body(ours, HOT)
    with anchored(body) as theirs:
        pairs = [
            (await _p99_ms(ours, mix), await _p99_ms(theirs, [ANCHOR_PATH])) for _ in range(runs)
        ]
    value, anchors = (statistics.median(column) for column in zip(*pairs, strict=True))
    name = labelled("api_p99_ms", load="half")
    return [entry(name, value, "ms", anchor=_title(body), anchor_value=anchors)]


async def _p99_ms(server: Server, paths: Sequence[str]) -> float:
    async with Client(server.port, 4 * CONNECTIONS) as client:
        await client.learn(paths)
        requests = round(BATCH * RATE_SECONDS)
        rate = 0.5 * requests / await client.saturate(paths, requests)
        latencies = await client.at_rate(paths, rate, RATE_SECONDS)
    found = milliseconds(Seconds(percentile(latencies, 0.99)))
    print(f"bench api: {rate:.0f} requests a second, p99 {found:.1f} ms", file=sys.stderr)
    return found


async def _refreshes(ours: Server, count: int) -> list[Entry]:
    paths = mixed_paths()
    took: list[float] = []
    latencies: list[float] = []
    async with Client(ours.port, 4 * CONNECTIONS) as client:
        before = await _refreshed(client)
        for _ in range(count):
            latencies += await client.at_rate(paths, REFRESH_RATE, REFRESH_EVERY_SECONDS)
            after = await _refreshed(client)
            if after > before:
                exposition = await client.ask("/metrics")
                took.append(metric(exposition, "carbonbench_api_refresh_seconds"))
                before = after
    if not took:
        raise ConfigurationError("bench api: no refresh happened", hint="Give it a larger share.")
    shown = ", ".join(f"{milliseconds(Seconds(one)):.0f}" for one in took)
    print(f"bench api: refreshes took {shown} ms", file=sys.stderr)
    return [
        _held_to("api_refresh_ms", statistics.median(took), 200.0, rows="3000"),
        _held_to("api_max_ms_during_refresh", max(latencies), 50.0),
    ]


async def _refreshed(client: Client) -> float:
    exposition = await client.ask("/metrics")
    return metric(exposition, "carbonbench_api_refreshes_total", {"outcome": "ok"})


async def _compared(
    ours: Server, paths: Sequence[str], body: bytes, turns: int
) -> list[tuple[float, float]]:
    """CPU time of a request in ns, ours and the anchor's, for each turn."""
    with anchored(body) as theirs:
        async with Client(ours.port, CONNECTIONS) as one, Client(theirs.port, CONNECTIONS) as other:
            await one.learn(paths)
            await other.learn([ANCHOR_PATH])
            await other.saturate([ANCHOR_PATH], BATCH)
            return [
                (
                    await _cpu_ns(ours, one, paths),
                    await _cpu_ns(theirs, other, [ANCHOR_PATH]),
                )
                for _ in range(turns)
            ]


async def _cpu_ns(server: Server, client: Client, paths: Sequence[str]) -> float:
    requests = max(BATCH, len(paths))
    before = server.cpu_ns()
    await client.saturate(paths, requests)
    return (server.cpu_ns() - before) / requests


async def _body(server: Server, path: str) -> bytes:
    async with Client(server.port, 1) as client:
        return await client.ask(path)


async def _typical_body(server: Server, paths: Sequence[str]) -> bytes:
    """The answer whose length is nearest to the mean: what all of them cost to send."""
    async with Client(server.port, 1) as client:
        bodies = [await client.ask(path) for path in paths]
    mean = statistics.fmean(map(len, bodies))
    return min(bodies, key=lambda body: abs(len(body) - mean))


def _ratio(name: str, pairs: Sequence[tuple[float, float]], body: bytes) -> Entry:
    """Our requests per CPU second over the anchor's."""
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    ours, theirs = (
        microseconds(round(statistics.median(column))) for column in zip(*pairs, strict=True)
    )
    print(f"bench api: {name}: {ours:.0f} us, the anchor {theirs:.0f} us", file=sys.stderr)
    return Entry(
        name=name,
        value=ratio,
        unit="of the anchor's requests per CPU second",
        anchor=_title(body),
        anchor_value=1.0,
        ratio=ratio,
    )


def _held_to(name: str, seconds: float, target_ms: float, **labels: str) -> Entry:
    value = milliseconds(Seconds(seconds))
    return entry(
        _name(name, **labels), value, "ms", anchor="our own target", anchor_value=target_ms
    )


def _name(name: str, **labels: str) -> str:
    return labelled(name, **labels) if labels else name


def _title(body: bytes) -> str:
    return f"{ANCHOR} ({len(body)} B)"


def filtered_paths() -> list[str]:
    """Leaderboards under distinct filters; the first one is a family everywhere."""
    families = ("llama", "gpt", "claude", "mistral", "qwen", "deepseek")
    rest = product(
        families,
        ("", "&provider=aws-bedrock", "&provider=azure-openai", "&place=us", "&place=eu"),
        ("", "&period=now", "&period=30d"),
        ("", "&sort=energy", "&sort=price"),
        ("", "&max_price=5", "&certainty=pinned"),
    )
    return [f"{LEADERBOARD}?family={''.join(parts)}" for parts in islice(rest, _WAYS)]


def recommend_paths() -> list[str]:
    """Recommendations under distinct constraints that all have an answer."""
    asked = product(_MODELS, ("year", "now", "30d"), range(_WAYS // 15))
    return [
        f"{RECOMMEND}?model={model}&period={period}&max_price={1000 + number}"
        for model, period, number in asked
    ]


def placed_paths() -> list[str]:
    """Recommendations for machines of one's own, each in two other places."""
    places = [place.id for place in load_catalogue().places.values() if place.tabulated]
    asked = product(_MODELS, combinations(places, 2))
    return [
        f"{RECOMMEND}?model={model}&access=self-hosted&place={one}&place={other}"
        for model, (one, other) in asked
    ]


def mixed_paths() -> list[str]:
    """Eight hot requests to each filtered one and recommendation."""
    pairs = zip(filtered_paths(), recommend_paths(), strict=True)
    return [path for filtered, advice in pairs for path in (*[HOT] * 8, filtered, advice)]


@contextmanager
def anchored(body: bytes) -> Iterator[Server]:
    """The anchor, which gives these bytes."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        with started("--anchor", file.name) as server:
            yield server


@contextmanager
def started(*arguments: str) -> Iterator[Server]:
    """A server in a process of its own, once it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.bench.api_server", *arguments],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.strip():
            raise ConfigurationError("bench api: no server", hint="Its fault is on stderr.")
        server = Server(process=process.pid, port=int(line))
        _await_listening(server.port)
        yield server
    finally:
        process.communicate(timeout=_PATIENCE_SECONDS)


def _await_listening(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
