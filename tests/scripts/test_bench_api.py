"""The API's benchmark: wrong answers are noticed, questions differ, figures are documented."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from api.tables import load_catalogue
from protocol.errors import ConfigurationError
from scripts.bench import api
from scripts.bench.api_load import HOST, Client, metric, percentile
from scripts.bench.api_server import multiplied

ROOT = Path(__file__).parents[2]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
LONGER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!"
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}"


class Giving(asyncio.Protocol):
    """Gives answers in turn, the last one for ever, in two pieces each."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self._transport.write(answer[:20])
        self._transport.write(answer[20:])


@asynccontextmanager
async def giving(*answers: bytes) -> AsyncIterator[int]:
    """The port of a server that gives these answers."""
    left = list(answers)
    server = await asyncio.get_running_loop().create_server(lambda: Giving(left), HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_the_load_counts_whole_answers() -> None:
    async with giving(OK) as port, Client(port, 3) as client:
        await client.learn(["/a"])

        assert await client.ask("/a") == b"hello"
        assert await client.saturate(["/a"], 20) > 0
        assert len(await client.at_rate(["/a"], per_second=200.0, seconds=0.1)) == 20


@pytest.mark.parametrize("wrong", [REFUSED, LONGER])
async def test_a_wrong_answer_ends_the_benchmark(wrong: bytes) -> None:
    async with giving(OK, wrong) as port, Client(port, 1) as client:
        await client.learn(["/a"])

        with pytest.raises(ConfigurationError):
            await client.saturate(["/a"], 3)


async def test_an_answer_that_comes_late_is_counted_from_when_it_was_due() -> None:
    async with giving(OK) as port, Client(port, 1) as client:
        latencies = await client.at_rate(["/a"], per_second=1e6, seconds=1e-4)

    assert latencies[-1] > latencies[0]


def test_no_release_keeps_the_answers_to_all_questions() -> None:
    for paths in (api.filtered_paths(), api.recommend_paths(), api.placed_paths()):
        assert len(set(paths)) == len(paths) > 512
    assert api.mixed_paths().count(api.HOT) == 0.8 * len(api.mixed_paths())


def test_tables_are_multiplied_by_models() -> None:
    once = load_catalogue()
    thrice = multiplied(once, 3)

    assert len(thrice.models) == 3 * len(once.models)
    assert {line.model for line in thrice.served} <= set(thrice.models)
    assert len(thrice.evidence) == 3 * len(once.evidence)


async def test_the_anchor_gives_the_bytes_and_its_cpu_time_is_seen() -> None:
    with api.anchored(b'{"a": 1}') as anchor:
        async with Client(anchor.port, 2) as client:
            before = anchor.cpu_ns()
            await client.saturate(["/anchor"], 50)

            assert await client.ask("/anchor") == b'{"a": 1}'
            assert anchor.cpu_ns() > before


def test_figures_are_read_from_the_exposition() -> None:
    exposition = b'# HELP x\nx_seconds 0.25\nx_total{outcome="ok"} 3.0\n'

    assert metric(exposition, "x_seconds") == 0.25
    assert metric(exposition, "x_total", {"outcome": "ok"}) == 3.0
    assert metric(exposition, "x_total", {"outcome": "failed"}) == 0.0
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 3.0


@pytest.mark.parametrize(
    "name",
    [
        "api_hot_rps_ratio",
        "api_hot_rps_ratio{rows=30000}",
        "api_filtered_rps_ratio",
        "api_recommend_cpu_us",
        "api_recommend_cpu_us{rows=distinct}",
        "api_p99_ms{load=half}",
        "api_refresh_ms{rows=3000}",
        "api_max_ms_during_refresh",
    ],
)
def test_every_figure_is_documented(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "using-the-api.md").read_text()
