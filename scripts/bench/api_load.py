"""A light HTTP/1.1 client for load: keep-alive connections, one request at a time on each.

It decodes nothing, pipelines nothing and copies no body, so that the server is what is measured
and keeps its caches; but it looks at every answer: status 200, as many bytes as the head says, and
as many as that path gave before.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Self, cast

from protocol.errors import ConfigurationError

HOST = "127.0.0.1"
_STARTS = b"HTTP/1.1 200 "
_LENGTH = b"content-length:"
_BUFFER_BYTES = 1 << 18


class _Wire(asyncio.BufferedProtocol):
    """One connection. Bodies land in a buffer that all share and none keeps, unless asked to."""

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = memoryview(buffer)
        self._transport: asyncio.WriteTransport | None = None
        self._whole: asyncio.Future[int] | None = None
        self._head = b""
        self._kept: bytearray | None = None
        self._length = self._taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What it is for a connection; the loop's own class is not derived from it.
        self._transport = cast(asyncio.WriteTransport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._length:
            self._begin(bytes(self._buffer[:nbytes]))
        else:
            self._take(self._buffer[:nbytes])
        if self._length and self._taken >= self._length and self._whole:
            self._whole.set_result(self._taken)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._whole and not self._whole.done():
            self._whole.set_exception(_unexpected(f"the server hung up: {exc}"))

    async def length_of(self, path: str, kept: bytearray | None = None) -> int:
        """The length of the answer to a GET, whose body is put into `kept`."""
        if self._transport is None or self._transport.is_closing():
            raise _unexpected("the connection is closed")
        self._head, self._kept, self._length, self._taken = b"", kept, 0, 0
        self._whole = asyncio.get_running_loop().create_future()
        self._transport.write(f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
        return await self._whole

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _begin(self, data: bytes) -> None:
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        self._length = _declared(head)
        self._take(body)
        if not head.startswith(_STARTS) and self._whole:
            said = head.decode("latin-1").partition("\r\n")[0]
            self._whole.set_exception(_unexpected(f"{said}: {body[:200]!r}"))
            self._whole = None

    def _take(self, body: bytes | memoryview) -> None:
        self._taken += len(body)
        if self._kept is not None:
            self._kept += body


def _declared(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    found = [line for line in lines if line.startswith(_LENGTH)]
    return int(found[0].removeprefix(_LENGTH)) if found else 0


class Client:
    """Several connections to one server; opened by `async with`."""

    def __init__(self, port: int, connections: int) -> None:
        self._port = port
        self._count = connections
        self._wires: list[_Wire] = []
        self._lengths: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        loop, buffer = asyncio.get_running_loop(), bytearray(_BUFFER_BYTES)
        for _ in range(self._count):
            _, wire = await loop.create_connection(partial(_Wire, buffer), HOST, self._port)
            self._wires.append(wire)
        return self

    async def __aexit__(self, *_: object) -> None:
        for wire in self._wires:
            wire.close()

    async def ask(self, path: str) -> bytes:
        """The body of one answer."""
        body = bytearray()
        await self._wires[0].length_of(path, body)
        return bytes(body)

    async def learn(self, paths: Iterable[str]) -> None:
        """Ask each path once; from now on its answers must have that many bytes."""
        for path in paths:
            self._lengths[path] = await self._wires[0].length_of(path)

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
                self._check(path, await wire.length_of(path))
                found.append(time.perf_counter() - moment)

        await asyncio.gather(*map(work, self._wires))
        return found

    async def _work_off(self, wire: _Wire, waiting: Iterator[str]) -> None:
        for path in waiting:
            self._check(path, await wire.length_of(path))

    def _check(self, path: str, length: int) -> None:
        expected = self._lengths.get(path)
        if expected is not None and length != expected:
            raise _unexpected(f"{path} gave {length} bytes, before {expected}")


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
