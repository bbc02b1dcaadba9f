"""A light HTTP/1.1 client for load: keep-alive connections, one request at a time on each.

It decodes nothing and pipelines nothing, so that the server is what is measured; but it looks at
every answer: status 200, as many bytes as the head says, and as many as that path gave before.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Self

from protocol.errors import ConfigurationError

HOST = "127.0.0.1"
_STARTS = b"HTTP/1.1 200 "
_LENGTH = b"content-length:"


@dataclass(slots=True)
class _Answer:
    """One answer as its bytes come in."""

    head: bytearray = field(default_factory=bytearray)
    body: bytearray = field(default_factory=bytearray)
    length: int | None = None

    def take(self, data: bytes) -> bool:
        """Add what came in; whether the answer is whole."""
        if self.length is not None:
            self.body += data
        else:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return False
            self.length = _declared(bytes(self.head[:end]))
            self.body += self.head[end + 4 :]
            del self.head[end:]
        return len(self.body) >= self.length


def _declared(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    found = [line for line in lines if line.startswith(_LENGTH)]
    return int(found[0].removeprefix(_LENGTH)) if found else 0


class _Wire(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._answer = _Answer()
        self._whole: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._answer.take(data) and self._whole and not self._whole.done():
            if self._answer.head.startswith(_STARTS):
                self._whole.set_result(bytes(self._answer.body))
            else:
                said = self._answer.head.decode("latin-1").partition("\r\n")[0]
                self._whole.set_exception(_unexpected(f"{said}: {self._answer.body[:200]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._whole and not self._whole.done():
            self._whole.set_exception(_unexpected(f"the server hung up: {exc}"))

    async def ask(self, path: str) -> bytes:
        """The body of the answer to a GET."""
        if self._transport is None or self._transport.is_closing():
            raise _unexpected("the connection is closed")
        self._answer = _Answer()
        self._whole = asyncio.get_running_loop().create_future()
        self._transport.write(f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
        return await self._whole

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Client:
    """Several connections to one server; opened by `async with`."""

    def __init__(self, port: int, connections: int) -> None:
        self._port = port
        self._count = connections
        self._wires: list[_Wire] = []
        self._lengths: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            _, wire = await loop.create_connection(_Wire, HOST, self._port)
            self._wires.append(wire)
        return self

    async def __aexit__(self, *_: object) -> None:
        for wire in self._wires:
            wire.close()

    async def ask(self, path: str) -> bytes:
        """One answer."""
        return await self._wires[0].ask(path)

    async def learn(self, paths: Iterable[str]) -> None:
        """Ask each path once; from now on its answers must have that many bytes."""
        for path in paths:
            self._lengths[path] = len(await self.ask(path))

    async def saturate(self, paths: Sequence[str], requests: int) -> float:
        """Send so many requests as fast as they are answered; the wall time in s."""
        waiting = islice(cycle(paths), requests)
        started = time.perf_counter()
        await asyncio.gather(*(self._work_off(wire, waiting) for wire in self._wires))
        return time.perf_counter() - started

    async def at_rate(self, paths: Sequence[str], per_second: float, seconds: float) -> list[float]:
        """Send at a steady rate whatever the server does; latencies in s.

        A latency counts from the moment at which the request was due, so that a server that
        stalls pays for all that had to wait (no coordinated omission).
        """
        due = enumerate(islice(cycle(paths), round(per_second * seconds)))
        started = time.perf_counter()
        found: list[float] = []

        async def work(wire: _Wire) -> None:
            for place, path in due:
                moment = started + place / per_second
                await asyncio.sleep(max(0.0, moment - time.perf_counter()))
                self._check(path, await wire.ask(path))
                found.append(time.perf_counter() - moment)

        await asyncio.gather(*map(work, self._wires))
        return found

    async def _work_off(self, wire: _Wire, waiting: Iterator[str]) -> None:
        for path in waiting:
            self._check(path, await wire.ask(path))

    def _check(self, path: str, body: bytes) -> None:
        expected = self._lengths.get(path)
        if expected is not None and len(body) != expected:
            raise _unexpected(f"{path} gave {len(body)} bytes, before {expected}")


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def metric(exposition: bytes, name: str, labels: Mapping[str, str] | None = None) -> float:
    """A value of a Prometheus exposition; 0 where the server has not counted yet."""
    told = ",".join(f'{label}="{value}"' for label, value in (labels or {}).items())
    wanted = f"{name}{{{told}}} " if told else f"{name} "
    lines = exposition.decode().splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(wanted)), 0.0)


def _unexpected(detail: str) -> ConfigurationError:
    return ConfigurationError(f"load: {detail}", hint="The benchmark's server did not answer so.")
